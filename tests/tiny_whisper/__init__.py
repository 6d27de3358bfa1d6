"""A Whisper that knows 39 words, and the speech that tests give to engines."""
