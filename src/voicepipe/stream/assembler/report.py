"""What a live stream has shown so far."""

from __future__ import annotations

import attrs


@attrs.frozen(kw_only=True)
class StreamReport:
    """
    What a live stream has shown so far; see ``ChunkAssembler``.

    Attributes:
        container: What the current file is: ``"wav"``, ``"mp3"``, ``"flac"``,
            ``"aac"``, ``"webm"``, or ``"raw"`` for samples without a header; empty
            while it is not known.
        codec: How its sound is coded, by FFmpeg's name: ``"pcm_s16le"``, ``"mp3"``,
            ``"opus"``.
        rate: Its frames per second, Hz; 0 until sound has come.
        channels: Its number of channels; 0 until sound has come.
        files: Files begun, samples without a header counted as one.
        frames: Frames given, at the session's rate.
        dropped_bytes: Bytes that made no sound and should have: half frames, garbage
            between frames, what ended before it could be told what it was.
        damaged_frames: Compressed frames that could not be decoded.
    """

    container: str = ""
    codec: str = ""
    rate: int = 0
    channels: int = 0
    files: int = 0
    frames: int = 0
    dropped_bytes: int = 0
    damaged_frames: int = 0
