"""From rows of features to one point for each second of speech."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs
import numpy as np
import numpy.typing as npt

from voicepipe.asr.speakers.features import CEPSTRA, HOP, LEVEL, PITCH


if TYPE_CHECKING:
    from collections.abc import Sequence

    from voicepipe.stream.vad import SpeechSpan


WINDOW = 100
"""Rows of a window: 1 s, a few syllables. Runs of speech are cut to about that."""

_LEAST = 10  # rows; what is shorter says little about a voice

# Detectors add margins; rows at the ends of speech that are so far below its level, or
# so near to that of the pauses, in dB, are margin.
_BELOW_SPEECH, _ABOVE_NOISE, _NEVER_ABOVE = 30.0, 8.0, 10.0
_LOUD_SHARE = 90  # the percentile that is a span's level
_PAUSE_ROWS = 50

_TRIMMED_SHARE = 80  # percentile of differences that are one voice's
_TRIMMED_SCALE = 1.3  # about what leaving out the others takes away
_SHRINK = 0.3  # towards independent columns
_TINY = 1e-3


@attrs.frozen(eq=False)
class Windows:
    """
    The windows of a recording.

    Attributes:
        starts: First row of each, in order.
        ends: The row after the last one.
        joined: Whether the next window follows without a pause, for each.
        points: One point for each window, ``(windows, dimensions)``; in every direction
            one voice moves by about 1 from a window to the next.
    """

    starts: npt.NDArray[np.int64]
    ends: npt.NDArray[np.int64]
    joined: npt.NDArray[np.bool_]
    points: npt.NDArray[np.float64]

    @property
    def weights(self) -> npt.NDArray[np.float64]:
        """Seconds of each window."""
        seconds: npt.NDArray[np.float64] = (self.ends - self.starts) / WINDOW
        return seconds


def speech_runs(
    rows: npt.NDArray[np.float16], spans: Sequence[SpeechSpan]
) -> tuple[tuple[int, int], ...]:
    """
    Give where speech is, in rows, without the margins that detectors add.

    Args:
        rows: Features.
        spans: Speech in frames at 16 kHz, in order.
    """
    level = rows[:, LEVEL].astype(np.float64)
    quiet = np.ones(len(rows), np.bool_)
    for span in spans:
        quiet[span.start // HOP : -(-span.end // HOP)] = False
    noise = float("-inf")
    if np.count_nonzero(quiet) >= _PAUSE_ROWS:
        noise = float(np.median(level[quiet]))
    runs = []
    for span in spans:
        start, end = span.start // HOP, min(len(rows), -(-span.end // HOP))
        loud = float(np.percentile(level[start:end], _LOUD_SHARE))
        least = min(
            max(loud - _BELOW_SPEECH, noise + _ABOVE_NOISE), loud - _NEVER_ABOVE
        )
        heard = np.flatnonzero(level[start:end] >= least)
        runs.append((start + int(heard[0]), start + int(heard[-1]) + 1))
    return tuple(runs)


def windows_of(
    rows: npt.NDArray[np.float16], runs: Sequence[tuple[int, int]]
) -> Windows:
    """Cut runs of speech to windows, and give each its point."""
    starts: list[int] = []
    ends: list[int] = []
    joined: list[bool] = []
    for start, end in runs:
        if end - start < _LEAST:
            continue
        count = max(1, round((end - start) / WINDOW))
        edges = np.linspace(start, end, count + 1).astype(int).tolist()
        starts += edges[:-1]
        ends += edges[1:]
        joined += [True] * (count - 1) + [False]
    points = _features(rows, starts, ends)
    together = np.array(joined, np.bool_)
    return Windows(
        np.array(starts, np.int64),
        np.array(ends, np.int64),
        together,
        _even(points, together),
    )


def _features(
    rows: npt.NDArray[np.float16], starts: Sequence[int], ends: Sequence[int]
) -> npt.NDArray[np.float64]:
    """Give the mean spectrum and the median pitch of what is voiced in each window."""
    points = np.zeros((len(starts), CEPSTRA + 1))
    for index, (start, end) in enumerate(zip(starts, ends, strict=True)):
        window = rows[start:end].astype(np.float64)
        voiced = window[window[:, PITCH] > 0.0]
        enough = len(voiced) >= _LEAST
        points[index, :CEPSTRA] = (voiced if enough else window)[:, :CEPSTRA].mean(0)
        points[index, CEPSTRA] = np.median(voiced[:, PITCH]) if enough else np.nan
    pitch = points[:, CEPSTRA]
    known = np.isfinite(pitch)
    pitch[~known] = np.median(pitch[known]) if known.any() else 0.0
    return points


def _even(
    points: npt.NDArray[np.float64], joined: npt.NDArray[np.bool_]
) -> npt.NDArray[np.float64]:
    """
    Scale and turn points so that one voice moves by about 1 in every direction.

    Neighbours without a pause between them are mostly of one voice; the largest of
    their differences, where voices change, are left out.
    """
    steps = (points[1:] - points[:-1])[joined[:-1]] / np.sqrt(2.0)
    if len(steps) < 2:
        return points - points.mean(0) if len(points) else points
    kept = steps
    for _ in range(3):
        spread = _shrunk(kept)
        far = np.sum(steps * np.linalg.solve(spread, steps.T).T, axis=1)
        kept = steps[far <= np.percentile(far, _TRIMMED_SHARE)]
    values, vectors = np.linalg.eigh(_shrunk(kept) * _TRIMMED_SCALE)
    scale = np.sqrt(np.maximum(values, _TINY * values[-1]))
    even: npt.NDArray[np.float64] = (points - points.mean(0)) @ vectors / scale
    return even


def _shrunk(steps: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Give the covariance about zero, shrunk towards its diagonal."""
    spread = steps.T @ steps / len(steps)
    diagonal = np.diag(np.maximum(np.diag(spread), 1e-9))
    return (1.0 - _SHRINK) * spread + _SHRINK * diagonal
