"""One compressed file of a live stream: packets found, decoded and cut to length."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any

import numpy as np

from voicepipe.errors import UnsupportedAudioError
from voicepipe.stream.assembler.reader import Block
from voicepipe.stream.packets.gapless import Gapless, Waiting
from voicepipe.stream.packets.info import read_info
from voicepipe.stream.packets.splitter import RECENT
from voicepipe.stream.packets.state import packed, unpacked
from voicepipe.stream.resample import MAX_CHANNELS, MAX_RATE, MIN_RATE
from voicepipe.stream.samples import to_valid


if TYPE_CHECKING:
    from collections.abc import Sequence

    from voicepipe.stream.packets.decoder import (
        Decoded,
        DecoderFactory,
        PacketDecoder,
    )
    from voicepipe.stream.packets.splitter import Packet, Splitter


MAX_SOUND_BYTES = 1 << 29
"""
Most sound that one call may give, as the decoder gives it.

A few bytes of FLAC may stand for a second of silence; who wants to know early pushes in
small pieces.
"""


# Packets decoded before it is looked at how much sound that makes.
_AT_ONCE = 32


class PacketReader:
    """
    Reads one MP3, ADTS, FLAC, WebM or Ogg file piece by piece; a ``Reader``.

    What it gives is bit for bit what ``read_audio`` gives for a whole and undamaged
    file. Where a container's times tell that sound is missing, there is silence of the
    same length instead. What is damaged is passed over, and counted:
    ``damaged_frames`` that could not be decoded, ``dropped_bytes`` that were nothing.
    A frame that the file ends with, cut short, is decoded if the decoder takes it, as
    it does in MP3.

    After an error the reader is of no more use: some of what was pushed may have been
    decoded.

    Args:
        splitter: Finds the packets.
        decoders: Makes the decoder, when there is a packet for it.
    """

    light: bool = False

    def __init__(self, splitter: Splitter, decoders: DecoderFactory) -> None:
        """Begin at the first byte."""
        self._splitter = splitter
        self._decoders = decoders
        self._decoder: PacketDecoder | None = None
        self._gapless: Gapless | None = None  # made by the first packet
        self._damaged = 0
        self._dropped = 0
        self._gap = 0  # frames of silence that come next
        self._recent: deque[bytes] = deque(maxlen=RECENT)

    @property
    def codec(self) -> str:
        """FFmpeg's name of the codec."""
        return self._splitter.codec

    @property
    def ended(self) -> bytes | None:
        """See ``Reader``."""
        return self._splitter.ended

    def push(self, data: memoryview | bytes, /) -> list[Block]:
        """
        Take bytes; give the sound that is ready.

        Raises:
            UnsupportedAudioError: If FFmpeg lacks what the stream takes, the rate or
                the number of channels is not read, or there is too much sound.
            DamagedAudioError: If a megabyte in a row is no sound, or the header cannot
                be read.
            DecoderCrashedError: If the decoder runs elsewhere, and died.
            DecoderTimeoutError: If it runs elsewhere, and took too long.
        """
        return self._decoded(self._accepted(self._splitter.push(data)))

    def flush(self) -> list[Block]:
        """
        End the file; give what waited.

        Raises:
            AudioError: As ``push``.
        """
        waiting = self._accepted(self._splitter.flush())
        if self._gapless is not None:
            waiting += self._gapless.flush(self._splitter.total)
        return [*self._decoded(waiting), *self._held_back()]

    def counts(self) -> dict[str, int]:
        """Give what was left out."""
        return {
            "dropped_bytes": self._splitter.dropped + self._dropped,
            "damaged_frames": self._splitter.damaged + self._damaged,
        }

    def snapshot(self) -> bytes:
        """
        Give all that goes on from here, at most 200 kB.

        Beside what waits these are the last packets: a fresh decoder is warmed up with
        them.
        """
        fields, waiting = self._splitter.state()
        recent = self._splitter.warm_up(list(self._recent))
        parts = [waiting, self._splitter.extradata]
        gapless: dict[str, Any] | None = None
        if self._gapless is not None:
            gapless, held = self._gapless.state()
            parts += held
        state = {
            "splitter": fields,
            "gapless": gapless,
            "damaged": self._damaged,
            "dropped": self._dropped,
            "gap": self._gap,
        }
        return packed(state, [*parts, *recent])

    def resume(self, snapshot: bytes) -> None:
        """
        Go on where another reader was.

        Raises:
            ValueError: If the snapshot is damaged, or of another codec.
        """
        state, parts = unpacked(snapshot)
        try:
            waiting, extradata, *rest = parts
            self._splitter.resume(state["splitter"], waiting, extradata)
            gapless = state["gapless"]
            if gapless is not None:
                count = len(gapless["held"])
                self._gapless = Gapless.resumed(gapless, rest[:count])
                self._recent.extend(rest[count:])
            self._damaged, self._dropped = state["damaged"], state["dropped"]
            self._gap = state.get("gap", 0)
        except (LookupError, TypeError, ValueError) as exc:
            raise ValueError("the snapshot is of something else") from exc

    def close(self) -> None:
        """Give the decoder back."""
        if self._decoder is not None:
            self._decoder.close()
            self._decoder = None

    def _accepted(self, packets: Sequence[Packet]) -> list[Waiting]:
        """Give the packets that can be decoded now."""
        waiting: list[Waiting] = []
        for packet in packets:
            if self._gapless is None:
                splitter = self._splitter
                mpeg = splitter.codec == "mp3"
                info = read_info(packet.data) if mpeg else None
                self._gapless = Gapless(info, splitter.begin, splitter.lead)
                if info is not None and not (info.sounds and packet.alike):
                    continue
            waiting += self._gapless.push(packet)
        return waiting

    def _decoded(self, waiting: Sequence[Waiting]) -> list[Block]:
        """Decode packets, and cut and join what they give."""
        joiner = _Joiner()
        for begin in range(0, len(waiting), _AT_ONCE):
            self._decode(waiting[begin : begin + _AT_ONCE], joiner)
        return joiner.blocks()

    def _decode(self, waiting: Sequence[Waiting], joiner: _Joiner) -> None:
        packets = [packet.data for packet in waiting]
        for packet, decoded in zip(waiting, self._ask(packets), strict=True):
            self._gap += packet.gap
            if decoded is None:
                self._damaged += packet.whole
                self._dropped += 0 if packet.whole else len(packet.data)
            elif self._gapless is not None:
                joiner.take(decoded.rate, self._silence(decoded))
                joiner.take(decoded.rate, self._gapless.cut(packet, decoded))
        self._recent.extend(packets)

    def _held_back(self) -> list[Block]:
        """Give what the decoder has kept; only Opus's does."""
        gapless, joiner = self._gapless, _Joiner()
        if self._splitter.codec != "opus" or gapless is None or not self._recent:
            return []
        self._ask([])  # a decoder is made anew if the stream has been restored
        if self._decoder is not None:
            for decoded in self._decoder.flush():
                end = Waiting(b"", at=1, frames=0, whole=True)
                joiner.take(decoded.rate, gapless.cut(end, decoded))
        return joiner.blocks()

    def _silence(self, decoded: Decoded) -> Any:
        """Give what stands for the sound that is missing in front of a packet."""
        gap, self._gap = self._gap, 0
        return np.zeros((gap, decoded.samples.shape[1]), decoded.samples.dtype)

    def _ask(self, packets: list[bytes]) -> Sequence[Decoded | None]:
        """Have packets decoded, by a decoder that knows what came before them."""
        if self._decoder is None:
            splitter = self._splitter
            self._decoder = self._decoders(splitter.codec, splitter.extradata)
            recent = splitter.warm_up(list(self._recent))
            if recent:
                self._decoder.decode(recent)
        return self._decoder.decode(packets)


class _Joiner:
    """Joins the samples of packets that are alike to blocks."""

    def __init__(self) -> None:
        self._size = 0
        self._blocks: list[Block] = []
        self._alike: list[Any] = []
        self._rate = 0

    def take(self, rate: int, samples: Any) -> None:
        """Append samples."""
        if not len(samples):
            return
        self._size += samples.nbytes
        if self._size > MAX_SOUND_BYTES:
            raise UnsupportedAudioError(
                "there is too much sound in one piece",
                got=f"more than {MAX_SOUND_BYTES} bytes",
                wanted="smaller pieces",
            )
        if self._alike and not self._fits(rate, samples):
            self._join()
        if not self._alike:
            _check(rate, samples.shape[1])
        self._rate = rate
        self._alike.append(samples)

    def blocks(self) -> list[Block]:
        """Give what has been joined."""
        if self._alike:
            self._join()
        return self._blocks

    def _fits(self, rate: int, samples: Any) -> bool:
        last = self._alike[-1]
        return (rate, samples.shape[1], samples.dtype) == (
            self._rate,
            last.shape[1],
            last.dtype,
        )

    def _join(self) -> None:
        joined = np.concatenate(self._alike)
        self._alike.clear()
        if joined.dtype != np.int16:
            joined = to_valid(joined)
        self._blocks.append(Block(rate=self._rate, samples=joined))


def _check(rate: int, channels: int) -> None:
    """Refuse what whole files may not have either."""
    for value, low, high, unit in (
        (rate, MIN_RATE, MAX_RATE, "Hz"),
        (channels, 1, MAX_CHANNELS, "channels"),
    ):
        if not low <= value <= high:
            got, wanted = f"{value} {unit}", f"{low} to {high} {unit}"
            raise UnsupportedAudioError(
                f"{got} is not supported; wanted {wanted}", got=got, wanted=wanted
            )
