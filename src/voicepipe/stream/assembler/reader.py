"""What reads one file of a live stream, piece by piece."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import attrs
import numpy as np
import numpy.typing as npt

from voicepipe.types.audio import Samples


if TYPE_CHECKING:
    from collections.abc import Sequence


@attrs.frozen(kw_only=True, eq=False)
class Block:
    """
    A stretch of decoded sound, at the source's own rate and number of channels.

    Attributes:
        rate: Frames per second, Hz.
        samples: Shape ``(frames, channels)``, at least one frame. Int16 only where the
            source is exactly that, else float32, even beyond [-1, 1].
    """

    rate: int
    samples: npt.NDArray[np.int16] | Samples


class Reader(Protocol):
    """
    Reads one file of a session: bytes in, blocks out.

    Chunk invariance: any cut of the bytes gives the same samples and the same end.
    """

    @property
    def codec(self) -> str:
        """How the sound is coded, by FFmpeg's name: ``"pcm_s16le"``, ``"mp3"``."""
        ...

    @property
    def light(self) -> bool:
        """Whether ``push`` only parses and copies: an event loop may wait for it."""
        ...

    @property
    def ended(self) -> bytes | None:
        """
        Give what belongs to the next file, ``None`` while this one goes on.

        These are the last of the bytes that were pushed. ``push`` is not called again
        once this is not ``None``; ``flush`` is.
        """
        ...

    def push(self, data: bytes, /) -> Sequence[Block]:
        """
        Take bytes, at least one; give the sound that is ready.

        Raises:
            AudioError: If the bytes are no such file, or one that is not read.
        """
        ...

    def flush(self) -> Sequence[Block]:
        """End the file, whether it has ended or not; give what waited."""
        ...

    def counts(self) -> dict[str, int]:
        """
        Give what was left out.

        ``dropped_bytes`` that made no sound and should have: half frames, garbage.
        ``damaged_frames``: those of a codec that could not be decoded.
        """
        ...

    def snapshot(self) -> bytes:
        """Give all that is needed to go on from here; taken between pushes."""
        ...

    def close(self) -> None:
        """Give back what is held, such as a decoder; harmless twice."""
        ...
