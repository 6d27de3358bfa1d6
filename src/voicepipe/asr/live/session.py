"""One stream of sound whose words are told while it is heard."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol, Self

import anyio
import anyio.lowlevel
import anyio.to_thread

from voicepipe.asr.live.outbox import Outbox
from voicepipe.tasks import task_group
from voicepipe.types import Audio


if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

    from anyio.abc import TaskGroup

    from voicepipe.types import Hypothesis, Samples


OUTSIDE = "the session works inside of `async with` only"

PIECE_S = 0.25
"""Sound taken in one go, seconds: the event loop is free in between."""


class Feed(Protocol):
    """What hears a stream: sound goes in at once, and work is done step by step."""

    @property
    def covered_s(self) -> float:
        """Seconds of the stream that have been heard."""
        ...

    @property
    def decoded_s(self) -> float:
        """Seconds of sound given to the engine, each time counted."""
        ...

    def open(self, tell: Callable[[Hypothesis], object]) -> None:
        """Load what is needed, in a worker thread."""
        ...

    def take(self, audio: Audio) -> None:
        """Take sound."""
        ...

    def end(self) -> None:
        """Take the end of the sound."""
        ...

    async def work(self) -> bool:
        """Do one piece of work; tell whether there was any."""
        ...

    async def close(self) -> None:
        """Let go of everything."""
        ...


class LiveSession:
    """
    One live stream: sound goes in, hypotheses come out.

    Made by ``LiveTranscriber.session``; a context manager, entered and left in one
    task. Push in one task and iterate in another, or push and flush first and iterate
    then. Words within ``Hypothesis.stable`` never change; a later hypothesis with the
    same ``segment_id`` replaces the earlier one; one that is ``final`` is the last with
    its id. Nobody who reads slowly holds anything up: hypotheses that are not read yet
    give way to newer ones of their segment.

    Leaving the context without ``flush`` drops the sound that is not decoded yet, and
    ends the iteration.

    Example:
        >>> async def subtitles(live, microphone):
        ...     async with live.session(rate=16_000) as session:
        ...         async with anyio.create_task_group() as group:
        ...             group.start_soon(show, session)
        ...             async for audio in microphone:
        ...                 await session.push(audio)
        ...             await session.flush()
    """

    def __init__(
        self, feed: Feed, *, rate: int, channels: int, max_lag_s: float
    ) -> None:
        """Begin nothing yet; see ``LiveTranscriber.session``."""
        self._feed = feed
        self._rate = rate
        self._channels = channels
        self._max_lag_s = max_lag_s
        self._frames = 0
        self._covered_s = self._decoded_s = 0.0
        self._ended = False
        self._group: TaskGroup | None = None
        self._tasks: Any = None  # the context manager of the group
        self._outbox = Outbox()
        self._error: Exception | None = None
        self._pushing = anyio.Lock()
        self._news = anyio.Event()  # there may be work
        self._moved = anyio.Event()  # there may be room
        self._done = anyio.Event()

    async def __aenter__(self) -> Self:
        """
        Begin to listen.

        Raises:
            MissingExtraError: If what scores speech is not installed.
            ModelUnavailableError: If it does not load.
        """
        await anyio.to_thread.run_sync(self._feed.open, self._outbox.put)
        self._tasks = task_group()
        group: TaskGroup = await self._tasks.__aenter__()
        group.start_soon(self._work)
        self._group = group
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Stop; drop what is not decoded yet."""
        if self._group is None:
            return
        group, self._group = self._group, None
        self._covered_s = self._feed.covered_s
        self._decoded_s = self._feed.decoded_s
        self._ended = True
        group.cancel_scope.cancel()
        try:
            await self._tasks.__aexit__(exc_type, exc, traceback)
        finally:
            self._outbox.close()
            self._done.set()
            await self._feed.close()

    async def push(self, audio: Audio | Samples, /) -> None:
        """
        Take sound; no sound is ever dropped.

        Returns at once as long as less than ``LiveOptions.max_lag_s`` of sound waits to
        be decoded, and otherwise when that is so again.

        Args:
            audio: Of the session's rate and channels; samples are float32 in [-1, 1] or
                int16, shape ``(frames, channels)``.

        Raises:
            ValueError: If rate or channels are others, after ``flush``, or outside of
                the context.
            TranscriptionError: If the engine has failed; the session is over then.

        Cancellation: some first part of the sound has been taken.
        """
        audio = self._checked(audio)
        piece = max(1, round(PIECE_S * self._rate / self._channels))
        async with self._pushing:  # two that push at once do not mix their pieces
            for at in range(0, audio.frames, piece):
                await anyio.lowlevel.checkpoint()
                await self._room()
                samples = audio.samples[at : at + piece]
                self._frames += len(samples)
                self._feed.take(Audio(samples=samples, rate=self._rate))
                self._news.set()

    async def flush(self) -> None:
        """
        End the stream; return when every segment is final.

        Another call waits likewise.

        Raises:
            ValueError: If called outside of the context.
            TranscriptionError: If the engine has failed.
        """
        if self._group is None:
            raise ValueError(OUTSIDE)
        async with self._pushing:
            if not self._ended:
                self._ended = True
                self._feed.end()
                self._news.set()
        await self._done.wait()
        if self._error is not None:
            raise self._error

    def __aiter__(self) -> Self:
        """Iterate over the hypotheses; only one task may do so."""
        return self

    async def __anext__(self) -> Hypothesis:
        """
        Wait for the next hypothesis; the iteration ends after ``flush``.

        Raises:
            TranscriptionError: If the engine has failed, after all that came before.
        """
        hypothesis = await self._outbox.get()
        if hypothesis is None:
            raise StopAsyncIteration
        return hypothesis

    @property
    def received_s(self) -> float:
        """Seconds of sound pushed."""
        return self._frames / self._rate

    @property
    def lag_s(self) -> float:
        """Seconds of sound that wait to be decoded, on the channel with most."""
        self._measure()
        return max(0.0, self.received_s - self._covered_s)

    @property
    def decoded_s(self) -> float:
        """Seconds of sound given to the engine, each time counted."""
        self._measure()
        return self._decoded_s

    @property
    def redundancy(self) -> float:
        """Give ``decoded_s`` divided by ``received_s``; 0 before anything came."""
        return self.decoded_s / self.received_s if self._frames else 0.0

    def _measure(self) -> None:
        """Ask the feed how far it is, as long as it is there."""
        if self._group is not None:
            self._covered_s = self._feed.covered_s
            self._decoded_s = self._feed.decoded_s

    def _checked(self, audio: Audio | Samples) -> Audio:
        if self._group is None:
            raise ValueError(OUTSIDE)
        if not isinstance(audio, Audio):
            audio = Audio(samples=audio, rate=self._rate)
        if (audio.rate, audio.channels) != (self._rate, self._channels):
            msg = f"the session is of {self._rate} Hz and {self._channels} channels"
            raise ValueError(f"{msg}, and not {audio!r}")
        return audio

    async def _room(self) -> None:
        """Wait until more sound may come."""
        while True:
            if self._error is not None:
                raise self._error
            if self._ended:
                msg = "the session has been flushed"
                raise ValueError(msg)
            if self.lag_s <= self._max_lag_s:
                return
            self._moved = anyio.Event()
            await self._moved.wait()

    async def _work(self) -> None:
        """Do what is to be done, until the stream has ended or the engine fails."""
        try:
            while True:
                self._news = anyio.Event()
                while await self._feed.work():
                    self._moved.set()
                    await anyio.lowlevel.checkpoint()
                # Without work, too: silence that was waiting is covered now.
                self._moved.set()
                if self._ended:
                    break
                await self._news.wait()
        except Exception as error:  # noqa: BLE001 - told to whoever calls next
            self._error = error
        self._outbox.close(self._error)
        self._done.set()
        self._moved.set()
