"""The streaming server as its users start it: a process that may be killed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from app_runner import EXAMPLES, AppProcess


if TYPE_CHECKING:
    from pathlib import Path


APP = EXAMPLES / "stream_server"


class StreamServer(AppProcess):
    """
    Runs the server on one port and one folder, as often as it is started.

    Args:
        folder: Where it stores; its log is there too.
        variables: Its environment, besides the port and the folder.
    """

    def __init__(self, folder: Path, **variables: str) -> None:
        self.stored = folder / "sessions"
        folder_of_it = {"AUDIO_STORAGE_PATH": str(self.stored)}
        super().__init__(APP, folder, {**folder_of_it, **variables})

    def wav(self, session_id: str) -> Path:
        """Name a session's file."""
        return self.stored / f"{session_id}.wav"

    def media_path(self, session_id: str) -> str:
        """Name the route of a recording's sound."""
        return f"/api/audio/sessions/{session_id}/audio"
