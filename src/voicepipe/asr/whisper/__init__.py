"""Speech recognition by Whisper models, with faster-whisper."""

from __future__ import annotations
