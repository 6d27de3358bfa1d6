"""The settings of the streaming server, from the environment and ``.env``."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, get_args

import attrs

from voicepipe import (
    CaptureOptions,
    Durability,
    SettingsError,
    StreamFormat,
)
from voicepipe.servers.env import env_choice, env_float, env_int, env_text, read_env
from voicepipe.servers.settings import ServerSettings


if TYPE_CHECKING:
    from collections.abc import Mapping


RATES = (8_000, 16_000, 22_050, 44_100, 48_000, 96_000)
CHANNELS = (1, 2)
FORMATS: tuple[StreamFormat, ...] = get_args(StreamFormat)


@attrs.frozen(kw_only=True)
class Settings:
    """
    What the server is told from outside.

    Attributes:
        server: What all voicepipe servers have.
        storage: ``AUDIO_STORAGE_PATH`` as it was written.
        rate: ``DEFAULT_SAMPLE_RATE``, Hz.
        channels: ``DEFAULT_CHANNELS``.
        format: ``DEFAULT_FORMAT``.
        capture: ``MAX_SESSION_DURATION_HOURS``, ``MAX_CHUNK_SIZE_MB``,
            ``MAX_CONCURRENT_SESSIONS``, ``MAX_CONNECTIONS_PER_SESSION``,
            ``CONNECTION_TIMEOUT_SECONDS`` and ``VOICEPIPE_DURABILITY``.
        max_message_bytes: ``MAX_MESSAGE_SIZE_BYTES``.
        memory_bytes: ``VOICEPIPE_MESSAGE_MEMORY_MB``: what messages that are not
            stored yet may take, of all connections together.
    """

    server: ServerSettings
    storage: str
    rate: int
    channels: int
    format: StreamFormat
    capture: CaptureOptions
    max_message_bytes: int
    memory_bytes: int

    @classmethod
    def from_env(cls, env: Mapping[str, str]) -> Settings:
        """
        Read the variables. ``FFMPEG_LOGLEVEL`` may be there, and has no effect.

        Raises:
            SettingsError: If one is wrong.
        """
        rates, channels = map(str, RATES), map(str, CHANNELS)
        memory = env_int(env, "VOICEPIPE_MESSAGE_MEMORY_MB", 512, low=1, high=1 << 20)
        return cls(
            server=ServerSettings.from_env(env, port=8000),
            storage=env_text(env, "AUDIO_STORAGE_PATH", "./audio_sessions"),
            rate=int(env_choice(env, "DEFAULT_SAMPLE_RATE", list(rates), "44100")),
            channels=int(env_choice(env, "DEFAULT_CHANNELS", list(channels), "1")),
            format=_format(env),
            capture=_capture(env),
            max_message_bytes=env_int(
                env, "MAX_MESSAGE_SIZE_BYTES", 10 << 20, low=1, high=1 << 30
            ),
            memory_bytes=memory << 20,
        )

    @property
    def max_connections(self) -> int:
        """What the server takes at a time: all sessions' connections, and requests."""
        capture = self.capture
        return capture.max_sessions * capture.max_connections + 1_000


def _format(env: Mapping[str, str]) -> StreamFormat:
    wanted = env_choice(env, "DEFAULT_FORMAT", FORMATS, "wav")
    return next(name for name in FORMATS if name == wanted)


def _capture(env: Mapping[str, str]) -> CaptureOptions:
    kinds: tuple[Durability, ...] = get_args(Durability)
    durability = env_choice(env, "VOICEPIPE_DURABILITY", kinds, "process")
    hours = env_float(env, "MAX_SESSION_DURATION_HOURS", 24.0, low=0.001, high=8_760.0)
    return CaptureOptions(
        max_sessions=env_int(
            env, "MAX_CONCURRENT_SESSIONS", 100, low=1, high=1_000_000
        ),
        max_connections=env_int(
            env, "MAX_CONNECTIONS_PER_SESSION", 5, low=1, high=1_000
        ),
        max_chunk_bytes=env_int(env, "MAX_CHUNK_SIZE_MB", 10, low=1, high=1_024) << 20,
        max_duration_s=hours * 3_600.0,
        idle_s=env_float(
            env, "CONNECTION_TIMEOUT_SECONDS", 300.0, low=0.1, high=86_400.0
        ),
        durability=next(kind for kind in kinds if kind == durability),
        isolated=True,
    )


def load() -> Settings:
    """Read them, or end the process with a line that says what is wrong."""
    try:
        return Settings.from_env(read_env(Path(__file__).parent))
    except SettingsError as exc:
        sys.exit(f"not started: {exc}")


SETTINGS = load()
