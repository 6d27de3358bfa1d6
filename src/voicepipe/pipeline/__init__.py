"""
The main job: from a recording to its transcript, metrics and analysis.

``run`` has the pipeline, ``options`` how it works, ``listener`` hears a recording,
``steps`` keeps what is dear for a later attempt, ``shares`` tells how far it has come.
"""

from __future__ import annotations

from voicepipe.pipeline.options import PipelineOptions
from voicepipe.pipeline.run import Pipeline


__all__ = ["Pipeline", "PipelineOptions"]
