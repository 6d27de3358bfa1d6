"""Samples out of an uncompressed WAV file, or out of one that has no header."""

from __future__ import annotations

from typing import TYPE_CHECKING

from voicepipe.errors import TruncatedAudioError
from voicepipe.stream.riff import unsupported
from voicepipe.stream.samples import pcm_array, to_float
from voicepipe.types.audio import DecodeReport


if TYPE_CHECKING:
    from collections.abc import Iterator

    from voicepipe.io.source import SourceFile
    from voicepipe.io.wav.header import WavHeader
    from voicepipe.types.audio import Samples


# Samples of all channels that are read in one go. Much more do not fit the cache of a
# core, and less take more time for the calls.
_BLOCK_SAMPLES = 1 << 17


class PcmDecoder:
    """
    Gives the samples of an uncompressed file.

    A last frame that is not whole is dropped.

    Args:
        file: The file; stays the caller's to close.
        header: Its header, or the one made for samples that have none.

    Attributes:
        rate: Frames per second.
        channels: Number of channels.
        fraction: Share of the samples that has been read, 0 to 1.

    Raises:
        UnsupportedAudioError: If the samples have a width that is not read.
    """

    def __init__(self, file: SourceFile, header: WavHeader) -> None:
        """Check the sample format."""
        self._file = file
        self._header = header
        self.rate: int = header.rate
        self.channels: int = header.channels
        self.fraction: float = 0.0
        self._frames = 0
        self._cut = header.cut
        if header.codec is None:
            raise unsupported(header.tag, header.bits, file.label)
        self._codec: str = header.codec

    @property
    def report(self) -> DecodeReport:
        """What the header and the samples read so far have shown."""
        header = self._header
        return DecodeReport(
            container=self._file.container,
            codec=self._codec,
            rate=self.rate,
            channels=self.channels,
            frames=self._frames,
            declared_frames=header.declared_frames,
            truncated=self._cut or header.promises_more,
            unclosed=header.unclosed,
            trailing_bytes=header.trailing_bytes,
        )

    def blocks(self) -> Iterator[Samples]:
        """
        Give the samples, 131,072 of all channels at a time; once.

        Floats come as they are, even beyond [-1, 1].

        Raises:
            TruncatedAudioError: At the end, if the header announced more.
            OSError: If reading fails.
        """
        frame, header = self._header.frame_bytes, self._header
        total = header.data_bytes // frame
        most = _BLOCK_SAMPLES // self.channels
        self._file.seek(header.data_at)
        while self._frames < total:
            wanted = min(most, total - self._frames)
            data = self._file.read(wanted * frame)
            self._file.check()
            frames = len(data) // frame
            self._frames += frames
            self.fraction = self._frames / total
            if frames:
                samples = to_float(pcm_array(self._codec, data[: frames * frame]))
                yield samples.reshape(-1, self.channels)
            if frames < wanted:  # the file has been cut since its header was read
                self._cut = True
                break
        if self._cut:
            declared = header.declared_bytes
            raise TruncatedAudioError(
                "the file ends before its last sample",
                source=self._file.label,
                decoded_s=self._frames / self.rate,
                declared_s=None if declared is None else declared / frame / self.rate,
            )

    def close(self) -> None:
        """Do nothing: there is nothing to give back."""
