"""A recording's samples at the rate and with the channels that are wanted."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Protocol, Self

import attrs

from voicepipe.errors import UnsupportedAudioError
from voicepipe.io.ahead import ahead
from voicepipe.io.decode import open_audio
from voicepipe.io.options import DecodeOptions
from voicepipe.io.samples import to_valid
from voicepipe.io.source import AudioSource
from voicepipe.stream.resample import Resampler


if TYPE_CHECKING:
    from collections.abc import Generator

    from voicepipe.types.audio import DecodeReport, Samples


@attrs.frozen(kw_only=True)
class Order:
    """
    A recording, and what it is to become.

    Attributes:
        source: See ``AudioSource``.
        options: What to accept.
        rate: Frames per second wanted, Hz; ``None`` for the source's own.
        channels: 1 for the mean of all channels, or as many as the source has; ``None``
            for the source's own.
        channel: This channel alone, counted from 0.
    """

    source: AudioSource
    options: DecodeOptions
    rate: int | None = None
    channels: int | None = None
    channel: int | None = None


class Conversion(Protocol):
    """A recording being converted, here or in another process; closed by ``with``."""

    rate: int
    channels: int

    @property
    def fraction(self) -> float:
        """Share of the source that has been consumed, 0 to 1; never goes back."""
        ...

    @property
    def report(self) -> DecodeReport:
        """What decoding has shown so far."""
        ...

    def pieces(self) -> Generator[Samples, None, None]:
        """
        Give the samples in pieces of any length, none of them empty; once.

        Yields:
            Float32 in [-1, 1], shape ``(frames, channels)``.

        Raises:
            AudioError: As ``AudioReader.blocks``.
            OSError: If reading fails.
        """
        ...

    def __enter__(self) -> Self:
        """Give the conversion itself."""
        ...

    def __exit__(self, *_: object) -> None:
        """Close the source, unless it is the caller's own."""
        ...


class LocalConversion:
    """
    Decodes in one thread and resamples in another.

    Args:
        order: The recording, and what it is to become.

    Attributes:
        rate: Frames per second that come out, Hz.
        channels: Channels that come out.

    Raises:
        OSError: If the source cannot be opened or read.
        AudioError: As ``open_audio``; also if there is no such channel, or not this
            number of channels.
        ValueError: If the rate is out of its range.
    """

    def __init__(self, order: Order) -> None:
        """Open the source."""
        self._reader = reader = open_audio(order.source, options=order.options)
        self._channel = order.channel
        try:
            _check(order, reader.channels, reader.label)
            self._resampler = Resampler(
                reader.rate,
                reader.rate if order.rate is None else order.rate,
                channels=reader.channels if order.channel is None else 1,
                channels_out=order.channels,
            )
        except BaseException:
            reader.close()
            raise
        self.rate: int = self._resampler.rate_out
        self.channels: int = self._resampler.channels_out

    @property
    def fraction(self) -> float:
        """See ``Conversion``."""
        return self._reader.fraction

    @property
    def report(self) -> DecodeReport:
        """See ``Conversion``."""
        return self._reader.report

    def pieces(self) -> Generator[Samples, None, None]:
        """See ``Conversion``."""
        at = self._channel
        with contextlib.closing(ahead(self._reader.blocks())) as blocks:
            for block in blocks:
                chosen = block if at is None else block[:, at : at + 1]
                # Resampling may go a little beyond full scale.
                yield from map(to_valid, self._resampler.push(chosen))
        yield from map(to_valid, self._resampler.flush())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._reader.close()


def _check(order: Order, channels: int, label: str | None) -> None:
    if order.channel is not None and order.channel >= channels:
        raise UnsupportedAudioError(
            f"there is no channel {order.channel}; the source has {channels}",
            source=label,
            got=f"{channels} channels",
            wanted=f"at least {order.channel + 1} channels",
        )
    if order.channels not in {None, 1, channels}:
        raise UnsupportedAudioError(
            f"the source has {channels} channels, not {order.channels}",
            source=label,
            got=f"{channels} channels",
            wanted=f"{order.channels} channels",
        )
