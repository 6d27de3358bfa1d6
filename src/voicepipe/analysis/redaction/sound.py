"""Silence in the place of what has been taken out."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs
import numpy as np


if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

    from voicepipe.analysis.redaction.spans import RedactedSpan
    from voicepipe.types import Audio


MARGIN_S = 0.2
"""Seconds silenced before and after the words: engines' times are off by as much."""

FADE_S = 0.02
"""Seconds in which the sound goes and comes back, inside of the margin: no clicks."""


def redact_audio(
    audio: Audio,
    spans: Iterable[RedactedSpan],
    /,
    *,
    margin_s: float = MARGIN_S,
    fade_s: float = FADE_S,
    only_channel: bool = False,
) -> Audio:
    """
    Give the same sound with silence where something was said that has to go.

    Where ``audio`` lies in its recording is taken from ``audio.start``, so that a
    recording can be done block by block: any cut gives the same samples.

    Args:
        audio: Sound of any rate and number of channels.
        spans: What ``redact_transcript`` or ``redacted_spans`` gave, in any order.
        margin_s: Seconds that are silent before and after each, at least 0.
        fade_s: Seconds before and after the silence in which the sound fades, at
            most ``margin_s``: they are taken from the margin.
        only_channel: Whether to silence only the channel on which it was heard. Lines
            leak: by default all channels are silent.

    Raises:
        ValueError: If ``margin_s`` is negative, or ``fade_s`` not between 0 and it.
    """
    if not 0.0 <= fade_s <= margin_s:
        msg = f"0 <= fade_s <= margin_s must hold, not {fade_s} and {margin_s}"
        raise ValueError(msg)
    fade = round(fade_s * audio.rate)
    wanted: dict[int | None, list[tuple[int, int]]] = {}
    for span in spans:
        first = round((span.start - margin_s) * audio.rate) - audio.start
        last = round((span.end + margin_s) * audio.rate) - audio.start
        if first < audio.frames and last > 0:
            channel = span.channel if only_channel else None
            wanted.setdefault(channel, []).append((first, last))
    if not wanted:
        return audio
    samples = audio.samples.copy()
    for channel, stretches in wanted.items():
        columns = slice(None) if channel is None else slice(channel, channel + 1)
        for first, last in _joined(stretches):
            begin, end = max(first, 0), min(last, audio.frames)
            gain = _gain(np.arange(begin, end), first, last, fade)
            samples[begin:end, columns] *= gain[:, np.newaxis]
    return attrs.evolve(audio, samples=samples)


def _joined(stretches: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """Put together what overlaps, so that nothing comes back between."""
    joined: list[tuple[int, int]] = []
    for first, last in sorted(stretches):
        if joined and first <= joined[-1][1]:
            joined[-1] = joined[-1][0], max(joined[-1][1], last)
        else:
            joined.append((first, last))
    return joined


def _gain(
    frames: NDArray[np.int64], first: int, last: int, fade: int
) -> NDArray[np.float32]:
    """Give the factor of each frame: half a cosine down, zero, half a cosine up."""
    if not fade:
        return np.zeros(len(frames), np.float32)
    inside = np.minimum(frames - first, last - 1 - frames)
    phase = np.clip((inside + 0.5) / fade, 0.0, 1.0)
    return (0.5 + 0.5 * np.cos(np.pi * phase)).astype(np.float32)
