"""The settings of live transcription, from the environment and ``.env``."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import attrs

from voicepipe import SettingsError
from voicepipe.servers.engines import TranscriberSettings
from voicepipe.servers.env import env_float, env_int, read_env
from voicepipe.servers.settings import ServerSettings


if TYPE_CHECKING:
    from collections.abc import Mapping


@attrs.frozen(kw_only=True)
class Settings:
    """
    What the server is told from outside.

    Attributes:
        server: What all voicepipe servers have.
        transcriber: ``VOICEPIPE_TRANSCRIBER``, ``VOICEPIPE_LANGUAGE``,
            ``OPENAI_API_KEY`` and ``OPENAI_BASE_URL``.
        max_sessions: ``MAX_SESSIONS``: recordings on WebSockets at a time.
        max_connections: ``MAX_CONNECTIONS``: WebSockets at a time, recording or not.
        max_message_bytes: ``MAX_MESSAGE_SIZE_BYTES``.
        memory_bytes: ``VOICEPIPE_MESSAGE_MEMORY_MB``: what messages that wait may take,
            of all connections together.
        idle_s: ``CONNECTION_TIMEOUT_SECONDS``: how long a connection may be silent.
        max_recording_s: ``MAX_RECORDING_MINUTES``: the longest recording, also of a
            file.
        max_upload_bytes: ``MAX_UPLOAD_MB``: the largest file.
        max_waiting: ``MAX_WAITING_REQUESTS``: files that are transcribed or wait.
    """

    server: ServerSettings
    transcriber: TranscriberSettings
    max_sessions: int
    max_connections: int
    max_message_bytes: int
    memory_bytes: int
    idle_s: float
    max_recording_s: float
    max_upload_bytes: int
    max_waiting: int

    @classmethod
    def from_env(cls, env: Mapping[str, str]) -> Settings:
        """
        Read the variables.

        Raises:
            SettingsError: If one is wrong.
        """
        memory = env_int(env, "VOICEPIPE_MESSAGE_MEMORY_MB", 256, low=1, high=1 << 20)
        minutes = env_float(
            env, "MAX_RECORDING_MINUTES", 240.0, low=0.01, high=14_400.0
        )
        return cls(
            server=ServerSettings.from_env(env, port=8000),
            transcriber=TranscriberSettings.from_env(env, hosted="whisper-1"),
            max_sessions=env_int(env, "MAX_SESSIONS", 8, low=1, high=10_000),
            max_connections=env_int(env, "MAX_CONNECTIONS", 100, low=1, high=100_000),
            max_message_bytes=env_int(
                env, "MAX_MESSAGE_SIZE_BYTES", 16 << 20, low=1, high=1 << 30
            ),
            memory_bytes=memory << 20,
            idle_s=env_float(
                env, "CONNECTION_TIMEOUT_SECONDS", 300.0, low=0.1, high=86_400.0
            ),
            max_recording_s=minutes * 60.0,
            max_upload_bytes=env_int(env, "MAX_UPLOAD_MB", 25, low=1, high=4_096) << 20,
            max_waiting=env_int(env, "MAX_WAITING_REQUESTS", 16, low=1, high=10_000),
        )


def load() -> Settings:
    """Read them, or end the process with a line that says what is wrong."""
    try:
        return Settings.from_env(read_env(Path(__file__).parent))
    except SettingsError as exc:
        sys.exit(f"not started: {exc}")


SETTINGS = load()
