"""Sound of any rate, put into a session's own."""

from __future__ import annotations

from math import ceil, gcd
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from voicepipe.errors import UnsupportedAudioError
from voicepipe.stream.resample import Resampler, check_format
from voicepipe.stream.samples import to_float, to_valid
from voicepipe.types.audio import downmix, pcm16


if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    import numpy.typing as npt

    from voicepipe.types.audio import Samples


# Frames converted in one go: one long push takes no more memory than a short one.
_BLOCK_FRAMES = 1 << 16

# How far soxr's HQ filter reaches to one side, in frames of the lower rate: Kaiser's
# formula gives 94 for 125 dB and a transition from 0.913 to 1 of the Nyquist frequency.
_REACH = 160


def check_source(rate: int, channels: int, session_channels: int) -> None:
    """
    Refuse sound that cannot be put into a session.

    Raises:
        UnsupportedAudioError: If the rate is out of range, or there are neither as
            many channels as in the session, nor one in either.
    """
    check_format(rate, channels)
    if channels != session_channels and 1 not in {channels, session_channels}:
        wanted = f"1 or {session_channels} channels"
        raise UnsupportedAudioError(
            f"{channels} channels are not supported in this session; wanted {wanted}",
            got=f"{channels} channels",
            wanted=wanted,
        )


class Past(NamedTuple):
    """
    Where a change of rate is, and what it has heard last.

    Attributes:
        rate: Frames per second that come in, Hz.
        channels: Channels of the source.
        taken: Frames taken.
        given: Frames given.
        sound: The last frames taken, packed, 24 bits each; empty where the rate stays.
    """

    rate: int
    channels: int
    taken: int
    given: int
    sound: bytes


class Converter:
    """
    Puts sound of one format into the session's: 16 bits, its rate, its channels.

    What has more channels is averaged before the change of rate, what has one is
    copied to all after it. Values that are none of a sample are treated as in a whole
    file: NaN and infinity become zero, others are clipped.

    Args:
        rate: Frames per second that come in, Hz.
        channels: Channels that come in.
        session: Rate and channels of the session.
    """

    def __init__(self, rate: int, channels: int, session: tuple[int, int]) -> None:
        """Check the combination."""
        self.rate: int = rate
        self.channels: int = channels
        self._session_rate, self._session_channels = session
        check_source(rate, channels, self._session_channels)
        self._carried = min(channels, self._session_channels)
        self._resampler: Resampler | None = None
        self._skip = 0
        self._taken = 0
        self._given = 0
        self._recent: list[Samples] = []
        self._early: list[Samples] = []  # given by a resampler as it was restored
        if rate != self._session_rate:
            self._resampler = self._new_resampler()

    @property
    def resamples(self) -> bool:
        """Whether the rate is changed."""
        return self._resampler is not None

    @property
    def passes(self) -> bool:
        """Whether 16-bit samples stay what they are."""
        return self._resampler is None and self.channels == self._session_channels

    def push(self, samples: npt.NDArray[Any]) -> Iterator[npt.NDArray[np.int16]]:
        """
        Take samples, shape ``(frames, channels)``; give what is ready of them.

        Args:
            samples: Of any width.
        """
        for at in range(0, len(samples), _BLOCK_FRAMES):
            block = samples[at : at + _BLOCK_FRAMES]
            if self._resampler is None and block.dtype == np.int16:
                yield from self._pass(block)
            else:
                yield from self._convert(to_valid(to_float(block)))

    def flush(self) -> Iterator[npt.NDArray[np.int16]]:
        """End the sound; give what waited for more."""
        if self._resampler is not None:
            yield from self._give(self._resampler.flush())

    def past(self, most: int) -> Past:
        """
        Give what is needed to go on.

        Args:
            most: Bytes of past sound that there is room for. 208 KiB are enough, but
                for two channels of more than 96 kHz that become less than 8 kHz: the
                seam is longer then.
        """
        sound = np.concatenate(
            [np.zeros((0, self._carried), np.float32), *self._recent]
        )
        wanted = min(most // (3 * self._carried), self._needed())
        kept = sound[max(0, len(sound) - wanted) :]
        return Past(self.rate, self.channels, self._taken, self._given, _pack(kept))

    @classmethod
    def restore(cls, past: Past, session: tuple[int, int]) -> Converter:
        """
        Go on from what ``past`` gave.

        A new filter is given the past anew, silence before that, from a frame on that
        falls together with one of the output: so it ends with the very same number of
        frames, and differs by rounding only as soon as it has heard enough.
        """
        converter = cls(past.rate, past.channels, session)
        resampler = converter._resampler
        if resampler is None:
            return converter  # that has no past
        sound = _unpack(past.sound, converter._carried)
        converter._taken, converter._given = past.taken, past.given
        common = gcd(past.rate, converter._session_rate)
        step, step_out = past.rate // common, converter._session_rate // common
        begin = min(past.taken - len(sound), past.given * step // step_out)
        begin = max(0, begin) // step * step
        silence = past.taken - len(sound) - begin
        converter._skip = past.given - begin // step * step_out
        for block in (np.zeros((silence, converter._carried), np.float32), sound):
            converter._early += converter._skipped(resampler.push(block))
        converter._recent = [sound]
        return converter

    def _new_resampler(self) -> Resampler:
        return Resampler(self.rate, self._session_rate, channels=self._carried)

    def _pass(self, block: npt.NDArray[np.int16]) -> Iterator[npt.NDArray[np.int16]]:
        if self.channels <= self._session_channels:
            yield self._spread(block)
        else:
            yield from self._convert(to_float(block))

    def _convert(self, block: Samples) -> Iterator[npt.NDArray[np.int16]]:
        if self._carried < self.channels:
            block = downmix(block)
        if self._resampler is None:
            yield self._spread(pcm16(block))
            return
        self._taken += len(block)
        self._recent.append(np.array(block))
        yield from self._give(self._resampler.push(block))
        self._forget()

    def _give(self, blocks: tuple[Samples, ...]) -> Iterator[npt.NDArray[np.int16]]:
        early, self._early = self._early, []
        for block in (*early, *self._skipped(blocks)):
            self._given += len(block)
            yield self._spread(pcm16(to_valid(block)))

    def _skipped(self, blocks: tuple[Samples, ...]) -> Iterator[Samples]:
        """Leave out what was given before the stream was restored."""
        for block in blocks:
            skip = min(self._skip, len(block))
            self._skip -= skip
            if skip < len(block):
                yield block[skip:]

    def _spread(self, block: npt.NDArray[np.int16]) -> npt.NDArray[np.int16]:
        if block.shape[1] < self._session_channels:
            block = np.repeat(block, self._session_channels, axis=1)
        return np.ascontiguousarray(block)

    def _needed(self) -> int:
        """Count the frames the filter may still hear: from its next output on."""
        ratio = self.rate / self._session_rate
        waiting = self._taken - int(self._given * ratio)
        return max(0, waiting) + ceil(_REACH * max(1.0, ratio))

    def _forget(self) -> None:
        """Drop blocks that the filter has done with."""
        needed = self._needed()
        there = sum(map(len, self._recent))
        while self._recent and there - len(self._recent[0]) >= needed:
            there -= len(self._recent.pop(0))


def _pack(samples: Samples) -> bytes:
    scaled = np.rint(samples.astype(np.float64) * 2.0**23)
    whole = np.clip(scaled, -(2**23), 2**23 - 1).astype("<i4")
    return whole.view("u1").reshape(-1, 4)[:, :3].tobytes()


def _unpack(sound: bytes, channels: int) -> Samples:
    wide = np.zeros((len(sound) // 3, 4), "u1")
    wide[:, 1:] = np.frombuffer(sound, "u1").reshape(-1, 3)
    samples: Samples = to_float(wide.view("<i4").reshape(-1))
    return samples.reshape(-1, channels)
