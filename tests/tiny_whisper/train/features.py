"""Whisper's features, as faster-whisper computes them."""

from __future__ import annotations

import functools
import math
from typing import TYPE_CHECKING

import torch
from faster_whisper.feature_extractor import FeatureExtractor  # noqa: TID253

from tiny_whisper.speech import RATE


if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from torch import Tensor

MELS = 80
HOP = 160
_WINDOW = 400


@functools.cache
def _filters() -> tuple[Tensor, Tensor]:
    mel = FeatureExtractor.get_mel_filters(RATE, _WINDOW, MELS)
    return torch.from_numpy(mel.astype("float32")), torch.hann_window(_WINDOW)


def log_mel(audio: Tensor, valid: Sequence[int], draw: np.random.Generator) -> Tensor:
    """
    Compute the features of a batch, a little disturbed.

    Args:
        audio: (b, n) at 16 kHz.
        valid: Where each sound ends, in samples: features behind it are 0.0.
        draw: Decides what is disturbed.

    Returns:
        (b, 80, n / 160).
    """
    mel, window = _filters()
    spectrum = torch.stft(audio, _WINDOW, HOP, window=window, return_complex=True)
    power = spectrum[..., :-1].abs().square()
    features = (mel @ power).clamp(min=1e-10).log10()
    top = features.amax((1, 2), keepdim=True)
    # Elsewhere in the file it may be louder: faster-whisper takes the file's loudest.
    louder = (draw.random(len(audio)) < 0.25) * draw.uniform(0, 1.2, len(audio))
    top += torch.from_numpy(louder).float()[:, None, None]
    features = (torch.maximum(features, top - 8.0) + 4.0) / 4.0
    for row, end in zip(features, valid, strict=True):
        if draw.random() < 0.3:
            low = int(draw.integers(0, MELS - 8))
            row[low : low + int(draw.integers(1, 9))] = row.mean()
        row[:, math.ceil(end / HOP) :] = 0.0
    return features
