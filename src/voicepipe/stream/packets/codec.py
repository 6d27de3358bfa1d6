"""Packets decoded by FFmpeg, through PyAV; nothing else in ``stream`` knows either."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import av
import av.error
import numpy as np

from voicepipe.errors import DamagedAudioError, UnsupportedAudioError
from voicepipe.stream.packets.decoder import Decoded
from voicepipe.stream.samples import to_float


if TYPE_CHECKING:
    from collections.abc import Sequence

    from av.audio.frame import AudioFrame

    from voicepipe.stream.packets.decoder import CodecName


# What FFmpeg takes for whole files, in floating point. The one under the plain name
# computes in integers and gives other bits; with the other layers it is taken.
_DECODERS: dict[CodecName, str] = {"mp3": "mp3float"}

# Makes frames with a wrong checksum disappear instead of giving noise.
_OPTIONS: dict[CodecName, dict[str, str]] = {"flac": {"err_detect": "crccheck+explode"}}

# FFmpeg's sample formats; a "p" at the end says that each channel lies by itself.
_TYPES = {"s16": np.int16, "s32": np.int32, "flt": np.float32}

# What PyAV raises beside FFmpeg's errors where packets are strange.
_BROKEN = (av.error.FFmpegError, ArithmeticError, AttributeError, ValueError)

# "Not implemented", "no such decoder", and the like.
_UNSUPPORTED = (av.error.PatchWelcomeError, av.error.DecoderNotFoundError)


class AvPacketDecoder:
    """
    Decodes packets in this process; a ``PacketDecoder``, and a ``DecoderFactory``.

    Args:
        codec: How the packets are coded.
        extradata: FLAC's STREAMINFO, 34 bytes; the identification header of Opus;
            nothing for the others.

    Raises:
        DamagedAudioError: If the extra data is none.
        UnsupportedAudioError: If FFmpeg was built without the decoder.
    """

    def __init__(self, codec: CodecName, extradata: bytes = b"", /) -> None:
        """Open the decoder."""
        self._given = False
        try:
            self._context: Any = _created(codec)
            if extradata:
                self._context.extradata = extradata
            self._context.options = dict(_OPTIONS.get(codec, {}))
            self._context.open()
        except _UNSUPPORTED as exc:
            raise _unsupported(exc) from exc
        except _BROKEN as exc:
            raise DamagedAudioError("the header is damaged") from exc

    def decode(self, packets: Sequence[bytes], /) -> list[Decoded | None]:
        """See ``PacketDecoder``."""
        return [self._decoded(packet) for packet in packets]

    def flush(self) -> list[Decoded]:
        """See ``PacketDecoder``; Opus of narrow band holds back half a millisecond."""
        try:
            frames = self._context.decode(None)
        except _BROKEN:
            return []
        decoded = _joined(frames)
        return [] if decoded is None else [decoded]

    def close(self) -> None:
        """See ``PacketDecoder``."""
        self._context = None

    def _decoded(self, packet: bytes) -> Decoded | None:
        # FFmpeg takes an empty packet for the end.
        if not packet:
            return None
        try:
            decoded = _joined(self._context.decode(av.Packet(packet)))
        except MemoryError:
            raise
        except _UNSUPPORTED as exc:
            # Damage may look like something new; a stream that never was decoded is.
            if not self._given:
                raise _unsupported(exc) from exc
            return None
        except _BROKEN:
            return None
        self._given = self._given or decoded is not None
        return decoded


def _created(codec: CodecName) -> Any:
    try:
        return av.CodecContext.create(_DECODERS.get(codec, codec), "r")
    except ValueError:
        return av.CodecContext.create(codec, "r")


def _joined(frames: Sequence[AudioFrame]) -> Decoded | None:
    """Join what one packet has given: one frame, but for damaged ones."""
    parts = [_samples(frame) for frame in frames if frame.samples]
    if not parts:
        return None
    rate, samples = frames[0].sample_rate, parts[0]
    if len(parts) > 1:
        fitting = [
            part
            for part in parts
            if (part.shape[1], part.dtype) == (samples.shape[1], samples.dtype)
        ]
        samples = np.concatenate(fitting)
    return Decoded(rate=rate, samples=samples)


def _samples(frame: AudioFrame) -> Any:
    """Copy a frame's samples, shape ``(frames, channels)``."""
    name, count = frame.format.name, frame.samples
    kind = _TYPES[name.removesuffix("p")]
    planes: tuple[Any, ...] = frame.planes
    channels = frame.layout.nb_channels
    # A plane may be longer than its samples.
    if frame.format.is_planar:
        samples = np.empty((count, channels), kind)
        for index, plane in enumerate(planes):
            samples[:, index] = np.frombuffer(plane, kind, count)
    else:
        flat = np.frombuffer(planes[0], kind, count * channels)
        samples = flat.reshape(count, channels).copy()
    return samples if kind is not np.int32 else to_float(samples)


def _unsupported(exc: av.error.FFmpegError) -> UnsupportedAudioError:
    what = exc.strerror or type(exc).__name__
    return UnsupportedAudioError(f"the decoder cannot read it: {what}", got=what)
