"""
Logs for several worker processes, without secrets and forged lines.

Redaction is the formatter's: a traceback's text has passed no filter when it is made.
"""

from __future__ import annotations

import datetime as dt
import logging
import sys
import zoneinfo
from pathlib import Path
from typing import TYPE_CHECKING

import attrs

from voicepipe.errors import MissingExtraError, SettingsError
from voicepipe.servers.redact import Redactor, escape_controls


if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Iterable


# Known also where the system has no time zone database.
_ZONES = {
    "Asia/Kolkata": dt.timezone(dt.timedelta(hours=5, minutes=30), "IST"),
    "UTC": dt.UTC,
}

# At DEBUG these write down what goes over the wire, speech included.
_CHATTY = ("h11", "httpcore", "httpx", "uvicorn.error", "websockets")


@attrs.frozen(kw_only=True)
class Rotation:
    """
    When a log file gives way to a new one.

    All processes that write to a file must agree on it.

    Attributes:
        max_bytes: A file that has reached it gets no further record.
        backups: How many old files are kept, as ``name.1`` and on.
    """

    max_bytes: int = 5 << 20
    backups: int = 3


class SafeFormatter(logging.Formatter):
    """
    One line for each record, and for each line of a traceback one that is set in.

    Args:
        zone: For the timestamps, ISO 8601 with milliseconds and offset.
        redactor: Takes the secrets out.
    """

    def __init__(self, zone: dt.tzinfo, redactor: Redactor) -> None:
        """Keep both."""
        super().__init__()
        self._zone = zone
        self._redactor = redactor

    def format(self, record: logging.LogRecord) -> str:
        """Give the line, or the lines."""
        message = escape_controls(self._redactor(record.getMessage()))
        head = (
            f"{self.formatTime(record)} {record.levelname} {record.name}"
            f" [{record.process}]: {message}"
        )
        details = []
        if record.exc_info:
            details.append(self.formatException(record.exc_info))
        if record.stack_info:
            details.append(self.formatStack(record.stack_info))
        lines = self._redactor("\n".join(details)).splitlines()
        # Set in, so that an exception's text cannot look like a record.
        return "\n".join([head, *(f"  | {escape_controls(line)}" for line in lines)])

    def formatTime(self, record: logging.LogRecord, datefmt: str | None = None) -> str:  # noqa: N802
        """Give the time; ``datefmt`` is not used."""
        del datefmt
        when = dt.datetime.fromtimestamp(record.created, self._zone)
        return when.isoformat(timespec="milliseconds")


def log_zone(name: str) -> dt.tzinfo:
    """
    Give a time zone by its IANA name.

    ``Asia/Kolkata`` and ``UTC`` are known also where the system knows no zones.

    Raises:
        SettingsError: If there is no such zone.
    """
    try:
        return zoneinfo.ZoneInfo(name)
    except (zoneinfo.ZoneInfoNotFoundError, OSError, ValueError) as exc:
        if name in _ZONES:
            return _ZONES[name]
        raise SettingsError(
            "the log's time zone",
            "must be an IANA name such as Asia/Kolkata"
            " (and the system must have a time zone database, or the package tzdata)",
        ) from exc


def setup_logging(
    folder: str | os.PathLike[str] | None,
    name: str,
    *,
    zone: str = "Asia/Kolkata",
    level: str = "INFO",
    secrets: Iterable[str] = (),
    rotation: Rotation | None = None,
) -> None:
    """
    Send all logging of this process to standard error and a file that rotates.

    Each worker process calls this, with the same values. A second call replaces the
    first; handlers of others on the root logger stay. uvicorn's own are removed, and
    its access log goes: it writes whole queries.

    Args:
        folder: Where the file goes; it is made if missing. ``None``: no file.
        name: The file's name, such as ``audio_downloader.log``.
        zone: IANA name of the timestamps' time zone.
        level: The lowest level that is written.
        secrets: Texts that must never be written, such as the API key.
        rotation: When the file rotates.

    Raises:
        MissingExtraError: If ``concurrent-log-handler`` is not installed.
        OSError: If the folder cannot be made, or the file not written.
        SettingsError: If there is no such zone or level.
    """
    if level not in logging.getLevelNamesMapping():
        raise SettingsError("the log's level", "must be one such as INFO or WARNING")
    formatter = SafeFormatter(log_zone(zone), Redactor(secrets))
    handlers: list[logging.Handler] = [_quiet(logging.StreamHandler)(sys.stderr)]
    if folder is not None:
        handlers.append(_file_handler(Path(folder) / name, rotation or Rotation()))
    root = logging.getLogger()
    for old in [h for h in root.handlers if isinstance(h.formatter, SafeFormatter)]:
        root.removeHandler(old)
        old.close()
    for handler in handlers:
        handler.setFormatter(formatter)
        root.addHandler(handler)
    root.setLevel(level)
    _calm_others()


def _calm_others() -> None:
    for name in ("uvicorn", "uvicorn.error", "uvicorn.access", "uvicorn.asgi"):
        logger = logging.getLogger(name)
        for handler in list(logger.handlers):
            logger.removeHandler(handler)
        logger.propagate = name != "uvicorn.access"
    for name in _CHATTY:
        logging.getLogger(name).setLevel(logging.INFO)


def _file_handler(path: Path, rotation: Rotation) -> logging.Handler:
    try:
        import concurrent_log_handler as clh  # noqa: PLC0415 - not all need it
    except ImportError as exc:
        raise MissingExtraError("concurrent_log_handler", extra="servers") from exc
    path.parent.mkdir(parents=True, exist_ok=True)
    # The handler itself would only tell with the first record, and go on.
    path.open("ab").close()
    return _quiet(clh.ConcurrentRotatingFileHandler)(
        path,
        maxBytes=rotation.max_bytes,
        backupCount=rotation.backups,
        encoding="utf-8",
        newline="",
    )


def _quiet(kind: type[logging.Handler]) -> Callable[..., logging.Handler]:
    """Give a kind of handler that, if it fails, does not print what it was to write."""

    def handle_error(self: logging.Handler, record: logging.LogRecord) -> None:
        del self
        error = sys.exc_info()[0]
        what = error.__name__ if error else "an error"
        place = f"{record.filename}:{record.lineno}"
        if logging.raiseExceptions and sys.stderr is not None:
            sys.stderr.write(f"a log record of {place} was lost: {what}\n")

    return type(kind.__name__, (kind,), {"handleError": handle_error})
