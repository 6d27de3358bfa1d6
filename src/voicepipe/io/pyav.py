"""
Samples by FFmpeg, through PyAV; the only module that knows either.

FFmpeg opens what it likes: an ``ffconcat`` text or a playlist makes it read the files
that are named there. So it is never given a path, and three walls stand before it: the
content has been sniffed, the demuxer is named, and neither other demuxers nor any
protocol are allowed, so that not one more file can be opened. Each of them is enough.
"""

from __future__ import annotations

import contextlib
import itertools
from typing import TYPE_CHECKING, Any

import av
import av.error
import numpy as np

from voicepipe.errors import (
    AudioError,
    DamagedAudioError,
    EmptyAudioError,
    TruncatedAudioError,
    UnsupportedAudioError,
)
from voicepipe.io.samples import MAX_PADDING, to_float, trim_end
from voicepipe.io.source import RationedFile
from voicepipe.stream.mpeg import HEADER_BYTES, adts_frame, mpeg_frame
from voicepipe.stream.structure import structure_of


if TYPE_CHECKING:
    from collections.abc import Iterator

    from av.audio.frame import AudioFrame
    from av.audio.stream import AudioStream
    from av.container import InputContainer
    from av.packet import Packet

    from voicepipe.io.source import SourceFile
    from voicepipe.stream.sniff import Container
    from voicepipe.types.audio import Samples


_DEMUXERS: dict[Container, str] = {
    "wav": "wav",
    "flac": "flac",
    "ogg": "ogg",
    "mp3": "mp3",
    "aac": "aac",
    "mp4": "mov",
    "webm": "matroska",
}

# What PyAV raises beside FFmpeg's errors when headers are strange.
_FOREIGN = (av.error.FFmpegError, ArithmeticError, AttributeError, ValueError)

# Before 19, PyAV raises where a title is not in the encoding it should be in.
_LENIENT: dict[str, Any] = (
    {"metadata_errors": "ignore"} if int(av.__version__.split(".")[0]) < 19 else {}
)

# "Not implemented", "no such decoder", and the like.
_UNSUPPORTED = (
    av.error.PatchWelcomeError,
    av.error.DecoderNotFoundError,
    av.error.DemuxerNotFoundError,
)

# A file's end takes one packet with it, or two. More in a row is no end.
_MAX_BROKEN = 16

_FOLLOW_BYTES = 1 << 16

# STREAMINFO has 36 bits for the number of frames; all ones is no number.
_FLAC_UNKNOWN = (1 << 36) - 1


def safe_options(container: Container) -> dict[str, str]:
    """Give the options that keep FFmpeg to one demuxer and to no file of its own."""
    return {
        "format_whitelist": _DEMUXERS[container],
        "protocol_whitelist": "",
    }


class AvDecoder:
    """
    Gives the samples of a file's first audio stream.

    Decodes the first second at once: what a header says of the rate and the channels
    may be wrong, what comes out of the decoder is not.

    Args:
        file: The file; stays the caller's to close.
        cut: Whether its header has shown already that its end is missing.

    Attributes:
        rate: Frames per second.
        channels: Number of channels.
        fraction: Share of the file that has been decoded, 0 to 1.

    Raises:
        AudioError: The kind that fits; see ``decode.open_audio``.
        OSError: If reading fails.
    """

    def __init__(self, file: SourceFile, *, cut: bool = False) -> None:
        """Open the file and decode its first second."""
        self._file = file
        self._cut = cut
        self._input = RationedFile(file)
        self._structure = structure_of(file.container)
        self._followed = 0  # bytes that the structure has seen
        self._position = 0  # behind the last byte that has been decoded
        self._packets_seen = 0
        self._decoded = 0  # frames given
        self._held = 0  # frames decoded and not yet given
        self._broken = 0  # packets in a row that could not be decoded
        self._given_up = False  # FFmpeg has not come to the end
        self.rate: int = 0  # until the first frame tells
        self.channels: int = 0
        self._av: InputContainer | None = None
        try:
            self._blocks = self._open()
        except BaseException:
            self.close()
            raise

    @property
    def fraction(self) -> float:
        """Share of the file that has been decoded, 0 to 1."""
        return min(1.0, self._position / max(1, self._file.size))

    def blocks(self) -> Iterator[Samples]:
        """
        Give the samples, about a second at a time; once.

        Raises:
            TruncatedAudioError: At the end, if the file's own end is missing.
            DamagedAudioError: Where the file is damaged, after what is good.
            UnsupportedAudioError: Where the rate or the channels change.
            OSError: If reading fails.
        """
        return self._blocks

    def close(self) -> None:
        """Give back what FFmpeg holds."""
        if self._av is not None:
            self._av.close()

    def _open(self) -> Iterator[Samples]:
        """Open the file, decode its first block and give all of them."""
        name = self._file.label
        self._file.seek(0)
        try:
            with self._translated():
                opened = av.open(
                    self._input,
                    mode="r",
                    format=_DEMUXERS[self._file.container],
                    options=safe_options(self._file.container),
                    **_LENIENT,
                )
        except DamagedAudioError as exc:
            # A file that lacks its end may lack what is needed to open it.
            self._follow(self._file.size)
            if self._structure is not None and self._structure.cut:
                msg = "the file ends before its sound begins"
                raise TruncatedAudioError(msg, source=name) from exc.__cause__
            raise
        self._av = opened
        if not opened.streams.audio:
            msg = "there is no audio stream"
            raise UnsupportedAudioError(msg, source=name, got="no audio stream")
        self._stream = opened.streams.audio[0]
        codec: object = self._stream.codec_context
        if codec is None:
            msg = "the sound is coded in an unknown way"
            raise UnsupportedAudioError(msg, source=name, got="an unknown codec")
        if self._stream.codec_context.name == "flac":
            # Makes frames with a wrong checksum disappear instead of giving noise.
            self._stream.codec_context.options = {"err_detect": "crccheck+explode"}
        blocks = self._decode()
        first = next(blocks, None)
        if first is None:
            raise EmptyAudioError("there is not one frame of sound", source=name)
        blocks = itertools.chain((first,), blocks)
        declared = self._declared() if self._file.container == "mp4" else None
        return blocks if declared is None else trim_end(blocks, declared)

    def _decode(self) -> Iterator[Samples]:
        """Decode packet by packet; judge at the end."""
        batch: list[AudioFrame] = []
        for packet in self._packets():
            for frame in self._decode_packet(packet):
                trouble = self._trouble(frame)
                if trouble is not None:
                    yield from self._give(batch)
                    raise trouble
                if batch and frame.format.name != batch[0].format.name:
                    yield from self._give(batch)
                batch.append(frame)
                self._held += frame.samples
            if batch and self._held >= batch[0].sample_rate:
                self._follow(self._position)
                yield from self._give(batch)
        self._follow(self._file.size)
        yield from self._give(batch)
        self._judge_end()

    def _give(self, batch: list[AudioFrame]) -> Iterator[Samples]:
        """Convert the frames of one format that have been collected; begin anew."""
        if batch:
            samples = self._convert(batch)
            batch.clear()
            self._decoded += len(samples)
            self._held = 0
            yield samples

    def _packets(self) -> Iterator[Packet[AudioStream]]:
        """Demux; the last packet is empty and flushes the decoder."""
        assert self._av is not None  # noqa: S101 - for the type checker
        with self._translated():
            try:
                for packet in self._av.demux(self._stream):
                    if packet.pos is not None:
                        self._position = max(self._position, packet.pos + packet.size)
                    self._packets_seen += packet.size > 0
                    yield packet
            except av.error.InvalidDataError:
                # The demuxer finds no way on.
                self._given_up = True
        self._file.check()
        self._given_up = self._given_up or self._input.starved

    def _decode_packet(self, packet: Packet[AudioStream]) -> list[AudioFrame]:
        """Decode a packet to frames, none if it is broken."""
        with self._translated():
            try:
                frames = packet.decode()
            except av.error.InvalidDataError:
                # Tags and garbage among the frames of an MP3 come as packets too.
                self._broken += self._is_sound(packet)
                if self._broken > _MAX_BROKEN:
                    raise
                return []
        if frames:
            self._input.refill()
        return frames

    def _is_sound(self, packet: Packet[AudioStream]) -> bool:
        container = self._file.container
        if container not in {"mp3", "aac"}:
            return True
        parse = mpeg_frame if container == "mp3" else adts_frame
        frame = parse(bytes(packet)[:HEADER_BYTES], 0)
        return frame is not None and frame.length == packet.size

    def _trouble(self, frame: AudioFrame) -> AudioError | None:
        """Tell what is wrong before a frame, ``None`` where it goes on."""
        here = self._decoded + self._held
        gap = self._file.container == "flac" and frame.pts not in {None, here}
        if self._broken or gap:
            return self._damaged(here)
        rate, channels = frame.sample_rate, frame.layout.nb_channels
        if not self.rate:
            self.rate, self.channels = rate, channels
        if (rate, channels) == (self.rate, self.channels):
            return None
        was = f"{self.rate} Hz, {self.channels} channels"
        now = f"{rate} Hz, {channels} channels"
        return UnsupportedAudioError(
            f"the format changes from {was} to {now}",
            source=self._file.label,
            got=f"{was}, then {now}",
            wanted="one rate and one number of channels",
        )

    def _convert(self, frames: list[AudioFrame]) -> Samples:
        """Join frames of one format to float32, shape ``(frames, channels)``."""
        with self._translated():
            joined = np.concatenate([frame.to_ndarray() for frame in frames], axis=1)
        planar = frames[0].format.is_planar
        channels = frames[0].layout.nb_channels
        return to_float(joined.T if planar else joined.reshape(-1, channels))

    def _follow(self, end: int) -> None:
        """
        Let the structure see the file up to a position.

        Raises:
            DamagedAudioError: If there is damage; what is held then is not given.
        """
        structure, file = self._structure, self._file
        if structure is None:
            return
        back = file.tell()
        file.seek(self._followed)
        while self._followed < end:
            data = file.read(min(_FOLLOW_BYTES, end - self._followed))
            if not data:
                break
            structure.push(data)
            self._followed += len(data)
        file.seek(back)
        file.check()
        if structure.damaged:
            raise self._damaged(self._decoded)

    def _judge_end(self) -> None:
        """Raise if what has been decoded is not all there was."""
        declared = self._declared()
        if self._structure is not None:
            cut = self._structure.cut or self._lacks_samples(declared)
            last_at = self._structure.last_at
            # Giving up in what stands behind the last sound loses nothing.
            self._broken += self._given_up and not (
                last_at is not None and last_at < self._position
            )
        elif declared is not None:
            cut = self._decoded < declared
            self._broken = 0  # what stands behind the last frame does not matter
        else:
            cut = self._broken > 0 or self._given_up
        self._position = self._file.size
        if cut or self._cut:
            raise TruncatedAudioError(
                "the file ends before its sound does",
                source=self._file.label,
                decoded_s=self._decoded / max(1, self.rate),
                declared_s=self._declared_s(declared),
            )
        if self._broken:
            raise self._damaged(self._decoded)

    def _declared(self) -> int | None:
        """Give the number of frames that FLAC and MP4 files say they have."""
        duration = self._stream.duration
        if self._file.container not in {"flac", "mp4"} or not duration:
            return None
        if self._file.container == "flac" and duration == _FLAC_UNKNOWN:
            return None
        frames: int = round(duration * (self._stream.time_base or 0) * self.rate)
        return frames

    def _declared_s(self, declared: int | None) -> float | None:
        if declared is not None and self.rate:
            return declared / self.rate
        return None if self._structure is None else self._structure.declared_s

    def _lacks_samples(self, declared: int | None) -> bool:
        """Tell whether an MP4 file's table of samples goes beyond its end."""
        # Both: an edit list may leave samples out, and a recording may have pauses
        # that are time without samples.
        return (
            declared is not None
            and self._packets_seen < self._stream.frames
            and self._decoded < declared - MAX_PADDING
        )

    def _damaged(self, at: int) -> DamagedAudioError:
        at_s = at / max(1, self.rate)
        return DamagedAudioError(
            f"the data is damaged at {at_s:.1f} s", source=self._file.label, at_s=at_s
        )

    @contextlib.contextmanager
    def _translated(self) -> Iterator[None]:
        """Turn what PyAV raises into an error of ours, or the disk's own."""
        try:
            yield
        except _UNSUPPORTED as exc:
            what = exc.strerror or type(exc).__name__
            raise UnsupportedAudioError(
                f"the decoder cannot read it: {what}",
                source=self._file.label,
                got=what,
            ) from exc
        except _FOREIGN as exc:
            self._file.check()
            raise self._damaged(self._decoded) from exc
