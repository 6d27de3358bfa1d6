"""How a pipeline works."""

from __future__ import annotations

import attrs

from voicepipe.analysis.redaction.options import RedactionOptions
from voicepipe.io.options import DecodeOptions


@attrs.frozen(kw_only=True)
class PipelineOptions:
    """
    How a pipeline works.

    Attributes:
        rate: Rate at which the engines get the sound, Hz, 4,000 to 192,000.
        window_s: Longest stretch transcribed at once, seconds; windows end where it is
            quiet. It bounds the memory of a run: six hours take no more than one.
        windows_at_once: How many windows the transcriber is given at the same time, at
            least 1. Engines bound themselves; two keep two cores busy.
        lease_s: Seconds that a claim on the stored job lasts unless renewed.
        decode: How recordings are decoded.
        redact: What to take out of the transcript before anything reads or stores it:
            numbers of cards and accounts, phone numbers, addresses; ``None`` for
            nothing. Of a job under way, the store keeps what was said in each window
            until the job is done.
    """

    rate: int = 16_000
    window_s: float = 30.0
    windows_at_once: int = attrs.field(default=2, validator=attrs.validators.ge(1))
    lease_s: float = 30.0
    decode: DecodeOptions = attrs.field(factory=DecodeOptions)
    redact: RedactionOptions | None = None
