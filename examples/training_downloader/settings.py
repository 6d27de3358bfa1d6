"""The settings of the downloader, from the environment and ``.env``."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import attrs

from voicepipe import DownloadOptions, SettingsError
from voicepipe.servers.env import env_float, env_int, env_text, read_env
from voicepipe.servers.settings import ServerSettings


if TYPE_CHECKING:
    from collections.abc import Mapping


@attrs.frozen(kw_only=True)
class Settings:
    """
    What the service and its batch script are told from outside.

    Attributes:
        server: What all voicepipe servers have.
        storage: ``AUDIO_STORAGE_DIR`` as it was written.
        log_dir: ``LOG_DIR``.
        log_zone: ``LOG_TIMEZONE``: IANA name of the log's time zone.
        download_s: ``DOWNLOAD_TIMEOUT_SECONDS``: longest time for one download.
        max_bytes: ``MAX_DOWNLOAD_MB``: largest download.
    """

    server: ServerSettings
    storage: str
    log_dir: str
    log_zone: str
    download_s: float
    max_bytes: int

    @classmethod
    def from_env(cls, env: Mapping[str, str]) -> Settings:
        """
        Read the variables.

        Raises:
            SettingsError: If one is wrong.
        """
        return cls(
            server=ServerSettings.from_env(env, port=8001),
            storage=env_text(env, "AUDIO_STORAGE_DIR", "./downloaded_audios"),
            log_dir=env_text(env, "LOG_DIR", "./logs"),
            log_zone=env_text(env, "LOG_TIMEZONE", "Asia/Kolkata"),
            download_s=env_float(
                env, "DOWNLOAD_TIMEOUT_SECONDS", 300.0, low=1.0, high=86_400.0
            ),
            max_bytes=env_int(env, "MAX_DOWNLOAD_MB", 2048, low=1, high=1 << 20) << 20,
        )

    @property
    def downloads(self) -> DownloadOptions:
        """Where downloads may lead, and what they may take."""
        return DownloadOptions(
            allow_hosts=self.server.allow_hosts,
            total_s=self.download_s,
            max_bytes=self.max_bytes,
            # Somebody waits for the answer.
            attempts=3,
        )


def load() -> Settings:
    """Read them, or end the process with a line that says what is wrong."""
    try:
        return Settings.from_env(read_env(Path(__file__).parent))
    except SettingsError as exc:
        sys.exit(f"not started: {exc}")


SETTINGS = load()
