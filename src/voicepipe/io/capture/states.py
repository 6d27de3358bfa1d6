"""All that is needed to go on with a session, as bytes."""

from __future__ import annotations

import datetime as dt
import json
import struct
import uuid
from typing import TYPE_CHECKING

import attrs

from voicepipe.io.capture.values import SessionInfo, SessionSpec
from voicepipe.stream.sessions.session import Counters


if TYPE_CHECKING:
    from pathlib import Path

    from voicepipe.io.capture.values import CaptureStatus


_LENGTH = struct.Struct("<I")
_VERSION = 1


@attrs.frozen(kw_only=True)
class Saved:
    """
    A session as it was at one moment.

    Attributes:
        session_id: Its id.
        spec: What it was to be.
        created: When it began, microseconds of Unix time; no two sessions of a folder
            have the same.
        updated: When it changed last, likewise.
        counters: What it has.
        dropped: Bytes that could not become sound.
        snapshot: Of its assembler; empty for one that is completed.
    """

    session_id: str
    spec: SessionSpec
    created: int
    updated: int
    counters: Counters
    dropped: int = 0
    snapshot: bytes = attrs.field(default=b"", repr=False)

    @property
    def key(self) -> bytes:
        """Its UUID."""
        return uuid.UUID(self.session_id).bytes

    @property
    def duration(self) -> float:
        """Its sound, seconds."""
        return self.counters.frames / self.spec.rate

    def pack(self) -> bytes:
        """Give its bytes."""
        about = {
            "version": _VERSION,
            "id": self.session_id,
            "spec": attrs.asdict(self.spec),
            "created": self.created,
            "updated": self.updated,
            "counters": attrs.asdict(self.counters),
            "dropped": self.dropped,
        }
        text = json.dumps(about, separators=(",", ":")).encode()
        return _LENGTH.pack(len(text)) + text + self.snapshot

    @classmethod
    def unpack(cls, data: bytes) -> Saved:
        """
        Read it.

        Raises:
            ValueError: If it is not one, or of another version.
        """
        try:
            (length,) = _LENGTH.unpack_from(data)
            about = json.loads(data[4 : 4 + length])
            if about["version"] != _VERSION:
                msg = f"of version {about['version']}, not {_VERSION}"
                raise ValueError(msg)
            return cls(
                session_id=about["id"],
                spec=SessionSpec(**about["spec"]),
                created=about["created"],
                updated=about["updated"],
                counters=Counters(**about["counters"]),
                dropped=about["dropped"],
                snapshot=data[4 + length :],
            )
        except (struct.error, KeyError, TypeError) as exc:
            msg = f"not the state of a session: {exc!r}"
            raise ValueError(msg) from exc

    def info(
        self, folder: Path, status: CaptureStatus, *, connections: int = 0
    ) -> SessionInfo:
        """Tell about it."""
        return SessionInfo(
            session_id=self.session_id,
            user_id=self.spec.user_id,
            status=status,
            path=wav_path(folder, self.session_id),
            rate=self.spec.rate,
            channels=self.spec.channels,
            format=self.spec.format,
            duration=self.duration,
            chunk_count=self.counters.chunks,
            bytes_received=self.counters.received,
            created_at=_moment(self.created),
            updated_at=_moment(self.updated),
            connections=connections,
            dropped_bytes=self.dropped,
        )


def wav_path(folder: Path, session_id: str) -> Path:
    """Give the name of a session's WAV file."""
    return folder / f"{session_id}.wav"


def _moment(microseconds: int) -> dt.datetime:
    return _EPOCH + dt.timedelta(microseconds=microseconds)


_EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
