from __future__ import annotations

import numpy as np
import pytest

from voicepipe import DualMono


RNG = np.random.default_rng(0)
VOICE = RNG.normal(0, 0.1, 16_000).astype(np.float32)
OTHER = RNG.normal(0, 0.1, 16_000).astype(np.float32)
FAINT = RNG.normal(0, 0.001, 16_000).astype(np.float32)
NOTHING = np.zeros(16_000, np.float32)


@pytest.mark.parametrize(
    ("channels", "same"),
    [
        ([VOICE], True),
        ([VOICE, VOICE], True),
        ([VOICE, VOICE + FAINT], True),
        ([NOTHING, NOTHING], True),
        ([VOICE, VOICE, VOICE], True),
        ([VOICE, OTHER], False),
        ([VOICE, NOTHING], False),
        ([NOTHING, VOICE], False),
        ([VOICE, VOICE * 0.1], False),
        ([VOICE, -VOICE], False),
        ([VOICE, VOICE, OTHER], False),
    ],
)
def test_only_equal_signals_at_equal_level_are_one(
    channels: list[np.ndarray], *, same: bool
) -> None:
    dual = DualMono()
    for piece in np.array_split(np.stack(channels, axis=1), 7):
        dual.push(piece)

    assert dual.verdict is same
