"""An active session, with all that recording it takes."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import anyio

from voicepipe.io.capture.behind import Tail
from voicepipe.io.capture.states import Saved, wav_path
from voicepipe.io.capture.wavs import SessionWav
from voicepipe.stream.assembler.assembler import ChunkAssembler


if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from voicepipe.io.capture.values import SessionSpec
    from voicepipe.stream.packets.decoder import DecoderFactory
    from voicepipe.stream.sessions.session import Session


class Assembling:
    """Makes assemblers, all with the same decoders; ``None`` for those of PyAV."""

    def __init__(self, decoders: DecoderFactory | None) -> None:
        """Keep the decoders."""
        self._options = {} if decoders is None else {"decoders": decoders}

    def new(self, spec: SessionSpec) -> ChunkAssembler:
        """Make one that has read nothing."""
        return ChunkAssembler(
            rate=spec.rate, channels=spec.channels, format=spec.format, **self._options
        )

    def restore(self, snapshot: bytes) -> ChunkAssembler:
        """
        Make one that goes on from a snapshot.

        Raises:
            ValueError: If it is damaged.
            VoicepipeError: If there is no decoder to be had.
        """
        return ChunkAssembler.restore(snapshot, **self._options)


class Live:
    """
    An active session.

    Whoever has its turn may push to its assembler, count, and write its file; one chunk
    has it from its beginning until it is written to the journal or refused.

    Attributes:
        session: What it has, and who is connected.
        spec: What it was to be.
        created: When it began, microseconds of Unix time.
        updated: When it changed last, likewise.
        key: Its UUID.
        assembler: What reads its stream; ``None`` where it has to be made again, from
            ``snapshot`` or the journal.
        snapshot: What to make it from; ``None``: the journal.
        tail: The end of its WAV file.
        turn: One at a time.
        begun: Whether its first state is in the journal; until then nobody has it.
        segment: The first segment of the journal that it needs.
        new_bytes: Bytes since its last state in the journal.
        new_chunks: Chunks since then.
        dropped: Bytes that could not become sound.
        last: What it was when it stopped being active.
    """

    __slots__ = (
        "assembler",
        "begun",
        "created",
        "dropped",
        "key",
        "last",
        "new_bytes",
        "new_chunks",
        "segment",
        "session",
        "snapshot",
        "spec",
        "tail",
        "turn",
        "updated",
    )

    def __init__(self, session: Session, saved: Saved, folder: Path) -> None:
        """Begin without an assembler: it is to be made from the snapshot."""
        spec = saved.spec
        path = wav_path(folder, saved.session_id)
        wav = SessionWav(path=path, rate=spec.rate, channels=spec.channels)
        self.session: Session = session
        self.spec: SessionSpec = spec
        self.created: int = saved.created
        self.updated: int = saved.updated
        self.key: bytes = saved.key
        self.assembler: ChunkAssembler | None = None
        self.snapshot: bytes | None = saved.snapshot
        self.tail: Tail = Tail(wav, saved.counters.frames)
        self.turn: anyio.Semaphore = anyio.Semaphore(1)
        self.begun: bool = False
        self.segment: int = 0
        self.new_bytes: int = 0
        self.new_chunks: int = 0
        self.dropped: int = saved.dropped
        self.last: Saved | None = None

    @property
    def copies(self) -> bool:
        """Whether its sound is only copied: nothing is decoded."""
        return self.assembler is not None and self.assembler.light

    def is_light(self, data: bytes) -> bool:
        """Tell whether bytes may be pushed on the event loop."""
        return self.assembler is not None and self.assembler.is_light(data)

    def saved(self, now: float, snapshot: bytes = b"") -> Saved:
        """Give what it is now."""
        if self.assembler is not None:
            self.dropped = self.assembler.report.dropped_bytes
        return Saved(
            session_id=self.session.session_id,
            spec=self.spec,
            created=self.created,
            updated=self.updated,
            counters=self.session.counters(now),
            dropped=self.dropped,
            snapshot=snapshot,
        )

    def lose_assembler(self, snapshot: bytes | None) -> None:
        """Have the assembler made again before it is used."""
        if self.assembler is not None:
            self.assembler.close()
        self.assembler, self.snapshot = None, snapshot

    def have_assembler(
        self, make: Assembling, replay: Callable[[], ChunkAssembler]
    ) -> ChunkAssembler:
        """
        Give the assembler, made again if it has to be; for worker threads.

        Args:
            make: Makes it from a snapshot.
            replay: Makes it from the journal.

        Raises:
            OSError: If the journal cannot be read.
            VoicepipeError: If there is no decoder to be had.
        """
        if self.assembler is None:
            if self.snapshot is None:
                self.assembler = replay()
            elif self.snapshot:
                self.assembler = make.restore(self.snapshot)
            else:
                self.assembler = make.new(self.spec)
        return self.assembler

    def touch(self) -> None:
        """Keep the time as that of its last change."""
        self.updated = time.time_ns() // 1_000
