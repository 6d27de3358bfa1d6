"""
PocketSphinx, as it runs in a helper process.

Its decoder holds the interpreter's lock for as long as it works: hundreds of
milliseconds at the end of an utterance. So it lives where no event loop is.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

import numpy as np

from voicepipe.errors import TranscriptionError


if TYPE_CHECKING:
    from collections.abc import Iterator


RATE = 16_000
"""Rate of the general English model, Hz."""

_FRAMES_PER_SECOND = 100  # the decoder's own default, and its model's


def transcribe(payload: bytes, *, model: dict[str, str]) -> list[dict[str, Any]]:
    """
    Transcribe one channel.

    Args:
        payload: int16 samples in native byte order, mono, 16 kHz.
        model: Paths of a model's parts by the decoder's own names (``hmm``, ``lm``,
            ``dict``); empty for the general English model.

    Returns:
        Utterances in order: ``start``, ``end`` and ``words``, each word with ``start``,
        ``end``, ``text`` and ``probability``; times in seconds.

    Raises:
        TranscriptionError: If the model cannot be loaded, or the decoder fails.
    """
    try:
        decoder = _decoder(tuple(sorted(model.items())))
        decoder.start_stream()  # forgets the noise of the call before
        return list(_utterances(decoder, _dithered(payload)))
    except (RuntimeError, ValueError, IndexError) as exc:
        msg = f"pocketsphinx failed: {exc}"
        raise TranscriptionError(msg, model="pocketsphinx") from exc


@functools.lru_cache(maxsize=1)
def _decoder(model: tuple[tuple[str, str], ...]) -> Any:
    import pocketsphinx

    # bestpath gives words their confidences. Features are normalised over each
    # utterance (cmn=batch), so that the result depends on no call before it.
    return pocketsphinx.Decoder(
        bestpath=True, cmn="batch", loglevel="FATAL", **dict(model)
    )


def _dithered(payload: bytes) -> bytes:
    """Replace exact zeros, whose energy has no logarithm, by noise of one bit."""
    samples = np.frombuffer(payload, np.int16).copy()
    zeros = np.flatnonzero(samples == 0)
    samples[zeros] = np.random.default_rng(0).integers(-1, 2, zeros.size, np.int16)
    return samples.tobytes()


def _utterances(decoder: Any, payload: bytes) -> Iterator[dict[str, Any]]:
    import pocketsphinx

    endpointer = pocketsphinx.Endpointer(sample_rate=RATE)
    size = endpointer.frame_bytes
    speech: list[bytes] = []
    start = 0.0
    for at in range(0, len(payload), size):
        frame = payload[at : at + size]
        if len(frame) == size:
            heard = endpointer.process(frame)
        else:
            heard = endpointer.end_stream(frame)
        if heard:
            if not speech:
                start = endpointer.speech_start
            speech.append(heard)
        if speech and not endpointer.in_speech:
            yield from _decode(decoder, b"".join(speech), start)
            speech = []
    if speech:
        yield from _decode(decoder, b"".join(speech), start)


def _decode(decoder: Any, speech: bytes, start: float) -> Iterator[dict[str, Any]]:
    decoder.start_utt()
    decoder.process_raw(speech, no_search=False, full_utt=True)
    decoder.end_utt()
    words = words_of(decoder, start)
    if words:
        yield {"start": words[0]["start"], "end": words[-1]["end"], "words": words}


def words_of(decoder: Any, start: float) -> list[dict[str, Any]]:
    """
    Give the words that a decoder has found.

    Args:
        decoder: A decoder with an utterance, ended or not.
        start: Second at which the utterance begins.

    Returns:
        Each with ``start``, ``end``, ``text`` and ``probability``.
    """
    return [
        {
            "start": start + segment.start_frame / _FRAMES_PER_SECOND,
            "end": start + (segment.end_frame + 1) / _FRAMES_PER_SECOND,
            # "read(2)" is the second pronunciation of "read".
            "text": segment.word.partition("(")[0],
            # Linear already; rounding takes it a little past 1.
            "probability": min(max(float(segment.prob), 0.0), 1.0),
        }
        for segment in (decoder.seg() or ())
        if not segment.word.startswith(("<", "["))  # silence and noises
    ]
