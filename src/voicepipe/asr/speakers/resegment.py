"""Find the row at which one voice takes over from another."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from voicepipe.asr.speakers.features import CEPSTRA


if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

    from voicepipe.asr.speakers.windows import Windows

    Labels = npt.NDArray[np.int64]


_STEP = 2  # rows decided at once: 20 ms
_CHANGE = 60.0  # what a change of voice costs, as a natural logarithm
_PASSES = 2
_REGULAR = 0.02  # added to the variances, of 1
_LEAST = 50  # rows that a voice must have, or nothing is moved


def resegmented(
    rows: npt.NDArray[np.float16],
    runs: Sequence[tuple[int, int]],
    windows: Windows,
    labels: Labels,
) -> Labels:
    """
    Give each row of speech its speaker, -1 where there is no speech.

    Each voice is one Gaussian over single rows; the most likely course of speakers is
    found by dynamic programming, each run of speech by itself.

    Args:
        rows: Features.
        runs: Where speech is, in rows.
        windows: Windows of these runs.
        labels: The speaker of each window, from 0.
    """
    path = np.full(len(rows), -1, np.int64)
    for start, end, label in zip(windows.starts, windows.ends, labels, strict=True):
        path[start:end] = label
    _fill(path, runs)
    count = int(labels.max(initial=0)) + 1
    if count == 1:
        return path
    speech = np.flatnonzero(path >= 0)
    data = rows[speech, :CEPSTRA].astype(np.float64)
    data = (data - data.mean(0)) / np.maximum(data.std(0), 1e-6)
    for _ in range(_PASSES):
        known = path[speech]
        if np.bincount(known, minlength=count).min() < _LEAST:
            break
        likely = np.empty((len(rows), count), np.float32)
        for speaker in range(count):
            likely[speech, speaker] = _likely(data, data[known == speaker])
        for start, end in runs:
            path[start:end] = _course(likely[start:end])
    return path


def _fill(path: Labels, runs: Sequence[tuple[int, int]]) -> None:
    """Give runs that were too short for a window the speaker before, or after."""
    last = 0
    spoken = path[path >= 0]
    if len(spoken):
        last = int(spoken[0])
    for start, end in runs:
        if path[start] < 0:
            path[start:end] = last
        last = int(path[end - 1])


def _likely(
    data: npt.NDArray[np.float64], own: npt.NDArray[np.float64]
) -> npt.NDArray[np.float64]:
    """Give the logarithm of how likely rows are for the voice that said ``own``."""
    mean = own.mean(0)
    spread = np.cov(own.T, bias=True) + _REGULAR * np.eye(own.shape[1])
    off = data - mean
    likely: npt.NDArray[np.float64] = -0.5 * (
        np.sum(off @ np.linalg.inv(spread) * off, axis=1) + np.linalg.slogdet(spread)[1]
    )
    return likely


def _course(likely: npt.NDArray[np.float32]) -> Labels:
    """Find the most likely course of speakers (Viterbi), ``(rows,)``."""
    length, count = likely.shape
    steps = np.add.reduceat(likely, np.arange(0, length, _STEP), axis=0)
    came = np.empty(steps.shape, np.int64)
    stay = np.arange(count)
    total = steps[0].astype(np.float64)
    for at in range(1, len(steps)):
        best = int(total.argmax())
        changed = total[best] - _CHANGE
        came[at] = np.where(total >= changed, stay, best)
        total = np.maximum(total, changed) + steps[at]
    course = np.empty(len(steps), np.int64)
    course[-1] = speaker = int(total.argmax())
    for at in range(len(steps) - 1, 0, -1):
        course[at - 1] = speaker = int(came[at, speaker])
    return np.repeat(course, _STEP)[:length]
