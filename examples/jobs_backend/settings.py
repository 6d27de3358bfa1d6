"""The settings of the jobs backend and of its workers, from the environment."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import attrs

from voicepipe import SettingsError
from voicepipe.servers.engines import (
    AnalyzerSettings,
    DiarizerSettings,
    TranscriberSettings,
)
from voicepipe.servers.env import (
    env_bool,
    env_float,
    env_int,
    env_list,
    env_text,
    read_env,
)
from voicepipe.servers.settings import ServerSettings


if TYPE_CHECKING:
    from collections.abc import Mapping


_SQLITE = "sqlite:///"
_DATABASES = (
    "sqlite",
    "sqlite+pysqlite",
    "postgresql",
    "postgresql+psycopg",
    "postgres",
)
_EXTENSION = re.compile(r"[a-z0-9]{1,8}", re.ASCII)
_EXTENSIONS = ("wav", "mp3", "m4a", "ogg", "webm")


@attrs.frozen(kw_only=True)
class Settings:
    """
    What the server and its workers are told from outside.

    ``LLM_MODEL``, ``GEMINI_API_KEY``, ``GEMINI_BASE_URL``, ``OPENAI_API_KEY``,
    ``OPENAI_BASE_URL``, ``HF_TOKEN`` and ``VOICEPIPE_LANGUAGE`` are the engines'.

    Attributes:
        server: What all voicepipe servers have.
        transcriber: ``VOICEPIPE_TRANSCRIBER``, or ``WHISPER_MODEL`` without.
        analyzer: ``VOICEPIPE_ANALYZER``.
        diarizer: ``VOICEPIPE_DIARIZER``.
        uploads: ``UPLOAD_FOLDER`` as it was written.
        instance: ``INSTANCE_FOLDER``, where a SQLite file of a relative path lies.
        database: ``DATABASE_URL``, with that path; not in the repr, since it may hold a
            password.
        secrets: What never stands in a log.
        debug: ``DEBUG``: log everything, and show tracebacks to clients.
        max_upload_bytes: ``MAX_CONTENT_LENGTH``: the largest file.
        body_s: ``UPLOAD_TIMEOUT_SECONDS``: how long an upload may keep the server
            waiting, besides a second for each 100 kB of it.
        extensions: ``ALLOWED_EXTENSIONS``, in lower case and without a dot.
        workers: ``VOICEPIPE_WORKERS``: jobs that this process works on at a time; 0
            where only ``worker.py`` does.
        lease_s: ``VOICEPIPE_LEASE_SECONDS``: after how long the job of a dead worker
            is another's.
        max_tries: ``VOICEPIPE_MAX_TRIES``: how often a job is tried.
        max_recording_s: ``MAX_RECORDING_MINUTES``, in seconds.
        redact: ``VOICEPIPE_REDACT``: card numbers and the like are taken out of text
            and sound.
    """

    server: ServerSettings
    transcriber: TranscriberSettings
    analyzer: AnalyzerSettings
    diarizer: DiarizerSettings
    uploads: str
    instance: str
    database: str = attrs.field(repr=False)
    secrets: tuple[str, ...] = attrs.field(repr=False)
    debug: bool
    max_upload_bytes: int
    body_s: float
    extensions: tuple[str, ...]
    workers: int
    lease_s: float
    max_tries: int
    max_recording_s: float
    redact: bool

    @classmethod
    def from_env(cls, env: Mapping[str, str]) -> Settings:
        """
        Read the variables.

        Raises:
            SettingsError: If one is wrong.
        """
        server = ServerSettings.from_env(env, port=5000)
        whisper = env_text(env, "WHISPER_MODEL", "small")
        transcriber = TranscriberSettings.from_env(env, whisper=whisper)
        analyzer = AnalyzerSettings.from_env(env)
        diarizer = DiarizerSettings.from_env(env)
        instance = env_text(env, "INSTANCE_FOLDER", "instance")
        minutes = env_float(env, "MAX_RECORDING_MINUTES", 720.0, low=0.01, high=1_440.0)
        secrets = (
            server.api_key,
            transcriber.openai_key,
            analyzer.gemini_key,
            diarizer.token,
            env_text(env, "SECRET_KEY"),
        )
        return cls(
            server=server,
            transcriber=transcriber,
            analyzer=analyzer,
            diarizer=diarizer,
            uploads=env_text(env, "UPLOAD_FOLDER", "uploads"),
            instance=instance,
            database=_database(env, instance),
            # What is shorter is in every other word.
            secrets=tuple(s for s in secrets if s and len(s) > 3),
            debug=env_bool(env, "DEBUG", default=False),
            max_upload_bytes=env_int(
                env, "MAX_CONTENT_LENGTH", 200 << 20, low=1, high=1 << 40
            ),
            body_s=env_float(
                env, "UPLOAD_TIMEOUT_SECONDS", 60.0, low=0.1, high=86_400.0
            ),
            extensions=_extensions(env),
            workers=env_int(env, "VOICEPIPE_WORKERS", 1, high=64),
            lease_s=env_float(
                env, "VOICEPIPE_LEASE_SECONDS", 30.0, low=0.2, high=3_600.0
            ),
            max_tries=env_int(env, "VOICEPIPE_MAX_TRIES", 3, low=1, high=1_000),
            max_recording_s=minutes * 60.0,
            redact=env_bool(env, "VOICEPIPE_REDACT", default=False),
        )

    def make_folders(self) -> None:
        """
        Make the folders that files go to.

        Raises:
            OSError: If that is not possible.
        """
        for folder in (self.uploads, self.instance):
            Path(folder).mkdir(parents=True, exist_ok=True)


def _database(env: Mapping[str, str], instance: str) -> str:
    """Give the URL; a relative file lies in the instance folder, as with Flask."""
    url = env_text(env, "DATABASE_URL", f"{_SQLITE}diarize_ai_agent.db")
    scheme, separator, _ = url.partition("://")
    if not separator or scheme not in _DATABASES:
        raise SettingsError(
            "DATABASE_URL", "must begin with sqlite:/// or postgresql://"
        )
    name = url.removeprefix(_SQLITE)
    if name in {url, "", ":memory:"} or Path(name).is_absolute():
        return url
    return _SQLITE + Path(instance, name).absolute().as_posix()


def _extensions(env: Mapping[str, str]) -> tuple[str, ...]:
    name = "ALLOWED_EXTENSIONS"
    listed = env_list(env, name, _EXTENSIONS)
    found = tuple(part.lower().removeprefix(".") for part in listed)
    if not all(map(_EXTENSION.fullmatch, found)):
        raise SettingsError(name, "must be endings of names such as wav,mp3")
    return found


def load() -> Settings:
    """Read them, or end the process with a line that says what is wrong."""
    try:
        return Settings.from_env(read_env(Path(__file__).parent))
    except SettingsError as exc:
        sys.exit(f"not started: {exc}")


SETTINGS = load()
