"""One chunk on its way, from its arrival until it is safe."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol, TypeAlias

from voicepipe.io.capture.values import ChunkAck


if TYPE_CHECKING:
    from collections.abc import Sequence

    import anyio
    import numpy as np
    import numpy.typing as npt

    from voicepipe.io.capture.live import Live
    from voicepipe.stream.sessions.session import Chunk


Told: TypeAlias = Callable[[ChunkAck | None, Exception | None], None]
"""What is called with the acknowledgement of a chunk, or the error instead."""


class Counting(Protocol):
    """What counts chunks."""

    def accept(self, work: Work, /) -> None:
        """Count one that is in the journal."""
        ...

    def take_back(self, work: Work, error: Exception, /) -> None:
        """Undo one that is not."""
        ...


class Work:
    """
    A chunk that is under way.

    Attributes:
        live: Its session.
        chunk: What was decided about it.
        taken: Bytes of the budget that it has.
        data: Its bytes that are new.
        pieces: The samples that they made.
        frames: Their number.
        before: The assembler's state before it; ``None`` where it was not taken.
        done: What is set when it has come to its end; ``None`` if it has already.
        own: The same, where that is not shared with others.
        told: Called instead, where nobody waits.
        ack: What its owner is told, when it counts.
        error: What its owner is told, when it does not.
    """

    # No slots: most of it is set for few chunks.
    data: bytes = b""
    pieces: Sequence[npt.NDArray[np.int16]] = ()
    frames: int = 0
    before: bytes | None = None
    done: anyio.Event | None = None
    own: anyio.Event | None = None
    told: Told | None = None
    ack: ChunkAck | None = None
    error: Exception | None = None

    def __init__(
        self, counting: Counting, live: Live, chunk: Chunk, taken: int
    ) -> None:
        """Begin."""
        self._counting = counting
        self.live: Live = live
        self.chunk: Chunk = chunk
        self.taken: int = taken

    def settle(self, error: Exception | None) -> None:
        """Count it, or take it back; on the event loop."""
        if error is None:
            self._counting.accept(self)
        else:
            self._counting.take_back(self, error)


def ack_of(live: Live) -> ChunkAck:
    """Tell what a session has."""
    session = live.session
    return ChunkAck(
        session_id=session.session_id,
        chunk_count=session.chunks,
        bytes_received=session.received,
        duration_s=session.frames / live.spec.rate,
        completed=session.is_full,
    )


def first(
    pieces: Sequence[npt.NDArray[np.int16]], frames: int
) -> list[npt.NDArray[np.int16]]:
    """Give so many frames of some pieces."""
    kept = []
    for piece in pieces:
        if frames <= 0:
            break
        kept.append(piece[:frames])
        frames -= len(piece)
    return kept
