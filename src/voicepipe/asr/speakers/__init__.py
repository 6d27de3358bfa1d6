"""Who speaks when in one channel, without a trained model."""

from __future__ import annotations
