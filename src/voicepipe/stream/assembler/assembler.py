"""Live audio in whatever form it comes, as 16-bit samples of one format."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self, get_args

import numpy as np

from voicepipe.stream.assembler.convert import Converter, Past
from voicepipe.stream.assembler.detect import MAY_BE_CODED, StreamFormat
from voicepipe.stream.assembler.report import StreamReport
from voicepipe.stream.assembler.sound import format_of, samples_of
from voicepipe.stream.assembler.source import Source
from voicepipe.stream.packets.codec import AvPacketDecoder
from voicepipe.stream.packets.state import packed, unpacked
from voicepipe.stream.resample import MAX_CHANNELS, MAX_RATE, MIN_RATE
from voicepipe.stream.riff import PCM


if TYPE_CHECKING:
    import numpy.typing as npt

    from voicepipe.stream.assembler.plain import PlainReader
    from voicepipe.stream.assembler.sound import Sound
    from voicepipe.stream.packets.decoder import DecoderFactory


MAX_SNAPSHOT_BYTES = 256 << 10
"""Most bytes of a snapshot."""

# What numbers and names in one take up, at most.
_ROOM_BYTES = 8 << 10

_S16 = np.dtype("<i2")


class ChunkAssembler:
    """
    Puts live audio together, in whatever form it comes; a ``Stage``.

    What may come, told by content: pieces, cut anywhere, of a WAV, MP3 (MPEG audio, any
    layer), FLAC or AAC (ADTS) stream, or of Opus in WebM or Ogg, as browsers record it;
    whole files of these kinds one after the other; or 16-bit little-endian samples
    without a header, at the session's rate and with its channels. What comes out is
    16-bit, at the session's rate and with its channels.

    **New files.** A RIFF, RF64 or BW64 header of a WAV file begins a new one wherever
    it stands in uncompressed sound; other files are looked for there only where a
    connection begins (``restart``). In compressed streams a new WAV or FLAC file begins
    with its signature where a frame should, an MP3 file with its tag, and behind WebM
    and Ogg another one of either. Sound goes on without a gap.

    **Gaps.** Where the times in WebM or Ogg leave more than 100 ms and at most a minute
    out, there is silence instead; other times are not believed.

    **Headers that lie.** Sizes in WAV headers are never trusted: neither 0, unknown,
    too large nor too small. Behind the declared end come a new header, chunks of names
    that are known, a second chunk of samples, or, if it is none of these, more samples.
    Samples are 8 to 32-bit integers, 32 and 64-bit floats, A-law and µ-law.

    **Telling samples from frames.** Bytes that are nothing else may always be samples:
    512 decide, or 64 KiB if the client says MP3 or AAC, so that frames are looked for
    behind garbage. At the very beginning four MPEG frames that agree are proof enough,
    two if the client says so.

    **Another rate or number of channels** is converted: soxr's HQ filter; more channels
    are averaged to one, one is copied to two. Others are refused. Where the format
    changes inside a stream, the filter is flushed and a new one begins. At the
    session's own format 16-bit samples pass through untouched; all else is what
    decoding the whole file, ``Resampler`` and ``pcm16`` make of it, bit for bit.

    **Errors** leave the assembler as it was before the push, and nothing of it counts:
    the next one may be right. Only where a compressed file was already being decoded,
    that cannot be undone; then ``broken`` is true, and one goes on by ``restore``.

    **Memory.** Held back are up to 64 KiB to tell what a stream is, 47 bytes of a WAV
    header, 15 bytes that may be the first of one, part of a frame, one compressed
    frame, and half a second of sound in the filter. A push costs a few times its own
    size.

    Args:
        rate: Frames per second of the session, Hz, 4,000 to 192,000.
        channels: Its number of channels, 1 to 8.
        format: What the client says it sends. Only decides where the content does not.
        decoders: Where compressed packets are decoded: in this process by default.

    Raises:
        ValueError: If an argument is out of its range.

    Example:
        >>> assembler = ChunkAssembler(rate=8_000)
        >>> (samples,) = assembler.push(bytes(1_000))
        >>> samples.shape
        (500, 1)
    """

    def __init__(
        self,
        *,
        rate: int,
        channels: int = 1,
        format: StreamFormat = "wav",  # noqa: A002 - the contract's name
        decoders: DecoderFactory = AvPacketDecoder,
    ) -> None:
        """Check the session's format; expect anything."""
        if not MIN_RATE <= rate <= MAX_RATE:
            msg = f"rate must be {MIN_RATE} to {MAX_RATE} Hz, not {rate}"
            raise ValueError(msg)
        if not 1 <= channels <= MAX_CHANNELS:
            msg = f"channels must be 1 to {MAX_CHANNELS}, not {channels}"
            raise ValueError(msg)
        if format not in get_args(StreamFormat):
            msg = f"format must be one of {get_args(StreamFormat)}, not {format!r}"
            raise ValueError(msg)
        self.rate: int = rate
        self.channels: int = channels
        self.format: StreamFormat = format
        self._frames = 0
        self._source = Source((rate, channels), format, decoders)
        self._converter: Converter | None = None
        self._flushed = False
        # Reads what passes through untouched, where that comes next.
        self._passing: PlainReader | None = None

    def push(
        self, data: bytes | bytearray | memoryview, /
    ) -> tuple[npt.NDArray[np.int16], ...]:
        """
        Take bytes; give the samples that are ready.

        Args:
            data: Any number of bytes; not kept if they can change.

        Returns:
            Arrays of shape ``(frames, channels)``, C-contiguous, none of them empty;
            some are read-only.

        Raises:
            NotAudioError: If it is text, an archive, an image.
            UnsupportedAudioError: If it is sound of a kind that is not read.
            DamagedAudioError: If a header makes no sense.
            DecoderCrashedError: If packets are decoded in another process and it died.
            DecoderTimeoutError: If it took too long.
            ValueError: After ``flush``, or if the assembler is broken.
        """
        if type(data) is not bytes:
            data = bytes(data)
        passing = self._passing
        if passing is not None and (taken := passing.take(data)) is not None:
            given, size = taken
            if size == 0:
                return ()
            frames = size // (2 * self.channels)
            self._frames += frames
            return (np.ndarray((frames, self.channels), _S16, given),)
        self._check_open()
        try:
            return self._convert(self._source.push(data))
        finally:
            self._choose_way()

    def restart(self) -> tuple[npt.NDArray[np.int16], ...]:
        """
        Say that another connection goes on with the stream.

        A header that comes next begins a new file: WAV, FLAC, WebM, the first page of
        Ogg, an ID3v2 tag, or frames of MP3 or AAC where the stream was none. Without
        one the bytes go on where they stopped, half a sample included. Up to 64 bytes
        are held back to tell, more where they may be frames.

        Returns:
            As ``push``: what was held back by the restart before.

        Raises:
            AudioError: As ``push``, if that is part of a compressed file.
            ValueError: After ``flush``, or if the assembler is broken.
        """
        self._check_open()
        try:
            return self._convert(self._source.restart())
        finally:
            self._choose_way()

    def flush(self) -> tuple[npt.NDArray[np.int16], ...]:
        """
        End the stream; a frame that is not whole is dropped and counted.

        Raises:
            AudioError: If the decoder of a compressed file fails.
            ValueError: If the stream has been flushed before, or is broken.
        """
        self._check_open()
        self._passing = None
        self._flushed = True
        samples = self._convert(self._source.flush())
        if self._converter is None:
            return samples
        return samples + self._counted(list(self._converter.flush()))

    def snapshot(self) -> bytes:
        """
        Give all that ``restore`` needs, at most 256 KiB; taken between pushes.

        Raises:
            ValueError: After ``flush``, or if the assembler is broken.
        """
        self._check_open()
        fields, parts = self._source.state()
        past = None
        if self._converter is not None:
            room = MAX_SNAPSHOT_BYTES - _ROOM_BYTES - sum(map(len, parts))
            past = self._converter.past(max(0, room))
        session = {
            "rate": self.rate,
            "channels": self.channels,
            "format": self.format,
            "frames": self._frames,
            "source": fields,
            "past": None if past is None else past[:-1],
        }
        return packed(session, [*parts, b"" if past is None else past.sound])

    @classmethod
    def restore(
        cls, snapshot: bytes, *, decoders: DecoderFactory = AvPacketDecoder
    ) -> Self:
        """
        Go on from a snapshot.

        Uncompressed sound at the session's rate goes on bit by bit, and so does FLAC.
        MP3, AAC and Opus are decoded anew from a little before. Where the rate is
        changed, the number of frames is exactly kept, and samples differ by rounding.

        Args:
            snapshot: What ``snapshot`` gave.
            decoders: Where compressed packets are decoded.

        Raises:
            ValueError: If the snapshot is damaged, or of another version.
            AudioError: If a decoder fails.
        """
        session, parts = unpacked(snapshot)
        try:
            return cls._restored(session, parts, decoders)
        except (LookupError, TypeError, AttributeError) as exc:
            raise ValueError("the snapshot is damaged") from exc

    @property
    def light(self) -> bool:
        """
        Whether the next push only parses and copies, so that an event loop may do it.

        True while uncompressed sound comes at the session's rate.
        """
        plain = self._source.plain
        if plain is None or plain.form is None or self._flushed:
            return False
        return plain.form.rate == self.rate

    def is_light(self, data: bytes, /) -> bool:
        """
        Tell whether a push of these bytes is ``light``, also where it is the first one.

        A first push tells what the stream is. If that cannot be compressed sound, it
        takes hardly longer than the next ones, resampled sound excepted: a millisecond
        for 64 KiB.

        Args:
            data: What is to be pushed.
        """
        return self.light or (
            self._source.begins
            and self.format in {"wav", "flac"}
            and not data.startswith(MAY_BE_CODED)
        )

    @property
    def broken(self) -> bool:
        """Whether an error could not be undone; only ``close`` makes sense then."""
        return self._source.broken

    @property
    def report(self) -> StreamReport:
        """What the stream has shown so far."""
        counts = self._source.counts
        container, codec = self._source.current
        converter = self._converter
        rate, channels = (
            (0, 0) if converter is None else (converter.rate, converter.channels)
        )
        return StreamReport(
            container=container,
            codec=codec,
            rate=rate,
            channels=channels,
            files=counts.files,
            frames=self._frames,
            dropped_bytes=counts.dropped_bytes,
            damaged_frames=counts.damaged_frames,
        )

    def close(self) -> None:
        """Give decoders back; harmless twice."""
        self._source.close()

    @classmethod
    def _restored(
        cls, session: dict[str, Any], parts: list[bytes], decoders: DecoderFactory
    ) -> Self:
        assembler = cls(
            rate=session["rate"],
            channels=session["channels"],
            format=session["format"],
            decoders=decoders,
        )
        assembler._frames = session["frames"]
        *raw, sound = parts
        if session["past"] is not None:
            rate, channels, taken, given = session["past"]
            past = Past(rate, channels, taken, given, sound)
            wanted = assembler.rate, assembler.channels
            assembler._converter = Converter.restore(past, wanted)
        assembler._source.resume(session["source"], raw)
        assembler._choose_way()
        return assembler

    def _check_open(self) -> None:
        if self._flushed:
            msg = "the stream has been flushed"
            raise ValueError(msg)
        if self.broken:
            msg = "the stream is broken: go on with one that is restored"
            raise ValueError(msg)

    def _choose_way(self) -> None:
        """Find out whether the next bytes may pass through untouched."""
        self._passing = None
        plain = self._source.plain
        if plain is None or plain.form is None:
            return
        form = plain.form
        if form.rate == self.rate and form.channels == self.channels:
            converter = self._converter
            # The fast way knows no conversion: a filter has to be flushed before.
            ready = converter is not None and converter.passes
            if ready and form.tag == PCM and form.bits == _S16.itemsize * 8:
                self._passing = plain

    def _convert(self, sounds: list[Sound]) -> tuple[npt.NDArray[np.int16], ...]:
        given: list[npt.NDArray[np.int16]] = []
        for sound in sounds:
            converter = self._converter
            form = format_of(sound)
            if converter is None or (converter.rate, converter.channels) != form:
                if converter is not None:
                    given += converter.flush()
                converter = Converter(*form, (self.rate, self.channels))
                self._converter = converter
            given += converter.push(samples_of(sound))
        return self._counted(given)

    def _counted(
        self, given: list[npt.NDArray[np.int16]]
    ) -> tuple[npt.NDArray[np.int16], ...]:
        self._frames += sum(map(len, given))
        return tuple(given)
