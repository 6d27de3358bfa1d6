"""The cells of a notebook, each after a line with ``%%``."""
# ruff: noqa: B018, F704, PLE1142 - a notebook's cells await, and show values

# %%
from __future__ import annotations

from voicepipe import (
    ChannelDiarizer,
    ExtractiveAnalyzer,
    Pipeline,
    PocketSphinxTranscriber,
    progress_bars,
    read_audio,
)


audio = await read_audio("examples/data/sample_call.flac")
audio.cut(0, 12)  # shows a player

# %%
pipeline = Pipeline(
    PocketSphinxTranscriber(), ExtractiveAnalyzer(), diarizer=ChannelDiarizer()
)
with progress_bars() as progress:
    call = await pipeline.run(audio.cut(0, 12), progress=progress)

# %%
call.transcript  # shows a table, coloured by speaker

# %%
call.metrics

# %%
call.analysis
