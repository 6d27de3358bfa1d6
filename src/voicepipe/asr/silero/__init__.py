"""Voice activity by the Silero model that ships inside faster-whisper."""

from __future__ import annotations
