"""Change of rate and number of channels, as a stage."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import soxr

from voicepipe.errors import UnsupportedAudioError
from voicepipe.types.audio import downmix


if TYPE_CHECKING:
    from voicepipe.types.audio import Samples


MIN_RATE = 4_000
"""Lowest rate accepted, Hz: below it there is no intelligible speech."""

MAX_RATE = 192_000
"""Highest rate accepted, Hz: the highest of common recording equipment."""

MAX_CHANNELS = 8
"""Most channels accepted: 7.1 surround."""

# soxr takes any length, but its own buffers grow with one call's input. Cut to blocks,
# a long push costs no more memory than a short one.
_BLOCK_FRAMES = 1 << 16


class Resampler:
    """
    Resamples and downmixes a stream of samples; a ``Stage``.

    Uses soxr at quality HQ (linear phase, pass band to 0.913 of the lower Nyquist
    frequency, better than 120 dB of rejection). Output has
    ``frames * rate_out / rate_in`` frames, up or down to a whole number, and no delay:
    what belongs to input frame 0 comes first. It may exceed [-1, 1] by a few per cent
    where the input is at full scale; whoever makes an ``Audio`` of it clips.

    Chunk invariance: any cut of the input, and one call for all of it, give the same
    bits. Equal rates pass samples through unchanged.

    Args:
        rate_in: Rate of the samples pushed, Hz, 4,000 to 192,000.
        rate_out: Rate of the samples given, Hz, 4,000 to 192,000.
        channels: Channels of the samples pushed, 1 to 8.
        channels_out: Channels of the samples given: as many as come in (the default),
            or 1 for their mean.

    Raises:
        ValueError: If an argument is out of its range.
    """

    def __init__(
        self,
        rate_in: int,
        rate_out: int,
        *,
        channels: int = 1,
        channels_out: int | None = None,
    ) -> None:
        """Check the format and prepare the filter."""
        for rate in (rate_in, rate_out):
            if not MIN_RATE <= rate <= MAX_RATE:
                msg = f"rate must be {MIN_RATE} to {MAX_RATE} Hz, not {rate}"
                raise ValueError(msg)
        if not 1 <= channels <= MAX_CHANNELS:
            msg = f"channels must be 1 to {MAX_CHANNELS}, not {channels}"
            raise ValueError(msg)
        if channels_out not in {None, 1, channels}:
            msg = f"channels_out must be 1 or {channels}, not {channels_out}"
            raise ValueError(msg)
        self.rate_in: int = rate_in
        self.rate_out: int = rate_out
        self.channels: int = channels
        self.channels_out: int = channels if channels_out is None else channels_out
        self._filter = (
            None
            if rate_in == rate_out
            else soxr.ResampleStream(
                rate_in, rate_out, self.channels_out, dtype="float32", quality="HQ"
            )
        )
        self._flushed = False

    def push(self, samples: Samples, /) -> tuple[Samples, ...]:
        """
        Take samples; give those that are ready.

        Args:
            samples: Float32, shape ``(frames, channels)``, any number of frames.

        Returns:
            Arrays of shape ``(frames, channels_out)``, none of them empty.

        Raises:
            ValueError: If the shape is wrong, or after ``flush``.
        """
        self._check_open()
        if samples.ndim != 2 or samples.shape[1] != self.channels:
            msg = f"samples must be (frames, {self.channels}), not {samples.shape}"
            raise ValueError(msg)
        if self.channels_out < self.channels:
            samples = downmix(samples)
        if self._filter is None:
            return (samples,) if len(samples) else ()
        blocks = [
            self._run(samples[at : at + _BLOCK_FRAMES], last=False)
            for at in range(0, len(samples), _BLOCK_FRAMES)
        ]
        return tuple(block for block in blocks if len(block))

    def flush(self) -> tuple[Samples, ...]:
        """
        End the stream; give the samples that waited for what comes after them.

        Raises:
            ValueError: If the stream has been flushed before.
        """
        self._check_open()
        self._flushed = True
        if self._filter is None:
            return ()
        tail = self._run(np.zeros((0, self.channels_out), np.float32), last=True)
        return (tail,) if len(tail) else ()

    def _run(self, samples: Samples, *, last: bool) -> Samples:
        assert self._filter is not None  # noqa: S101 - for the type checker
        out: Samples = self._filter.resample_chunk(np.ascontiguousarray(samples), last)
        return out.reshape(-1, self.channels_out)

    def _check_open(self) -> None:
        if self._flushed:
            msg = "the stream has been flushed"
            raise ValueError(msg)


def check_format(rate: int, channels: int, source: str | None = None) -> None:
    """
    Refuse a recording of a rate or a number of channels that is not read.

    Raises:
        UnsupportedAudioError: If one is out of its range.
    """
    for value, low, high, unit in (
        (rate, MIN_RATE, MAX_RATE, "Hz"),
        (channels, 1, MAX_CHANNELS, "channels"),
    ):
        if not low <= value <= high:
            got, wanted = f"{value} {unit}", f"{low} to {high} {unit}"
            raise UnsupportedAudioError(
                f"{got} is not supported; wanted {wanted}",
                source=source,
                got=got,
                wanted=wanted,
            )
