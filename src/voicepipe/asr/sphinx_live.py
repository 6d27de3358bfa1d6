"""PocketSphinx on live sound: streams, and the helper processes that hear them."""

from __future__ import annotations

import itertools
import threading
import weakref
from collections import deque
from typing import TYPE_CHECKING, Any

import numpy as np

from voicepipe.errors import ChildCrashedError, TranscriptionError
from voicepipe.proc.pool import Helper
from voicepipe.proc.process import ChildProcess
from voicepipe.stream.resample import Resampler, check_format
from voicepipe.types import Hypothesis, Word
from voicepipe.types.audio import pcm16


if TYPE_CHECKING:
    from collections.abc import Sequence

    from voicepipe.types import Audio, Samples


RATE = 16_000
"""Rate at which the model hears, Hz."""

# Streams of one helper take turns after so much sound: 0.3 s of work for each.
_CALL_FRAMES = RATE

_numbers = itertools.count()


class SphinxHelpers:
    """
    Helper processes for streams, each with many; they start with the first sound.

    For any threads.

    Args:
        size: Most processes.
        model: Paths of a model's parts, as ``sphinx_child.transcribe`` takes them.
    """

    def __init__(self, size: int, model: dict[str, str]) -> None:
        """Start nothing yet."""
        self.model: dict[str, str] = model
        self._hosts = tuple(_Host() for _ in range(size))
        self._lock = threading.Lock()
        self._finalizer = weakref.finalize(self, _close, self._hosts)

    def join(self, number: int) -> _Host:
        """Give a stream its place, in the helper that has the fewest."""
        with self._lock:
            host = min(self._hosts, key=lambda host: host.streams)
            host.join(number)
            return host

    def close(self) -> None:
        """Kill the processes, and lose the streams; new ones start new processes."""
        _close(self._hosts)


def _close(hosts: Sequence[_Host]) -> None:
    for host in hosts:
        host.close()


class _Host:
    """A place for one helper process after the other, and the streams in it."""

    def __init__(self) -> None:
        self._talking = threading.Lock()  # held while the helper is asked
        self._state = threading.Lock()  # guards what follows; never held for long
        self._life = 0  # helpers that have ended
        self._child: ChildProcess | None = None
        self._helper: Helper | None = None
        self._members: set[int] = set()
        # Written without a lock: a stream may be collected at any moment.
        self._left: deque[int] = deque()
        self._forget: list[int] = []

    @property
    def streams(self) -> int:
        """How many there are."""
        with self._state:
            self._drain()
            return len(self._members)

    def join(self, number: int) -> None:
        """Take a stream in."""
        with self._state:
            self._members.add(number)

    def leave(self, number: int) -> None:
        """Let a stream go; the helper hears of it with its next call."""
        self._left.append(number)

    def ask(
        self, life: int | None, arguments: dict[str, Any], payload: bytes
    ) -> tuple[int, list[dict[str, Any]]]:
        """
        Ask the helper.

        Args:
            life: The helper that knows the stream; ``None`` if none does.
            arguments: Of ``sphinx_live_child.listen``.
            payload: The sound.

        Returns:
            Which helper it is, and what it says.

        Raises:
            TranscriptionError: If it is another one by now, dies, or its decoder fails.
        """
        with self._talking:
            helper, forget = self._ready(life)
            try:
                told, _ = helper.exchange(
                    "voicepipe.asr.sphinx_live_child:listen",
                    {**arguments, "forget": forget},
                    payload,
                )
            except TranscriptionError:
                raise
            except ChildCrashedError as exc:
                self._lose()
                raise _lost(str(exc)) from exc
            except BaseException:
                self._lose()
                raise
            return self._life, told

    def close(self) -> None:
        """End the helper, also one that is at work."""
        with self._state:
            if self._child is not None:
                self._child.kill()
        with self._talking:
            self._lose()

    def _ready(self, life: int | None) -> tuple[Helper, list[int]]:
        """Give the helper that knows a stream, or any one, and what it may forget."""
        if life is None and self._child is not None and not self._child.waits():
            self._lose()  # it has died since the last call
        if life not in {None, self._life}:
            raise _lost("its helper process ended with another stream")
        with self._state:
            if self._helper is None:
                self._child = ChildProcess(None)
                self._helper = Helper(self._child, None)
            self._drain()
            forget, self._forget = self._forget, []
            return self._helper, forget

    def _drain(self) -> None:
        while self._left:
            number = self._left.popleft()
            self._members.discard(number)
            self._forget.append(number)

    def _lose(self) -> None:
        with self._state:
            child, self._child, self._helper = self._child, None, None
            if child is None:
                return
            self._life += 1
            self._forget.clear()
        child.reap()


def _lost(why: str) -> TranscriptionError:
    msg = f"pocketsphinx died: {why}"
    return TranscriptionError(msg, model="pocketsphinx", retryable=True)


class SphinxSession:
    """
    One stream; a ``Stage`` from ``Audio`` to ``Hypothesis``.

    ``PocketSphinxTranscriber.session`` makes it. Its methods block while the helper
    works: a third of the sound's duration while somebody speaks. One thread uses it at
    a time; any one may ``close`` it.

    Args:
        helpers: Where it is heard.
        rate: Of the sound to come, Hz.
        channels: Its number of channels.

    Raises:
        UnsupportedAudioError: If a value is out of its range.
    """

    def __init__(self, helpers: SphinxHelpers, *, rate: int, channels: int) -> None:
        """Start nothing yet."""
        check_format(rate, channels)
        self._helpers = helpers
        self._rate = rate
        self._channels = channels
        self._resampler = Resampler(rate, RATE, channels=channels)
        self._number = next(_numbers)
        self._host = helpers.join(self._number)
        self._life: int | None = None  # which of the host's helpers knows the stream
        self._over = False
        self._finalizer = weakref.finalize(self, self._host.leave, self._number)

    def push(self, audio: Audio, /) -> tuple[Hypothesis, ...]:
        """
        Hear the next piece, of any length.

        Raises:
            TranscriptionError: If the engine fails; ``retryable`` where its process has
                died. The stream is over then, and what it has not told is lost.
            ValueError: If rate or channels are others, or after the end.
        """
        self._check_open()
        if (audio.rate, audio.channels) != (self._rate, self._channels):
            wanted = f"{self._rate} Hz and {self._channels} channels"
            msg = f"the stream has {wanted}, not {audio.rate} Hz and {audio.channels}"
            raise ValueError(msg)
        return self._heard(self._resampler.push(audio.samples), end=False)

    def flush(self) -> tuple[Hypothesis, ...]:
        """
        End the stream; give what was still to be said, all of it final.

        Raises:
            TranscriptionError: As ``push`` does.
            ValueError: After the end.
        """
        self._check_open()
        told = self._heard(self._resampler.flush(), end=True)
        self.close()
        return told

    def close(self) -> None:
        """End the stream and drop what is left; harmless at any time, and twice."""
        self._over = True
        self._finalizer()

    def _check_open(self) -> None:
        if self._over:
            msg = "the stream has ended"
            raise ValueError(msg)

    def _heard(self, pieces: Sequence[Samples], *, end: bool) -> tuple[Hypothesis, ...]:
        told: list[Hypothesis] = []
        calls = [
            piece[at : at + _CALL_FRAMES]
            for piece in pieces
            for at in range(0, len(piece), _CALL_FRAMES)
        ]
        if end and not calls:
            calls = [np.zeros((0, self._channels), np.float32)]
        for place, samples in enumerate(calls, start=1):
            told += self._ask(samples, end=end and place == len(calls))
        return tuple(told)

    def _ask(self, samples: Samples, *, end: bool) -> list[Hypothesis]:
        begin = None
        if self._life is None:
            begin = {"channels": self._channels, "model": self._helpers.model}
        arguments = {"number": self._number, "begin": begin, "end": end}
        try:
            self._life, told = self._host.ask(
                self._life, arguments, pcm16(samples).tobytes()
            )
        except BaseException:
            self.close()  # the helper has lost the thread of it
            raise
        return [self._hypothesis(event) for event in told]

    def _hypothesis(self, event: dict[str, Any]) -> Hypothesis:
        words = tuple(Word(**word) for word in event["words"])
        text = " ".join(word.text for word in words)
        return Hypothesis(
            segment_id=event["segment"],
            start=event["start"],
            end=event["end"],
            text=text,
            final=event["final"],
            channel=event["channel"] if self._channels > 1 else None,
            words=words,
            stable=len(text) if event["final"] else 0,
        )
