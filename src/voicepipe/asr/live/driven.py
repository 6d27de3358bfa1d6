"""A live stream heard by an engine that streams by itself."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

import anyio.to_thread
import attrs
import numpy as np

from voicepipe.stream.resample import MAX_CHANNELS, MAX_RATE, MIN_RATE
from voicepipe.types import Audio


if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from voicepipe.asr.live.turns import Turns
    from voicepipe.protocols import Stage, StreamingTranscriber
    from voicepipe.types import Hypothesis


AT_ONCE_S = 1.0
"""Sound that is given to an engine in one call, seconds, where so much waits."""


class Driven:
    """
    Hands a stream to the engine's own stage, in a worker thread, piece by piece.

    A stage that has a method ``close`` is closed at the end.

    Args:
        transcriber: The engine.
        turns: Who may use it when.
        rate: Frames per second of the sound to come, Hz.
        channels: Its number of channels.
        mix: Whether the engine hears the mean of all channels.

    Raises:
        ValueError: If rate or channels are out of their range.
    """

    def __init__(
        self,
        transcriber: StreamingTranscriber,
        turns: Turns,
        *,
        rate: int,
        channels: int,
        mix: bool,
    ) -> None:
        """Begin in silence."""
        if not MIN_RATE <= rate <= MAX_RATE:
            msg = f"rate must be {MIN_RATE} to {MAX_RATE} Hz, not {rate}"
            raise ValueError(msg)
        if not 1 <= channels <= MAX_CHANNELS:
            msg = f"channels must be 1 to {MAX_CHANNELS}, not {channels}"
            raise ValueError(msg)
        self._transcriber = transcriber
        self._turns = turns
        self._rate = rate
        self._channels = 1 if mix else channels
        self._stage: Stage[Audio, Hypothesis] | None = None
        self._waiting: deque[Audio] = deque()
        self._tell: Callable[[Hypothesis], object] = id
        self._frames = 0  # given to the engine
        self._ended = False

    @property
    def covered_s(self) -> float:
        """Seconds that the engine has heard."""
        return self._frames / self._rate

    @property
    def decoded_s(self) -> float:
        """The same: it hears everything once."""
        return self.covered_s

    def open(self, tell: Callable[[Hypothesis], object]) -> None:
        """Load what is needed, in a worker thread."""
        self._tell = tell
        self._stage = self._transcriber.session(
            rate=self._rate, channels=self._channels
        )

    def take(self, audio: Audio) -> None:
        """Take sound; a copy, since the caller may fill the same array again."""
        audio = attrs.evolve(audio, samples=audio.samples.copy())
        self._waiting.append(audio.mono() if self._channels < audio.channels else audio)

    def end(self) -> None:
        """Take the end of the sound."""
        self._ended = True

    async def work(self) -> bool:
        """
        Give the engine what waits, if something does.

        Raises:
            TranscriptionError: If the engine fails.
        """
        stage = self._stage
        if stage is None or not (self._waiting or self._ended):
            return False
        async with self._turns.turn(urgent=not self._waiting):
            if self._waiting:
                audio = self._next()
                told = await anyio.to_thread.run_sync(stage.push, audio)
                self._frames += audio.frames
            else:
                self._ended = False
                told = await anyio.to_thread.run_sync(stage.flush)
        self._tell_all(told)
        return True

    async def close(self) -> None:
        """Let go of the engine's stage."""
        close = getattr(self._stage, "close", None)
        self._stage = None
        if close is not None:
            with anyio.CancelScope(shield=True):
                await anyio.to_thread.run_sync(close)

    def _next(self) -> Audio:
        """Take what waits, up to a second at once."""
        first = self._waiting.popleft()
        pieces, frames = [first.samples], first.frames
        while self._waiting and frames < AT_ONCE_S * self._rate:
            pieces.append(self._waiting.popleft().samples)
            frames += len(pieces[-1])
        return Audio(samples=np.concatenate(pieces), rate=self._rate)

    def _tell_all(self, told: Iterable[Hypothesis]) -> None:
        for one in told:
            stable = len(one.text) if one.final else one.stable
            self._tell(
                one if one.stable == stable else attrs.evolve(one, stable=stable)
            )
