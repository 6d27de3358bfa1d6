"""
What is said on one connection.

A client that says nothing but ``audio`` gets one ``status`` and one ``transcription``
for each recording; one that says ``start`` with ``partials`` gets words while they are
said. A recording ends with ``stop``, with a second in which nothing comes, or with the
header of the next one. Pieces without a header go on with one that has a header, and
give a further text; samples, which have none, begin a new one.
"""

from __future__ import annotations

import contextlib
import logging
import time
from typing import TYPE_CHECKING

import anyio
import anyio.to_thread
import numpy as np
from intake import Files, Samples, begins_file
from line import Over, end_s, places, received_ms, recordings
from listeners import Live, Whole
from messages import LONG, Pause, Place, Sound, Start, Stop, Wrong, parsed, status
from settings import SETTINGS

from voicepipe import AudioError, TranscriptionError


if TYPE_CHECKING:
    from contextlib import AbstractAsyncContextManager

    import numpy.typing as npt
    from anyio.streams.memory import MemoryObjectReceiveStream
    from engine import Engine
    from intake import Intake
    from line import Line
    from listeners import Listener
    from messages import Said

    from voicepipe import DecoderFactory
    from voicepipe.servers.asgi import Message


_logger = logging.getLogger("live_transcribe")

# So many messages that say nothing, in so many seconds, are too many.
_NONSENSE = 100
_NONSENSE_S = 60.0

# A wait for a message is one of so many parts: a server that stands still for a moment
# loses one of them, and does not take its own rest for the client's.
_PARTS = 4

_FULL = Over(
    1013,
    f"The server is busy with {SETTINGS.max_sessions} recordings; try again later",
    "full",
)


class Conversation:
    """
    What is said on one connection, and what of it is still to be done.

    Args:
        line: To the client.
        engine: Whom to ask.
        decoders: Where compressed sound is decoded.
    """

    def __init__(self, line: Line, engine: Engine, decoders: DecoderFactory) -> None:
        """Begin with a client of whom nothing is known."""
        self._line = line
        self._engine = engine
        self._decoders = decoders
        self._incoming: MemoryObjectReceiveStream[Message]
        self._start = Start()
        self._told = False  # whether the next recording has had its status
        self._heard = False  # whether there was a recording since the last start
        self._skips = False  # whether what comes belongs to one that was given up
        self._holds = False  # whether this counts as a recording that is under way
        self._intake: Intake | None = None
        self._goes_on = False  # whether later pieces belong to the same recording
        self._binary = False  # whether its pieces come as binary messages
        self._place = Place()
        self._left = 0  # frames until the recording is too long
        self._nonsense: list[float] = []

    def close(self) -> None:
        """Give everything back."""
        self._forget()
        self._release()

    async def run(self, incoming: MemoryObjectReceiveStream[Message]) -> Over:
        """Serve the client, until there is a reason not to."""
        self._incoming = incoming
        said: Said | Over = await self._next(SETTINGS.idle_s)
        while not isinstance(said, Over):
            said = Over(1008) if self._is_annoyed else await self._answer(said)
        return said

    async def _answer(self, said: Said) -> Said | Over:
        """Do what a message says, and give the next one."""
        match said:
            case Sound() if not said.data:
                pass
            case Sound() if self._skips and not self._begins(said):
                following = await self._next(self._start.pause_s)
                self._skips = not isinstance(following, Pause)
                if self._skips:
                    return following
            case Sound():
                return await self._record(said)
            case Start():
                if not await self._begin(said):
                    return _FULL
            case Stop():
                await self._stop()
            case Pause():
                return Over(1001, "Nothing came for too long", "idle")
            case Wrong():
                await self._wonder(said.why, "bad_message")
        # At once: who has said too much may be silent for long now.
        return Over(1008) if self._is_annoyed else await self._next(SETTINGS.idle_s)

    async def _begin(self, start: Start) -> bool:
        """Take what the client says of itself; false if there is no room for it."""
        self._forget()
        self._release()
        # Whoever speaks should know at once.
        if start.partials and not self._hold():
            return False
        self._start, self._place = start, Place()
        self._told, self._heard, self._skips = True, False, False
        opened = self._engine.opened
        said = status(
            "Ready",
            event="started",
            sample_rate=start.rate,
            channels=start.channels,
            partials=start.partials,
            engine=self._engine.name,
            degraded=opened.degraded,
            loading=opened.loading,
        )
        await self._line.say(said)
        return True

    async def _stop(self) -> None:
        """Answer a stop; of a client without partials, one that ends nothing."""
        self._skips = False
        if self._start.partials:
            self._release()
            duration = round(self._place.seconds, 3)
            said = status("Recording ended", event="ended", duration=duration)
            await self._line.say(said)
        elif not self._heard:
            await self._line.fail("No audio was received", "no_audio")

    async def _record(self, first: Sound) -> Said | Over:
        """Take one stretch of sound, and give the message that comes after it."""
        if not self._hold():
            return _FULL
        if self._intake is None or self._begins(first):
            await self._open(first)
        async with self._listening() as listener:
            # Errors come as values: out of a group of tasks they would be in a group.
            said, fault = await self._hear_out(listener, first)
        if fault is not None:
            _logger.error("a recording was given up", exc_info=fault)
            await self._line.fail("The engine has failed; try again later", "engine")
            if self._start.partials:
                return Over(1011)
            self._skips = isinstance(said, Sound)
        return await self._conclude(said)

    async def _conclude(self, said: Said | Over) -> Said | Over:
        """Say that a stretch is over, where that is not said yet."""
        partials = self._start.partials
        if not (partials and isinstance(said, Pause)):
            self._release()
            if not self._goes_on:
                self._forget()
        match said:
            case Stop() if partials:
                await self._stop()
            case Pause() if partials:
                duration = round(self._place.seconds, 3)
                waits = status("Waiting for sound", event="paused", duration=duration)
                await self._line.say(waits)
            case Stop() | Pause():
                pass
            case _:
                return said
        return await self._next(SETTINGS.idle_s)

    async def _open(self, first: Sound) -> None:
        """Begin a recording."""
        self._forget()
        if first.binary and not begins_file(first.data):
            self._intake = Samples(self._start.channels)
        else:
            start = self._start
            self._intake = Files(start.rate, start.channels, self._decoders)
        self._place = Place(segments=self._place.segments)
        self._left = round(SETTINGS.max_recording_s * self._start.rate)
        self._skips, self._heard = False, True
        self._goes_on, self._binary = begins_file(first.data), first.binary
        recordings.value += 1
        if not self._told:
            await self._line.say(status("Transcribing", event="started"))
        self._told = False

    def _listening(self) -> AbstractAsyncContextManager[Listener]:
        start, place, say = self._start, self._place, self._line.say
        if not start.partials:
            return Whole(self._engine, start.rate, place, say).listening()
        session = self._engine.live.session(rate=start.rate, channels=start.channels)
        return Live(session, start.rate, place, say).listening()

    async def _hear_out(
        self, listener: Listener, first: Sound
    ) -> tuple[Said | Over, TranscriptionError | None]:
        """Take sound until something else comes, and have it all said."""
        said: Said | Over = first
        before = self._left
        is_bad = False
        try:
            while isinstance(said, Sound):
                if not is_bad:
                    is_bad = not await self._take(listener, said)
                if self._left < 0:
                    limit = f"{SETTINGS.max_recording_s / 60:g} minutes"
                    said = Over(1008, f"A recording may last {limit}", "too_long")
                    break
                said = await self._next_of_recording()
                if isinstance(said, Sound) and self._begins(said):
                    break
            began = time.monotonic()
            await self._hand_on(listener, await self._drained())
            # Where there was nothing but a fault, that is the answer.
            if self._left < before or not is_bad:
                self._place = await listener.end()
                end_s.add(time.monotonic() - began)
        except TranscriptionError as exc:
            return said, exc
        return said, None

    async def _next_of_recording(self) -> Said | Over:
        """Give the next message that is one."""
        said = await self._next(self._start.pause_s)
        while isinstance(said, Wrong):
            await self._wonder(said.why, "bad_message")
            if self._is_annoyed:
                return Over(1008)
            said = await self._next(self._start.pause_s)
        return said

    async def _take(self, listener: Listener, sound: Sound) -> bool:
        """Hand a message's sound on; false where it is none."""
        if self._intake is None:
            return False
        try:
            async with contextlib.aclosing(self._intake.take(sound.data)) as taken:
                async for samples in taken:
                    await self._hand_on(listener, samples)
                    if self._left < 0:
                        break
        except AudioError as exc:
            await self._wonder(str(exc), "bad_audio")
            return False
        return True

    async def _drained(self) -> npt.NDArray[np.int16]:
        if self._intake is None:
            return np.zeros((0, self._start.channels), np.int16)
        return await self._intake.drain()

    async def _hand_on(
        self, listener: Listener, samples: npt.NDArray[np.int16]
    ) -> None:
        """Have samples heard, as far as the recording may go on."""
        taken = samples[: max(0, self._left)]
        self._left -= len(samples)
        received_ms.value += len(taken) * 1_000 // self._start.rate
        if len(taken):
            await listener.hear(taken)

    def _begins(self, sound: Sound) -> bool:
        """Tell whether a message begins another recording."""
        if sound.binary != self._binary:
            return True
        samples = sound.binary and isinstance(self._intake, Samples)
        return not samples and begins_file(sound.data)

    async def _next(self, patience_s: float) -> Said:
        """Wait for the next message."""
        message: Message | None = None
        for _ in range(_PARTS):
            with anyio.move_on_after(patience_s / _PARTS):
                message = await self._incoming.receive()
            if message is not None:
                break
        if message is None:
            return Pause()
        data = message.get("bytes")
        if data is not None:
            return Sound(data=data, binary=True)
        if len(message["text"]) < LONG:
            return parsed(message["text"])
        return await anyio.to_thread.run_sync(parsed, message["text"])

    @property
    def _is_annoyed(self) -> bool:
        """Whether there was too much of no use in a short time."""
        return len(self._nonsense) > _NONSENSE

    async def _wonder(self, why: str, code: str) -> None:
        """Say that a message is of no use."""
        now = time.monotonic()
        self._nonsense = [t for t in self._nonsense if now - t < _NONSENSE_S]
        self._nonsense.append(now)
        await self._line.fail(why, code)

    def _forget(self) -> None:
        """Let go of what the next piece would go on with."""
        if self._intake is not None:
            self._intake.close()
            self._intake = None

    def _hold(self) -> bool:
        """Take a place, where this has none; false if there is none left."""
        if not self._holds and places.recordings < SETTINGS.max_sessions:
            self._holds = True
            places.recordings += 1
        return self._holds

    def _release(self) -> None:
        """Let another one record."""
        if self._holds:
            self._holds = False
            places.recordings -= 1
