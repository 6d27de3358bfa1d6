"""What every transcriber does first: one signal for each speaker that can be told."""

from __future__ import annotations

from typing import TYPE_CHECKING

import anyio.from_thread
import anyio.to_thread
import attrs
import numpy as np

from voicepipe.stream.channels import DualMono
from voicepipe.stream.resample import Resampler
from voicepipe.types.audio import pcm16


if TYPE_CHECKING:
    from collections.abc import Iterator

    from voicepipe.types import Audio, Samples


@attrs.frozen(kw_only=True)
class Track:
    """
    One signal to transcribe.

    Attributes:
        pcm: int16 samples in native byte order, mono.
        channel: The channel it comes from; ``None`` where all channels are one signal.
    """

    pcm: bytes = attrs.field(repr=False)
    channel: int | None


async def tracks_of(audio: Audio, *, rate: int) -> tuple[Track, ...]:
    """
    Split audio into the signals to transcribe: one per channel, or one for all.

    Args:
        audio: Any rate, any number of channels.
        rate: Rate of the tracks, Hz.

    Cancellation: within the work on a second of sound.
    """
    return await anyio.to_thread.run_sync(_tracks, audio, rate)


def channels_of(audio: Audio) -> tuple[int | None, ...]:
    """
    Give the channels to transcribe; ``None`` where all channels are one signal.

    Runs in a worker thread of anyio; cancelling its caller breaks it off.

    Args:
        audio: Any rate, any number of channels; without frames it has none.
    """
    if audio.frames == 0:
        return ()
    same = DualMono(audio.rate)
    for second in seconds_of(audio):
        anyio.from_thread.check_cancelled()
        same.push(second)
    return (None,) if same.verdict else tuple(range(audio.channels))


def _tracks(audio: Audio, rate: int) -> tuple[Track, ...]:
    return tuple(
        Track(pcm=_pcm(audio, channel or 0, rate), channel=channel)
        for channel in channels_of(audio)
    )


def _pcm(audio: Audio, channel: int, rate: int) -> bytes:
    resampler = Resampler(audio.rate, rate)
    pieces: list[Samples] = []
    for second in seconds_of(audio):
        anyio.from_thread.check_cancelled()
        pieces.extend(resampler.push(second[:, channel : channel + 1]))
    pieces.extend(resampler.flush())
    return b"".join(pcm16(np.clip(piece, -1.0, 1.0)).tobytes() for piece in pieces)


def seconds_of(audio: Audio) -> Iterator[Samples]:
    """Give samples piecemeal: large temporary arrays would be most of the memory."""
    for at in range(0, audio.frames, audio.rate):
        yield audio.samples[at : at + audio.rate]


def speaker_label(channel: int | None) -> str | None:
    """Name the speaker of a channel, ``"Speaker00"`` for the first."""
    return None if channel is None else f"Speaker{channel:02d}"
