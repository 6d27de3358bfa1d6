"""Which engine live clients of the app get while one is on its way, and after."""

from __future__ import annotations

import importlib.util
from typing import Any

import numpy as np
from app_runner import EXAMPLES

from voicepipe.asr.whisper.options import WhisperSetup
from voicepipe.servers.engines import (
    OpenedTranscriber,
    TranscriberSettings,
    open_transcriber,
)


RATE = 16_000


def engine_of(opened: OpenedTranscriber) -> Any:
    """Give the app's engine; its module needs none of the app's settings."""
    path = EXAMPLES / "live_transcribe" / "engine.py"
    spec = importlib.util.spec_from_file_location("live_engine", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.Engine(opened)


async def redundancy(engine: Any) -> float:
    """Give how often a second of silence is decoded."""
    async with engine.live.session(rate=RATE) as session:
        await session.push(np.zeros((RATE, 1), np.float32))
        await session.flush()
        return float(session.redundancy)


async def test_an_engine_that_stands_in_is_driven_as_soon_as_it_does() -> None:
    # As when the model is on its way for longer than a server waits to begin.
    settings = TranscriberSettings.from_env({}, whisper="nobody/has-this")
    opened = await open_transcriber(
        settings, setup=WhisperSetup(offline=True), patience_s=0.0
    )
    engine = engine_of(opened)
    assert opened.loading
    waited = engine.live
    # Stretches of the stream are decoded, of those in which somebody speaks.
    assert await redundancy(engine) == 0.0

    await opened.finish()

    assert opened.degraded
    # It hears all of the stream, once.
    assert await redundancy(engine) == 1.0
    assert engine.live is engine.live is not waited
    await opened.aclose()
