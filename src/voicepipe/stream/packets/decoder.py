"""What turns packets into samples: asked for by the readers, given by their caller."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Literal, Protocol, TypeAlias

import attrs
import numpy as np
import numpy.typing as npt

from voicepipe.types.audio import Samples


if TYPE_CHECKING:
    from collections.abc import Sequence


CodecName: TypeAlias = Literal["mp3", "mp2", "mp1", "aac", "flac", "opus"]
"""How packets are coded, by FFmpeg's names; the first three are MPEG audio's layers."""


@attrs.frozen(kw_only=True, eq=False)
class Decoded:
    """
    What one packet has become.

    Attributes:
        rate: Frames per second, Hz, as the decoder says: any number.
        samples: Shape ``(frames, channels)``. Int16 only where the source is exactly
            that, else float32 as the decoder gives it: not clipped, perhaps not finite.
    """

    rate: int
    samples: npt.NDArray[np.int16] | Samples


class PacketDecoder(Protocol):
    """
    Decodes the packets of one stream, in order. Blocks; for one thread at a time.

    After an error it is of no more use but for ``close``.
    """

    def decode(self, packets: Sequence[bytes], /) -> Sequence[Decoded | None]:
        """
        Decode packets.

        Args:
            packets: Any number of whole frames of the codec.

        Returns:
            As many as there are packets, ``None`` for each that is broken.

        Raises:
            UnsupportedAudioError: If the decoder lacks what the stream takes.
            DecoderCrashedError: If it runs in a process of its own that has died, and
                all that it knew of the stream is lost.
            DecoderTimeoutError: The same, because it took too long.
        """
        ...

    def flush(self) -> Sequence[Decoded]:
        """Give what the decoder has held back; nothing can be decoded after it."""
        ...

    def close(self) -> None:
        """Give back what is held; harmless twice, never blocks for long."""
        ...


DecoderFactory: TypeAlias = Callable[[CodecName, bytes], PacketDecoder]
"""Makes a decoder for a codec and its extra data.

FLAC's is STREAMINFO, 34 bytes; Opus's its identification header; others have none.
"""

MAX_PACKET_FRAMES = 1 << 16
"""More frames of sound than any packet of these codecs holds: FLAC has 65,535."""

MAX_PACKET_CHANNELS = 8
"""Most channels of a packet: FLAC's."""
