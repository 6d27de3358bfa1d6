"""The law of stages: chunk invariance."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from voicepipe.testing._expect import expect


if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from voicepipe.protocols import Stage


X = TypeVar("X")
Y = TypeVar("Y")


def check_stage(
    make_stage: Callable[[], Stage[X, Y]],
    cuts: Sequence[Sequence[X]],
    *,
    join: Callable[[Sequence[Y]], object],
) -> None:
    """
    Check that a stage gives the same output however its input is cut.

    Args:
        make_stage: Makes a fresh stage.
        cuts: The same input, cut in at least two ways.
        join: Puts outputs together into something that ``==`` compares, such as the
            ``bytes`` of concatenated arrays.

    Raises:
        AssertionError: If outputs differ, or the stage works on after ``flush``.

    Example:
        >>> import numpy as np
        >>> from voicepipe import Resampler
        >>> x = np.linspace(-1, 1, 1000, dtype=np.float32)[:, None]
        >>> check_stage(
        ...     lambda: Resampler(8000, 16000),
        ...     [[x], [x[:1], x[1:7], x[7:]]],
        ...     join=lambda out: np.concatenate(out).tobytes(),
        ... )
    """
    expect(len(cuts) > 1, "give the same input in at least two cuts")
    whole: object = None
    for number, pieces in enumerate(cuts):
        stage = make_stage()
        output = [y for piece in pieces for y in stage.push(piece)]
        output.extend(stage.flush())
        joined = join(output)
        if number == 0:
            whole = joined
        expect(joined == whole, f"cut {number} gives another output than cut 0")
        _expect_closed(stage, pieces)


def _expect_closed(stage: Stage[X, Y], pieces: Sequence[X]) -> None:
    try:
        stage.flush()
    except ValueError:
        pass
    else:
        expect(condition=False, sentence="a second flush must raise ValueError")
    if pieces:
        try:
            stage.push(pieces[0])
        except ValueError:
            return
        expect(condition=False, sentence="a push after flush must raise ValueError")
