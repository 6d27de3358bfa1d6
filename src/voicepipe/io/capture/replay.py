"""What the journal has of sessions, and assemblers brought to where they were."""

from __future__ import annotations

import contextlib
import logging
from collections import deque
from typing import TYPE_CHECKING

import attrs

from voicepipe.errors import VoicepipeError
from voicepipe.io.capture.journal import boot_id, found_in, opened, segments
from voicepipe.io.capture.records import BEGINS, CHUNK, END, FORGET, STATE
from voicepipe.io.capture.states import Saved


if TYPE_CHECKING:
    from collections.abc import Container, Iterator
    from pathlib import Path

    import numpy as np
    import numpy.typing as npt

    from voicepipe.io.capture.live import Assembling
    from voicepipe.io.capture.records import Found
    from voicepipe.stream.assembler.assembler import ChunkAssembler


_log = logging.getLogger(__name__)


@attrs.define
class Trace:
    """
    What the journal has of one session.

    Attributes:
        state: Its last state.
        chunks: What was accepted since, with the paths of the segments, in order.
    """

    state: Saved
    chunks: list[tuple[Path, Found]] = attrs.field(factory=list)

    @property
    def sequence(self) -> int:
        """Number of what would come next."""
        if self.chunks:
            return self.chunks[-1][1].sequence + 1
        return self.state.counters.sequence

    def add(self, path: Path, found: Found) -> None:
        """Take a chunk, if it is the next one."""
        if found.sequence == self.sequence:
            self.chunks.append((path, found))

    def cut(self, sequence: int) -> None:
        """Leave what comes before a number, and forget the rest."""
        self.chunks = [one for one in self.chunks if one[1].sequence < sequence]

    def renew(self, state: Saved) -> None:
        """Take a later state: what it covers is not needed."""
        begin = state.counters.sequence
        self.chunks = [one for one in self.chunks if one[1].sequence >= begin]
        self.state = state


@attrs.frozen(kw_only=True)
class Traces:
    """
    What a journal has.

    Attributes:
        sessions: Of each session that is not forgotten, by its UUID.
        next_number: The first number that no segment has.
        same_boot: Whether all of it was written since the machine was started: what
            was written but not flushed is then there too.
    """

    sessions: dict[bytes, Trace]
    next_number: int
    same_boot: bool


def read_journal(folder: Path, wanted: Container[bytes] | None = None) -> Traces:
    """
    Read a journal, up to the first record that is not whole.

    Args:
        folder: Where it is.
        wanted: The sessions to look for, ``None`` for all.

    Raises:
        OSError: If it cannot be read.
    """
    reader = _Reader(wanted)
    expected: int | None = None
    number, same_boot = 0, True
    go_on = True
    for number, path in segments(folder):
        if not go_on or (expected is not None and number != expected):
            go_on = False
            continue
        expected = number + 1
        go_on, boot = reader.read(path)
        same_boot = same_boot and boot == boot_id()
    return Traces(sessions=reader.sessions, next_number=number + 1, same_boot=same_boot)


class _Reader:
    """Reads one segment after the other."""

    def __init__(self, wanted: Container[bytes] | None) -> None:
        self.sessions: dict[bytes, Trace] = {}
        self._wanted = wanted
        # A state is written after some of the chunks that follow on it: what was
        # before those may have been removed.
        self._early: dict[bytes, list[tuple[Path, Found]]] = {}

    def read(self, path: Path) -> tuple[bool, bytes]:
        """Read one; tell whether the next one follows on it, and its boot."""
        kind = 0
        with opened(path) as segment:
            if segment is None:
                return False, b""
            head, view = segment
            for found in found_in(view, head):
                kind = found.kind
                if self._wanted is None or found.session in self._wanted:
                    self._take(path, view, found)
        return kind == END, head.boot

    def _take(self, path: Path, view: memoryview, found: Found) -> None:
        key = found.session
        trace = self.sessions.get(key)
        if found.kind == STATE:
            try:
                state = Saved.unpack(bytes(view[found.start : found.end]))
            except ValueError as exc:
                _log.warning("a state in the journal cannot be read: %s", exc)
                return
            if trace is None:
                trace = self.sessions[key] = Trace(state)
                for one in self._early.pop(key, ()):
                    trace.add(*one)
            else:
                trace.renew(state)
        elif found.kind == FORGET:
            self.sessions.pop(key, None)
            self._early.pop(key, None)
        elif found.kind == CHUNK and trace is not None:
            trace.add(path, found)
        elif found.kind == CHUNK:
            self._early.setdefault(key, []).append((path, found))


def payloads(trace: Trace) -> Iterator[tuple[Found, bytes]]:
    """
    Give the chunks of a session with their bytes.

    Raises:
        OSError: If the journal cannot be read.
    """
    with contextlib.ExitStack() as stack:
        current: Path | None = None
        view = memoryview(b"")
        for path, found in trace.chunks:
            if path != current:
                stack.close()
                segment = stack.enter_context(opened(path))
                if segment is None:
                    return
                view, current = segment[1], path
            yield found, bytes(view[found.start : found.end])


def replay(
    trace: Trace, make: Assembling
) -> Iterator[tuple[ChunkAssembler, Found, list[npt.NDArray[np.int16]]]]:
    """
    Bring an assembler from a session's last state to its last chunk.

    A chunk that cannot be read a second time is passed over: its bytes count, as it
    was acknowledged, and make no sound.

    Yields:
        After each chunk the assembler, the same one unless it had to be made again, the
        chunk, and the samples that it made.

    Raises:
        OSError: If the journal cannot be read.
        ValueError: If the state cannot be read.
        VoicepipeError: If there is no decoder to be had.
    """
    assembler = begun(trace.state, make)
    for found, data in payloads(trace):
        made: list[npt.NDArray[np.int16]] = []
        before = assembler.snapshot() if not assembler.light else None
        try:
            if found.flags & BEGINS:
                made.extend(assembler.restart())
            made.extend(assembler.push(data))
        except VoicepipeError as exc:
            _log.warning("an accepted chunk could not be read again: %s", exc)
            if before is not None:
                assembler.close()
                assembler = make.restore(before)
        yield assembler, found, made


def begun(state: Saved, make: Assembling) -> ChunkAssembler:
    """Make the assembler of a state."""
    return make.restore(state.snapshot) if state.snapshot else make.new(state.spec)


def reassemble(trace: Trace, make: Assembling) -> ChunkAssembler:
    """Bring an assembler to where it was; its samples are known. As ``replay``."""
    last = deque(replay(trace, make), maxlen=1)
    return last[0][0] if last else begun(trace.state, make)
