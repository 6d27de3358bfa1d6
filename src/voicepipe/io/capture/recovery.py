"""Sessions found again in the journal of a process that did not close them."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import attrs

from voicepipe.errors import VoicepipeError
from voicepipe.io.capture.index import Row
from voicepipe.io.capture.replay import read_journal, replay
from voicepipe.io.capture.states import wav_path
from voicepipe.io.capture.wavs import SessionWav


if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np
    import numpy.typing as npt

    from voicepipe.io.capture.index import Index
    from voicepipe.io.capture.live import Assembling
    from voicepipe.io.capture.replay import Trace
    from voicepipe.stream.assembler.assembler import ChunkAssembler
    from voicepipe.stream.sessions.session import Counters


_log = logging.getLogger(__name__)

# Samples in memory while a file is brought to its length, frames.
_MOST_FRAMES = 1 << 20


def recover_sessions(folder: Path, index: Index, make: Assembling) -> int:
    """
    Bring each WAV file to the length that was acknowledged, and park its session.

    What it costs depends on what was accepted since the last states in the journal, not
    on how long a session is. Stopped at any moment and begun again, it comes to the
    same end: the journal is not changed.

    Args:
        folder: Where the journal and the files are.
        index: Gets the sessions.
        make: Makes assemblers.

    Returns:
        A number that no segment of the journal has; those there are not needed now.

    Raises:
        CaptureError: If the index fails.
        DiskFullError: If there is no space for what was acknowledged.
        OSError: If the journal or a file cannot be read or written.
    """
    traces = read_journal(folder)
    rows = []
    for trace in traces.sessions.values():
        row = index.get(trace.state.session_id)
        # A power cut may have taken from the journal that it was parked or closed.
        if row is None or row.saved.counters.sequence < trace.sequence:
            rows.append(_recover(folder, trace, make, same_boot=traces.same_boot))
    if rows:
        index.put(rows)
        _log.info("%d interrupted sessions were found again", len(rows))
    return traces.next_number


def _recover(folder: Path, trace: Trace, make: Assembling, *, same_boot: bool) -> Row:
    spec = trace.state.spec
    path = wav_path(folder, trace.state.session_id)
    file = _File(
        SessionWav(path=path, rate=spec.rate, channels=spec.channels),
        trace.state.counters,
        same_boot=same_boot,
    )
    saved, snapshot = trace.state, trace.state.snapshot
    last: ChunkAssembler | None = None
    try:
        for assembler, found, made in replay(trace, make):
            file.add(made, received=found.offset + found.end - found.start)
            last = assembler
        if last is not None:
            snapshot = last.snapshot()
            saved = attrs.evolve(saved, dropped=last.report.dropped_bytes)
            last.close()
    except (ValueError, VoicepipeError) as exc:
        if isinstance(exc, OSError):
            raise
        # What is there stays; the stream is read anew from where it goes on.
        _log.warning("session %s was not read again whole: %s", saved.session_id, exc)
        file.pass_over(trace)
        snapshot = b""
    counters = file.finish()
    saved = attrs.evolve(
        saved,
        counters=counters,
        updated=max(saved.updated, path.stat().st_mtime_ns // 1_000),
        snapshot=b"" if counters.is_full else snapshot,
    )
    return Row("completed" if counters.is_full else "interrupted", saved)


class _File:
    """
    A session's file while what was accepted is made again.

    Args:
        wav: The file.
        counters: As they were at its last state.
        same_boot: Whether what is in the file can be relied on beyond that.
    """

    def __init__(self, wav: SessionWav, counters: Counters, *, same_boot: bool) -> None:
        """Look at the file; make it if it is not there."""
        self._wav = wav
        self._counters = counters
        self._frames = counters.frames
        self._pieces: list[npt.NDArray[np.int16]] = []
        self._waiting = 0
        try:
            there = wav.frames()
        except FileNotFoundError:
            wav.create()
            there = 0
        if there < counters.frames:
            # What is missing becomes silence: all that follows stays at its time.
            _log.warning("%s lacks %d frames", wav.path, counters.frames - there)
        # Where the file goes on: what was written after the state need not be again.
        self._at = max(there, counters.frames) if same_boot else counters.frames

    def add(self, made: list[npt.NDArray[np.int16]], *, received: int) -> None:
        """Take what a chunk has made."""
        counters = self._counters
        for piece in made:
            kept = piece[: max(0, counters.max_frames - self._frames)]
            new = kept[max(0, self._at - self._frames - self._waiting) :]
            self._frames += len(kept)
            if len(new):
                self._pieces.append(new)
        self._counters = attrs.evolve(
            counters,
            chunks=counters.chunks + 1,
            sequence=counters.sequence + 1,
            received=received,
            frames=self._frames,
        )
        self._waiting = sum(map(len, self._pieces))
        if self._waiting >= _MOST_FRAMES:
            self._wav.append(self._at, self._pieces)
            self._at += self._waiting
            self._pieces, self._waiting = [], 0

    def pass_over(self, trace: Trace) -> None:
        """Count the chunks that were not read."""
        for _, found in trace.chunks:
            if found.sequence >= self._counters.sequence:
                self.add([], received=found.offset + found.end - found.start)

    def finish(self) -> Counters:
        """Bring the file to its length and to disk; give what the session has."""
        self._wav.finish(min(self._at, self._frames), self._pieces, closed=True)
        return self._counters
