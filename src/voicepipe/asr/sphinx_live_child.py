"""
PocketSphinx on live sound, as it runs in a helper process.

A helper knows many streams by number. What a stream needs while nobody speaks is small;
a decoder, of some 100 MB, it has for the time of an utterance only.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from voicepipe.asr.sphinx_child import RATE, words_of
from voicepipe.errors import TranscriptionError


if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import numpy.typing as npt


PARTIAL_FRAMES = RATE * 3 // 10
"""Of so much new speech, in frames, it is told what was said so far."""

MAX_FRAMES = RATE * 30
"""Longest utterance, in frames: what a decoder remembers of one has no other bound."""

_streams: dict[int, _Stream] = {}
_idle: list[Any] = []  # decoders that no utterance has


def listen(
    payload: bytes,
    *,
    number: int,
    begin: dict[str, Any] | None,
    end: bool,
    forget: Sequence[int],
) -> list[dict[str, Any]]:
    """
    Take sound of one stream.

    Args:
        payload: int16 samples in native byte order, interleaved, 16 kHz.
        number: Of the stream.
        begin: For a new stream its ``channels``, and ``model`` as ``transcribe`` of
            ``sphinx_child`` takes it; else ``None``.
        end: Whether the stream ends with that.
        forget: Numbers of streams that have ended.

    Returns:
        What is believed now, in order: ``segment`` (a number that the stream has not
        had before, or one that is not ``final`` yet), ``channel``, ``start``, ``end``,
        ``words`` and ``final``. Times are in seconds.

    Raises:
        TranscriptionError: If the model cannot be loaded, or the decoder fails.
    """
    try:
        for ended in forget:
            _leave(ended)
        if begin is not None:
            _streams[number] = _Stream(begin["channels"], begin["model"])
        stream = _streams[number]
        told = list(stream.push(payload))
        if end:
            told += stream.flush()
            _leave(number)
    except (RuntimeError, ValueError, IndexError) as exc:
        _streams.pop(number, None)  # with its decoder, which may be anyhow
        msg = f"pocketsphinx failed: {exc}"
        raise TranscriptionError(msg, model="pocketsphinx") from exc
    return told


def _leave(number: int) -> None:
    stream = _streams.pop(number, None)
    if stream is not None:
        for ear in stream.ears:
            ear.give_back()


class _Stream:
    """A stream: its channels, heard in step, and what comes with the next push."""

    def __init__(self, channels: int, model: dict[str, str]) -> None:
        # A model that is not there shows at once, and not when somebody speaks.
        if not _idle:
            _idle.append(_decoder(model))
        self.ears = [_Ear(channel, model) for channel in range(channels)]
        self._frame = self.ears[0].frame
        self._rest: npt.NDArray[np.int16] = np.zeros((0, channels), np.int16)
        self._segments = 0

    def push(self, payload: bytes) -> Iterator[dict[str, Any]]:
        """Hear what is whole; the endpointer takes frames of one length."""
        new = np.frombuffer(payload, np.int16).reshape(-1, len(self.ears))
        sound = np.concatenate([self._rest, new])
        at = 0
        while at + self._frame <= len(sound):
            for ear in self.ears:
                frame = sound[at : at + self._frame, ear.channel]
                yield from self._numbered(ear, ear.hear(frame, last=False))
            at += self._frame
        self._rest = sound[at:]

    def flush(self) -> Iterator[dict[str, Any]]:
        """Hear the rest."""
        rest = self._rest if len(self._rest) else np.zeros((1, len(self.ears)))
        for ear in self.ears:
            frame = rest[:, ear.channel].astype(np.int16)
            yield from self._numbered(ear, ear.hear(frame, last=True))

    def _numbered(
        self, ear: _Ear, told: Iterator[dict[str, Any]]
    ) -> Iterator[dict[str, Any]]:
        for event in told:
            if ear.segment is None:
                ear.segment, self._segments = self._segments, self._segments + 1
            yield {"segment": ear.segment, "channel": ear.channel, **event}
            if event["final"]:
                ear.segment = None


class _Ear:
    """One channel: where speech begins and ends in it, and the present utterance."""

    def __init__(self, channel: int, model: dict[str, str]) -> None:
        import pocketsphinx

        self.channel = channel
        self.segment: int | None = None  # what has been told of the utterance
        self._model = model
        self._endpointer = pocketsphinx.Endpointer(sample_rate=RATE)
        self.frame: int = self._endpointer.frame_bytes // 2
        self._noise = np.random.default_rng(0).integers(
            -1, 2, (100, self.frame), np.int16
        )
        self._heard = 0  # frames of the endpointer
        # What is known of the line and the voice; the next utterance begins with it.
        self._mean: str | None = None
        self._decoder: Any = None
        self._start = 0.0
        self._speech = bytearray()  # not decoded yet
        self._decoded = 0
        self._told: tuple[str, ...] = ()

    def hear(
        self, frame: npt.NDArray[np.int16], *, last: bool
    ) -> Iterator[dict[str, Any]]:
        """Hear a frame; the last one may be short."""
        # Exact zeros have no logarithm; the noise is the same wherever pushes are cut.
        noise = self._noise[self._heard % len(self._noise), : len(frame)]
        self._heard += 1
        endpointer = self._endpointer
        sound = np.where(frame == 0, noise, frame).tobytes()
        heard = endpointer.end_stream(sound) if last else endpointer.process(sound)
        if heard:
            if self._decoder is None:
                self._begin(endpointer.speech_start)
            self._speech += heard
            yield from self._decode()
        if self._decoder is None:
            return
        size = self._decoded + len(self._speech) // 2
        if last or not endpointer.in_speech or size >= MAX_FRAMES:
            yield from self._end()
            if endpointer.in_speech and not last:
                self._begin(self._start + size / RATE)

    def give_back(self) -> None:
        """Leave the utterance as it is."""
        if self._decoder is not None:
            self._decoder.end_utt()
            _idle.append(self._decoder)
            self._decoder = None

    def _begin(self, start: float) -> None:
        decoder = self._decoder = _idle.pop() if _idle else _decoder(self._model)
        decoder.set_cmn(decoder.config["cmninit"] if self._mean is None else self._mean)
        decoder.start_stream()  # forgets the noise of other streams
        decoder.start_utt()
        self._start = start
        self._decoded = 0
        self._told = ()

    def _decode(self) -> Iterator[dict[str, Any]]:
        size = 2 * PARTIAL_FRAMES
        while len(self._speech) >= size:
            self._decoder.process_raw(bytes(self._speech[:size]))
            del self._speech[:size]
            self._decoded += PARTIAL_FRAMES
            words = words_of(self._decoder, self._start)
            for word in words:  # they are none until all has been heard
                word["probability"] = None
            texts = tuple(word["text"] for word in words)
            if texts != self._told:
                self._told = texts
                yield self._event(words, final=False)

    def _end(self) -> Iterator[dict[str, Any]]:
        decoder = self._decoder
        if self._speech:
            decoder.process_raw(bytes(self._speech))
            self._decoded += len(self._speech) // 2
            self._speech.clear()
        decoder.end_utt()
        words = words_of(decoder, self._start)
        self._mean = decoder.get_cmn(update=True)
        _idle.append(decoder)
        self._decoder = None
        if words or self.segment is not None:
            yield self._event(words, final=True)

    def _event(self, words: list[dict[str, Any]], *, final: bool) -> dict[str, Any]:
        return {
            "start": words[0]["start"] if words else self._start,
            "end": words[-1]["end"] if words else self._start,
            "words": words,
            "final": final,
        }


def _decoder(model: dict[str, str]) -> Any:
    import pocketsphinx

    # Features are normalised by what was heard so far (cmn=live).
    return pocketsphinx.Decoder(bestpath=True, cmn="live", loglevel="FATAL", **model)
