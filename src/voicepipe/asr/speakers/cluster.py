"""Group windows by voice, and find out how many voices there are."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import numpy as np


if TYPE_CHECKING:
    import numpy.typing as npt

    from voicepipe.asr.speakers.options import SpeakerOptions
    from voicepipe.asr.speakers.windows import Windows

    Labels = npt.NDArray[np.int64]
    Points = npt.NDArray[np.float64]


_SPARE = 4
"""Groups that windows are cut to, more than there may be speakers; then they join."""

_AT_ONCE = 512
"""Windows grouped at once: time and memory grow with the square of it."""

_KEPT = 32
"""Groups that each such lot is first reduced to."""

_HELD = 0.62
"""Share of the speech that the counted groups must hold, or all windows count."""

_LEAST_SPREAD = 0.3  # of a group along the line to another one
_ROUNDS = 5

# How often two groups take turns without a pause, as a share of how often they would
# if windows knew nothing of their neighbours: what to expect before having seen any,
# as so many changes, and how much it counts.
_EXPECTED, _EXPECTED_WEIGHT, _TURNS_POWER = 0.3, 2.0, 1.5


def speakers_of(windows: Windows, options: SpeakerOptions) -> Labels:
    """
    Give each window its speaker, from 0.

    Windows are grouped by Ward's method; then the two groups that are least apart
    become one, until all are far enough apart and not too many. Groups of little
    speech do not count: they are mostly two voices at once. In the end each window goes
    to the nearest speaker.
    """
    labels = _grouped(windows.points, windows.weights, options.bounds[1] + _SPARE)
    joined, counted = _joined(windows, labels, options, pure=True)
    held = windows.weights[np.isin(joined, counted)].sum()
    if held < _HELD * windows.weights.sum():
        # A voice was cut so finely that none of its groups counts.
        joined, counted = _joined(windows, labels, options, pure=False)
    return _nearest(windows.points, windows.weights, joined, counted)


def _joined(
    windows: Windows, labels: Labels, options: SpeakerOptions, *, pure: bool
) -> tuple[Labels, list[int]]:
    """
    Join groups until they are speakers; give the labels, and those that count.

    Args:
        windows: All of them.
        labels: The group of each.
        options: When to stop.
        pure: Whether only windows of one voice count, as far as one sees.
    """
    fewest, most = options.bounds
    while True:
        used = _pure(windows, labels) if pure else np.ones(len(labels), np.bool_)
        counted = [
            label
            for label in np.unique(labels).tolist()
            if windows.weights[(labels == label) & used].sum() >= options.least_s
        ]
        if len(counted) <= fewest:
            break
        apart, one, other = min(
            (_apart(windows, labels, used, pair), *pair)
            for pair in itertools.combinations(counted, 2)
        )
        if len(counted) <= most and apart >= options.distance:
            break
        labels = np.where(labels == other, one, labels)
    return labels, counted


def _nearest(
    points: Points, weights: npt.NDArray[np.float64], labels: Labels, counted: list[int]
) -> Labels:
    """Give each window to the nearest of the counted groups, and move these along."""
    if not counted:
        return np.zeros(len(points), np.int64)
    centres = np.stack(
        [
            np.average(
                points[labels == label], axis=0, weights=weights[labels == label]
            )
            for label in counted
        ]
    )
    for _ in range(_ROUNDS):
        labels = np.argmin(_squares(points, centres), axis=1)
        for index in range(len(centres)):
            mine = labels == index
            if mine.any():
                centres[index] = np.average(points[mine], axis=0, weights=weights[mine])
    return labels


def _pure(windows: Windows, labels: Labels) -> npt.NDArray[np.bool_]:
    """
    Tell which windows seem to be of one voice.

    Where voices change within a window it lies between both; a group of such windows is
    no speaker. Their neighbours are of other groups.
    """
    same = (labels[1:] == labels[:-1]) & windows.joined[:-1]
    before = np.concatenate([[False], same])
    after = np.concatenate([same, [False]])
    follows = np.concatenate([[False], windows.joined[:-1]])
    alone = ~follows & ~windows.joined
    pure: npt.NDArray[np.bool_] = before | after | alone
    return pure


def _apart(
    windows: Windows, labels: Labels, pure: npt.NDArray[np.bool_], pair: tuple[int, int]
) -> float:
    """Tell how sure two voices are: by their distance, and by how they take turns."""
    one, other = ((labels == label) & pure for label in pair)
    distance = _distance(windows.points, windows.weights, one, other)
    together = 1.0 - min(1.0, _mixing(windows, labels, pair))
    return distance * float(together**_TURNS_POWER)


def _mixing(windows: Windows, labels: Labels, pair: tuple[int, int]) -> float:
    """
    Tell how freely two groups change from window to window, within speech.

    Between two voices there is mostly a pause. Sounds of one voice that were taken for
    two come in any order: about 1.
    """
    of_pair = np.isin(labels, pair)
    first = np.flatnonzero(windows.joined[:-1] & of_pair[:-1] & of_pair[1:])
    before, after = labels[first], labels[first + 1]
    share = float(np.mean([before == pair[0], after == pair[0]])) if len(first) else 0.0
    free = 2.0 * share * (1.0 - share) * len(first)
    changes = float(np.count_nonzero(before != after))
    return (changes + _EXPECTED * _EXPECTED_WEIGHT) / (free + _EXPECTED_WEIGHT)


def _distance(
    points: Points,
    weights: npt.NDArray[np.float64],
    one: npt.NDArray[np.bool_],
    other: npt.NDArray[np.bool_],
) -> float:
    """
    Tell how far two groups are apart, in standard deviations.

    That is the geometric mean of two measures: by what one voice does from window to
    window, and by how wide both groups are along the line between them. One voice cut
    into halves by that line is 2.7 apart by the latter.
    """
    centres = [
        np.average(points[who], axis=0, weights=weights[who]) for who in (one, other)
    ]
    line = centres[1] - centres[0]
    length = float(np.linalg.norm(line))
    if length == 0.0:
        return 0.0
    spread = sum(
        float(weights[who] @ ((points[who] - centre) @ line / length) ** 2)
        for who, centre in zip((one, other), centres, strict=True)
    )
    wide = float(np.sqrt(spread / (weights[one].sum() + weights[other].sum())))
    return length / float(np.sqrt(max(wide, _LEAST_SPREAD)))


def _grouped(points: Points, weights: npt.NDArray[np.float64], count: int) -> Labels:
    """Group windows by Ward's method; many of them in two steps."""
    if len(points) <= _AT_ONCE:
        return _ward(points, weights, count)
    first = np.empty(len(points), np.int64)
    for at in range(0, len(points), _AT_ONCE):
        lot = slice(at, at + _AT_ONCE)
        first[lot] = at + _ward(points[lot], weights[lot], _KEPT)
    _, first = np.unique(first, return_inverse=True)
    mass = np.bincount(first, weights).astype(np.float64)
    centres = np.stack(
        [np.bincount(first, weights * column) / mass for column in points.T], axis=1
    )
    return _ward(centres, mass, count)[first]


def _ward(points: Points, weights: npt.NDArray[np.float64], count: int) -> Labels:
    """Join what costs least variance, until ``count`` groups are left."""
    centres, mass = points.copy(), weights.astype(np.float64)
    labels = np.arange(len(points))
    cost = _squares(points, points)
    cost *= mass[:, None] * mass / (mass[:, None] + mass)
    cost[np.tril_indices(len(points))] = np.inf
    alive = np.ones(len(points), np.bool_)
    for _ in range(len(points) - count):
        one, other = divmod(int(np.argmin(cost)), len(points))
        both = mass[one] + mass[other]
        centres[one] = (mass[one] * centres[one] + mass[other] * centres[other]) / both
        mass[one] = both
        alive[other] = False
        labels[labels == other] = one
        cost[other] = cost[:, other] = np.inf
        rest = np.flatnonzero(alive)
        rest = rest[rest != one]
        fresh = np.sum((centres[rest] - centres[one]) ** 2, axis=1)
        fresh *= mass[rest] * both / (mass[rest] + both)
        before = rest < one
        cost[rest[before], one] = fresh[before]
        cost[one, rest[~before]] = fresh[~before]
    return labels


def _squares(points: Points, others: Points) -> npt.NDArray[np.float64]:
    """Give the squares of all distances, ``(points, others)``."""
    squares: npt.NDArray[np.float64] = np.maximum(
        np.sum(points**2, axis=1)[:, None]
        + np.sum(others**2, axis=1)
        - 2.0 * points @ others.T,
        0.0,
    )
    return squares
