"""Taking card numbers and the like out, where ``VOICEPIPE_REDACT`` says so."""

from __future__ import annotations

import contextlib
from contextlib import aclosing
from typing import TYPE_CHECKING

import anyio.to_thread
from settings import SETTINGS

from voicepipe import (
    DecodeOptions,
    PipelineOptions,
    RedactionOptions,
    WavWriter,
    iter_audio,
    redact_audio,
    redact_text,
    redacted_spans,
)


if TYPE_CHECKING:
    from pathlib import Path

    from voicepipe import Transcript


def pipeline_options(decode: DecodeOptions) -> PipelineOptions:
    """Give how a pipeline works."""
    if not SETTINGS.redact:
        return PipelineOptions(decode=decode)
    return PipelineOptions(decode=decode, redact=RedactionOptions())


def allowed_text(text: str) -> str:
    """Give what is stored of a text that a person wrote."""
    if not SETTINGS.redact:
        return text
    return redact_text(text)


async def write_silenced(
    path: Path, target: Path, transcript: Transcript, options: DecodeOptions
) -> None:
    """
    Write what may be heard of a recording, as WAV; it appears when it is whole.

    Args:
        path: The recording.
        target: What to write; what is there is replaced.
        transcript: What was said, redacted: where its marks are it is silent.
        options: How to decode the recording.

    Raises:
        AudioError: If it cannot be decoded.
        OSError: If it cannot be read or written.
    """
    in_thread = anyio.to_thread.run_sync
    spans = redacted_spans(transcript)
    with contextlib.ExitStack() as stack:
        writer: WavWriter | None = None
        async with aclosing(iter_audio(path, block_s=4.0, options=options)) as blocks:
            async for block in blocks:
                if writer is None:
                    writer = stack.enter_context(
                        WavWriter(
                            target,
                            rate=block.rate,
                            channels=block.channels,
                            atomic=True,
                        )
                    )
                await in_thread(writer.write, redact_audio(block, spans).samples)
        await in_thread(stack.close)
