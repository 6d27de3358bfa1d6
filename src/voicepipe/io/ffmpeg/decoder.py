"""Decoding a file from its first block to a judgement of its end."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import av.error

from voicepipe.errors import (
    DamagedAudioError,
    EmptyAudioError,
    TruncatedAudioError,
    UnsupportedAudioError,
)
from voicepipe.io.ffmpeg.follower import Follower
from voicepipe.io.ffmpeg.joiner import BLOCK_FRAMES, FrameJoiner
from voicepipe.io.ffmpeg.opening import open_input, translated
from voicepipe.io.samples import MAX_PADDING, silence, trim_end
from voicepipe.io.source import RationedFile
from voicepipe.types.audio import DecodeReport


if TYPE_CHECKING:
    from collections.abc import Iterator

    from av.audio.frame import AudioFrame
    from av.audio.stream import AudioStream
    from av.container import InputContainer
    from av.packet import Packet

    from voicepipe.io.source import SourceFile
    from voicepipe.types.audio import Samples


# A file's end takes one packet with it, or two. More in a row is no end.
_MAX_BROKEN = 16

# Longest silence put in the place of lost sound, seconds. What says that more is lost
# is damaged itself.
_MAX_LOST_S = 60.0

# STREAMINFO has 36 bits for the number of frames; all ones is no number.
_FLAC_UNKNOWN = (1 << 36) - 1


class AvDecoder:
    """
    Gives the samples of a file's first audio stream.

    Decodes the first block at once: what a header says of the rate and the channels
    may be wrong, what comes out of the decoder is not.

    Args:
        file: The file; stays the caller's to close.
        cut: Whether its header has shown already that its end is missing.
        lenient: Whether to go on behind damage.

    Attributes:
        rate: Frames per second.
        channels: Number of channels.

    Raises:
        AudioError: The kind that fits; see ``decode.open_audio``.
        OSError: If reading fails.
    """

    def __init__(
        self, file: SourceFile, *, cut: bool = False, lenient: bool = False
    ) -> None:
        """Open the file and decode its first block."""
        self._file = file
        self._cut = cut
        self._lenient = lenient
        self._input = RationedFile(file)
        self._follower = Follower(file)
        self._numbered = file.container == "flac"  # its frames are
        self._joiner: FrameJoiner | None = None
        self._position = 0  # behind the last byte that has been decoded
        self._packets_seen = 0
        self._decoded = 0  # frames given
        self._vouched = 0  # frames joined that the structure has nothing against
        self._damage_seen = False  # the structure's own
        self._next_pts = 0  # where the next frame of a FLAC file begins
        self._broken = 0  # packets in a row that could not be decoded
        self._missing = 0  # frames of sound that were in them
        self._lost = 0  # frames of silence given instead
        self._damaged_at_s: float | None = None  # the first damage that was passed over
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

    @property
    def report(self) -> DecodeReport:
        """What has been seen so far."""
        structure = self._follower.structure
        declared = self._declared()
        if declared is None and structure is not None and structure.declared_s:
            declared = round(structure.declared_s * self.rate)
        return DecodeReport(
            container=self._file.container,
            codec=self._stream.codec_context.codec.canonical_name,
            rate=self.rate,
            channels=self.channels,
            streams=self._streams,
            declared_frames=declared,
            damaged=self._damaged_at_s is not None,
            damaged_at_s=self._damaged_at_s,
            lost_frames=self._lost,
            trailing_bytes=0 if structure is None else structure.trailing_bytes,
            bad_checksums=0 if structure is None else structure.bad_checksums,
        )

    def blocks(self) -> Iterator[Samples]:
        """
        Give the samples in blocks of some seconds; once.

        Raises:
            TruncatedAudioError: At the end, if the file's own end is missing.
            DamagedAudioError: Where the file is damaged, after what is good; not if the
                decoder is lenient.
            UnsupportedAudioError: Where the rate or the channels change; a lenient
                decoder ends there.
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
            with translated(self._file, self._damaged):
                opened = open_input(self._input, self._file.container)
        except DamagedAudioError as exc:
            # A file that lacks its end may lack what is needed to open it.
            self._follower.to(self._file.size)
            if self._follower.cut:
                msg = "the file ends before its sound begins"
                raise TruncatedAudioError(msg, source=name) from exc.__cause__
            if self._follower.empty:
                raise _no_sound(name) from exc.__cause__
            raise
        self._av = opened
        self._streams = len(opened.streams.audio)
        if not self._streams:
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
        if first is None and self._damaged_at_s is not None:
            raise self._damaged()
        if first is None:
            raise _no_sound(name)
        blocks = itertools.chain((first,), blocks)
        declared = self._declared() if self._file.container == "mp4" else None
        return blocks if declared is None else trim_end(blocks, declared)

    def _decode(self) -> Iterator[Samples]:
        """Join what is decoded to blocks; judge at the end."""
        for frame in self._frames():
            if not self.rate:
                self.rate, self.channels = frame.sample_rate, frame.layout.nb_channels
            if self._is_behind_damage(frame):
                yield from self._give()
                self._note_damage()
                yield from self._silence()
            joiner = self._joiner
            if joiner is None or not joiner.fits(frame):
                yield from self._give()
                if self._changes(frame):
                    break
                with translated(self._file, self._damaged):
                    self._joiner = joiner = FrameJoiner(frame)
            joiner.take(frame)
            if joiner.frames >= self._vouched + joiner.rate:
                yield from self._follow(self._position)
                if joiner.frames >= BLOCK_FRAMES:
                    yield from self._give()
        yield from self._follow(self._file.size)
        yield from self._give()
        self._judge_end()

    def _frames(self) -> Iterator[AudioFrame]:
        """Demux and decode; count what cannot be decoded."""
        assert self._av is not None  # noqa: S101 - for the type checker
        with translated(self._file, self._damaged):
            for packet in self._packets(self._av):
                try:
                    frames = packet.decode()
                except av.error.InvalidDataError:
                    if self._are_too_many(packet):
                        raise
                    continue
                if frames:
                    self._input.refill()
                if self._numbered and len(frames) > 1:
                    # Around damage, FFmpeg takes several for one, with one's number.
                    for frame in frames:
                        frame.pts = None
                yield from frames
        self._file.check()
        self._given_up = self._given_up or self._input.starved

    def _packets(self, opened: InputContainer) -> Iterator[Packet[AudioStream]]:
        """Demux; the last packet is empty and flushes the decoder."""
        try:
            for packet in opened.demux(self._stream):
                size, at = packet.size, packet.pos
                self._packets_seen += size > 0
                if at is not None and at + size > self._position:
                    self._position = at + size
                yield packet
        except av.error.InvalidDataError:
            # The demuxer finds no way on.
            self._given_up = True

    def _are_too_many(self, broken: Packet[AudioStream]) -> bool:
        """Count a packet that cannot be decoded; tell whether to give up."""
        # Tags and garbage among the frames of an MP3 come as packets too.
        if not self._follower.is_sound(bytes(broken)):
            return False
        self._broken += 1
        if broken.duration and broken.time_base and self.rate:
            self._missing += round(broken.duration * broken.time_base * self.rate)
        return self._broken > _MAX_BROKEN and not self._lenient

    def _is_behind_damage(self, frame: AudioFrame) -> bool:
        """Tell whether sound is missing before a frame, and how much."""
        if not self._numbered:
            return self._broken > 0
        # FLAC frames are numbered: what vanished without a word is seen as well. A
        # few behind the damage come without their numbers.
        here = self._next_pts if frame.pts is None else frame.pts
        self._missing = here - self._next_pts
        self._next_pts = here + frame.samples
        return self._broken > 0 or self._missing != 0

    def _changes(self, frame: AudioFrame) -> bool:
        """Tell whether the rate or the channels are others than before."""
        rate, channels = frame.sample_rate, frame.layout.nb_channels
        if (rate, channels) == (self.rate, self.channels):
            return False
        if self._lenient:
            self._note_damage()
            return True
        was = f"{self.rate} Hz, {self.channels} channels"
        now = f"{rate} Hz, {channels} channels"
        raise UnsupportedAudioError(
            f"the format changes from {was} to {now}",
            source=self._file.label,
            got=f"{was}, then {now}",
            wanted="one rate and one number of channels",
        )

    def _give(self) -> Iterator[Samples]:
        """Give what has been joined."""
        self._vouched = 0
        if self._joiner is not None and self._joiner.frames:
            samples = self._joiner.give()
            self._decoded += len(samples)
            yield samples

    def _silence(self) -> Iterator[Samples]:
        """Give silence in the place of what is missing."""
        missing, self._missing = self._missing, 0
        if 0 < missing <= _MAX_LOST_S * self.rate:
            self._lost += missing
            self._decoded += missing
            yield from silence(missing, self.channels)

    def _follow(self, end: int) -> Iterator[Samples]:
        """
        Let the structure see the file up to a position.

        Raises:
            DamagedAudioError: If there is damage, after the sound from before it.
        """
        self._follower.to(end)
        if self._joiner is None or not self._follower.damaged or self._damage_seen:
            self._vouched = 0 if self._joiner is None else self._joiner.frames
            return
        self._damage_seen = True
        if self._lenient:
            self._note_damage(self._vouched)
        else:
            if self._vouched:
                yield self._joiner.give()[: self._vouched]
            self._decoded += self._vouched
            raise self._damaged()

    def _note_damage(self, ahead: int = 0) -> None:
        """
        Remember the first damage, and that it is dealt with.

        Args:
            ahead: How many frames behind what was given it is.

        Raises:
            DamagedAudioError: If the decoder is not lenient.
        """
        if not self._lenient:
            raise self._damaged()
        if self._damaged_at_s is None:
            self._damaged_at_s = (self._decoded + ahead) / max(1, self.rate)
        self._broken = 0

    def _judge_end(self) -> None:
        """Raise if what has been decoded is not all there was."""
        declared, structure = self._declared(), self._follower.structure
        if structure is not None:
            cut = structure.cut or self._lacks_samples(declared)
            last_at = structure.last_at
            # Giving up in what stands behind the last sound loses nothing.
            self._broken += self._given_up and not (
                last_at is not None and last_at < self._position
            )
        elif declared is not None:
            cut = self._decoded < declared
            self._broken = 0  # what stands behind the last frame does not matter
        elif self._file.container == "flac":
            cut = self._broken > 0 or self._given_up
        else:
            cut = False
            self._broken += self._given_up
        self._position = self._file.size
        if cut or self._cut:
            raise TruncatedAudioError(
                "the file ends before its sound does",
                source=self._file.label,
                decoded_s=self._decoded / max(1, self.rate),
                declared_s=self._declared_s(declared),
            )
        if self._broken:
            self._note_damage()

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
        structure = self._follower.structure
        return None if structure is None else structure.declared_s

    def _lacks_samples(self, declared: int | None) -> bool:
        """Tell whether an MP4 file's table of samples goes beyond its end."""
        # Both: an edit list may leave samples out, and a recording may have pauses
        # that are time without samples.
        return (
            declared is not None
            and self._packets_seen < self._stream.frames
            and self._decoded < declared - MAX_PADDING
        )

    def _damaged(self) -> DamagedAudioError:
        at_s = self._decoded / max(1, self.rate)
        return DamagedAudioError(
            f"the data is damaged at {at_s:.1f} s", source=self._file.label, at_s=at_s
        )


def _no_sound(name: str | None) -> EmptyAudioError:
    return EmptyAudioError("there is not one frame of sound", source=name)
