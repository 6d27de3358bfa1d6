"""What becomes of a stretch of sound: one text at its end, or words at once."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any, Protocol

import anyio
from messages import Place, live, transcription

from voicepipe import Audio, SilenceCutter, TranscriptionError


if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable
    from typing import TypeAlias

    import numpy as np
    import numpy.typing as npt
    from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream
    from engine import Engine

    from voicepipe import LiveSession

    Say: TypeAlias = Callable[[dict[str, Any]], Awaitable[None]]


# What the engine hears at once, seconds, where the text is wanted as a whole.
_WINDOW_S = 30.0


class Listener(Protocol):
    """Hears one stretch of sound."""

    async def hear(self, samples: npt.NDArray[np.int16]) -> None:
        """
        Take sound, shape ``(frames, channels)``; waits while too much is undone.

        Raises:
            TranscriptionError: If the engine has failed.
        """
        ...

    async def end(self) -> Place:
        """
        Say the rest, and give where the next stretch begins.

        Raises:
            TranscriptionError: If the engine has failed.
        """
        ...


class Whole:
    """
    Says everything at the end, in one message; but transcribes before.

    Args:
        engine: Whom to ask.
        rate: Frames per second of the sound, Hz.
        place: Where it begins.
        say: Sends a message.
    """

    def __init__(self, engine: Engine, rate: int, place: Place, say: Say) -> None:
        """Hear nothing yet."""
        self._engine = engine
        self._rate = rate
        self._place = place
        self._say = say
        self._cutter = SilenceCutter(rate, max_s=_WINDOW_S, min_s=_WINDOW_S / 2)
        self._texts: list[str] = []
        self._frames = 0
        self._error: TranscriptionError | None = None
        self._windows: MemoryObjectSendStream[Audio]
        self._done = anyio.Event()

    @contextlib.asynccontextmanager
    async def listening(self) -> AsyncIterator[Whole]:
        """Transcribe what comes, until this is left."""
        self._windows, windows = anyio.create_memory_object_stream[Audio](1)
        async with self._windows, windows, anyio.create_task_group() as group:
            group.start_soon(self._transcribe, windows)
            yield self
            group.cancel_scope.cancel()

    async def hear(self, samples: npt.NDArray[np.int16]) -> None:
        """Take sound; waits while two windows are undone."""
        self._frames += len(samples)
        audio = Audio(samples=samples, rate=self._rate)
        for window in self._cutter.push(audio.samples):
            await self._hand_on(Audio(samples=window, rate=self._rate))

    async def end(self) -> Place:
        """Say the text."""
        for window in self._cutter.flush():
            await self._hand_on(Audio(samples=window, rate=self._rate))
        self._windows.close()
        await self._done.wait()
        self._check()
        duration = self._frames / self._rate
        text = " ".join(filter(None, self._texts))
        # What comes late, behind a stop say, is told only if there are words in it.
        if text or not self._place.seconds:
            said = transcription(text, final=True, duration=round(duration, 3))
            await self._say(said)
        return Place(seconds=self._place.seconds + duration)

    async def _hand_on(self, window: Audio) -> None:
        self._check()
        with contextlib.suppress(anyio.BrokenResourceError):
            await self._windows.send(window)

    async def _transcribe(self, windows: MemoryObjectReceiveStream[Audio]) -> None:
        try:
            async for window in windows:
                transcript = await self._engine.transcribe(window)
                self._texts.append(" ".join(transcript.text.split()))
        except TranscriptionError as exc:
            self._error = exc
            windows.close()
        self._done.set()

    def _check(self) -> None:
        if self._error is not None:
            raise self._error


class Live:
    """
    Says words while they are said.

    Args:
        session: Where they come from.
        rate: Frames per second of the sound, Hz.
        place: Where it begins.
        say: Sends a message.
    """

    def __init__(self, session: LiveSession, rate: int, place: Place, say: Say) -> None:
        """Hear nothing yet."""
        self._session = session
        self._rate = rate
        self._place = place
        self._say = say
        self._segments = 0
        self._done = anyio.Event()

    @contextlib.asynccontextmanager
    async def listening(self) -> AsyncIterator[Live]:
        """Tell what is heard, until this is left."""
        async with self._session, anyio.create_task_group() as group:
            group.start_soon(self._tell)
            yield self
            group.cancel_scope.cancel()

    async def hear(self, samples: npt.NDArray[np.int16]) -> None:
        """Take sound; waits while too much of it is undone."""
        await self._session.push(Audio(samples=samples, rate=self._rate))

    async def end(self) -> Place:
        """Have everything said."""
        await self._session.flush()
        await self._done.wait()
        return Place(
            seconds=self._place.seconds + self._session.received_s,
            segments=self._place.segments + self._segments,
        )

    async def _tell(self) -> None:
        try:
            async for hypothesis in self._session:
                self._segments = max(self._segments, hypothesis.segment_id + 1)
                await self._say(live(hypothesis, self._place, self._session.lag_s))
        except TranscriptionError:
            # Whoever pushes or flushes has it too.
            pass
        finally:
            self._done.set()
