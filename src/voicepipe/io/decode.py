"""Opening any recording and reading its samples, synchronously."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, Self

import attrs
import numpy as np

from voicepipe.errors import (
    EmptyAudioError,
    TruncatedAudioError,
    UnsupportedAudioError,
)
from voicepipe.io.ffmpeg.decoder import AvDecoder
from voicepipe.io.options import DEFAULTS
from voicepipe.io.samples import is_valid, to_valid
from voicepipe.io.source import SourceFile
from voicepipe.io.wav.header import UNCOMPRESSED, raw_header, read_header
from voicepipe.io.wav.pcm import PcmDecoder
from voicepipe.stream.resample import check_format


if TYPE_CHECKING:
    from collections.abc import Iterator

    from voicepipe.io.options import DecodeOptions
    from voicepipe.io.source import AudioSource
    from voicepipe.stream.sniff import Container
    from voicepipe.types.audio import DecodeReport, Samples


class Decoder(Protocol):
    """What ``AudioReader`` reads from: one for each way to decode."""

    rate: int
    channels: int

    @property
    def fraction(self) -> float:
        """Share of the source that has been decoded, 0 to 1."""
        ...

    @property
    def report(self) -> DecodeReport:
        """What has been seen so far, but for what ``AudioReader`` counts."""
        ...

    def blocks(self) -> Iterator[Samples]:
        """Give the samples in blocks of some seconds, at most once."""
        ...

    def close(self) -> None:
        """Give back what the decoder holds, but not its file."""
        ...


class AudioReader:
    """
    An open recording; made by ``open_audio``, a context manager.

    Attributes:
        rate: Frames per second, Hz, 4,000 to 192,000.
        channels: Number of channels, 1 to 8.
        container: What kind of file it is.
        label: The path as the caller gave it, ``None`` for anything else.
    """

    def __init__(
        self, file: SourceFile, decoder: Decoder, *, options: DecodeOptions
    ) -> None:
        """Take over the file and its decoder."""
        self.rate: int = decoder.rate
        self.channels: int = decoder.channels
        self.container: Container = file.container
        self.label: str | None = file.label
        self._file = file
        self._decoder = decoder
        self._options = options
        self._frames = 0
        self._non_finite = 0
        self._clipped = 0
        self._truncated = False
        self._ended = False

    @property
    def fraction(self) -> float:
        """Share of the source that has been read, 0 to 1; never goes back."""
        return 1.0 if self._ended else self._decoder.fraction

    @property
    def report(self) -> DecodeReport:
        """What decoding has shown so far."""
        report = self._decoder.report
        return attrs.evolve(
            report,
            frames=self._frames,
            truncated=report.truncated or self._truncated,
            non_finite=self._non_finite,
            clipped=self._clipped,
        )

    def blocks(self) -> Iterator[Samples]:
        """
        Give the samples in blocks of some seconds; once.

        Yields:
            Float32, shape ``(frames, channels)``, in [-1, 1]: what the source has
            beyond that is clipped, NaN and infinity are zero; the report counts them.
            In memory either frame by frame or channel by channel.

        Raises:
            EmptyAudioError: At the end, if there was not one frame.
            TruncatedAudioError: At the end, if the source's own end is missing.
            DamagedAudioError: Where the source is damaged, after what is good.
            UnsupportedAudioError: Where it becomes too long or too large, or changes
                its rate or its number of channels.
            OSError: If reading fails.
        """
        try:
            for block in self._decoder.blocks():
                self._frames += len(block)
                self._check_size()
                yield block if is_valid(block) else self._valid(block)
        except TruncatedAudioError:
            if not (self._options.allow_truncated and self._frames):
                raise
            self._truncated = True
        self._ended = True
        if self._frames == 0:
            msg = "there is not one frame of sound"
            raise EmptyAudioError(msg, source=self.label)

    def close(self) -> None:
        """Close the decoder, and the file unless it is the caller's own."""
        self._decoder.close()
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _valid(self, block: Samples) -> Samples:
        """Count what is no sample, and replace it."""
        finite = np.isfinite(block)
        self._non_finite += block.size - int(np.count_nonzero(finite))
        self._clipped += int(np.count_nonzero((np.abs(block) > 1.0) & finite))
        return to_valid(block)

    def _check_size(self) -> None:
        """Raise where there is more sound than wanted."""
        options, frames = self._options, self._frames
        if frames > options.max_duration_s * self.rate:
            most, name = f"{options.max_duration_s:g} s", "max_duration_s"
        elif frames * self.channels * 4 > options.max_decoded_bytes:
            most, name = f"{options.max_decoded_bytes} bytes", "max_decoded_bytes"
        else:
            return
        raise UnsupportedAudioError(
            f"the recording has more than {most} of sound",
            source=self.label,
            got=f"more than {most}",
            wanted=f"at most {most} ({name})",
        )


def open_audio(
    source: AudioSource, *, options: DecodeOptions = DEFAULTS
) -> AudioReader:
    """
    Open a recording; what it is, its content says and never its name.

    Uncompressed WAV is read by ``io.wav``, all else is decoded by FFmpeg through PyAV.
    No other file is opened, whatever the content asks for. Lengths are those of the
    sound without the padding of its encoding, as far as the file tells: MP3 with a
    Xing tag, M4A, Opus and Vorbis are trimmed to the sample; ADTS, fragmented MP4 and
    MP3 without the tag keep theirs.

    Args:
        source: A path, the bytes of a whole file, or a binary file object that can
            seek.
        options: What to accept.

    Raises:
        OSError: If the file cannot be opened or read.
        EmptyAudioError: If there are no bytes, or not one frame of sound.
        NotAudioError: If the content is no recording.
        UnsupportedAudioError: If it is a playlist, or a recording of a kind, a codec,
            a rate or a number of channels that is not read.
        TruncatedAudioError: If it ends before anything can be decoded.
        DamagedAudioError: If it is damaged before anything can be decoded.
    """
    file = SourceFile(source, raw=options.raw is not None)
    try:
        decoder = _decoder(file, options)
        try:
            check_format(decoder.rate, decoder.channels, file.label)
        except UnsupportedAudioError:
            decoder.close()
            raise
    except BaseException:
        file.close()
        raise
    return AudioReader(file, decoder, options=options)


def _decoder(file: SourceFile, options: DecodeOptions) -> Decoder:
    if options.raw is not None:
        check_format(options.raw.rate, options.raw.channels, file.label)
        return PcmDecoder(file, raw_header(options.raw, file.size))
    if file.container != "wav":
        return AvDecoder(file, lenient=options.allow_damaged)
    header = read_header(file)
    check_format(header.rate, header.channels, file.label)
    if header.tag in UNCOMPRESSED:
        return PcmDecoder(file, header)
    return AvDecoder(file, cut=header.cut, lenient=options.allow_damaged)
