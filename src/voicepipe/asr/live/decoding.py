"""A live stream heard by an engine that hears recordings."""

from __future__ import annotations

from typing import TYPE_CHECKING

import anyio
import tenacity

from voicepipe.asr.live.track import HOP, RATE, Track, hypothesis_of
from voicepipe.errors import TranscriptionError
from voicepipe.stream.live.copies import Copies
from voicepipe.stream.resample import Resampler


if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    import numpy as np
    import numpy.typing as npt

    from voicepipe.asr.live.turns import Turns
    from voicepipe.protocols import Stage, Transcriber
    from voicepipe.stream.live.options import LiveOptions
    from voicepipe.stream.live.policy import DecodeRequest
    from voicepipe.stream.live.words import LiveText
    from voicepipe.types import Audio, Hypothesis, Samples, Transcript


ATTEMPTS = 3
"""How often a decode is tried whose engine says that it may be tried again."""

FIRST_WAIT_S = 0.1
"""Before the second attempt, seconds; ten times as long before the third."""


class Decoding:
    """
    Decodes a stream stretch by stretch, as the policy of each of its signals asks.

    Segments of channel c of n have the ids c, c + n, c + 2n, …: they depend on nothing
    that happens on other channels.

    Args:
        transcriber: The engine.
        turns: Who may use it when.
        rate: Frames per second of the sound to come, Hz.
        channels: Its number of channels.
        options: How live text is made.
        activity: Makes what scores speech, for a rate.

    Raises:
        ValueError: If rate or channels are out of their range.
    """

    def __init__(
        self,
        transcriber: Transcriber,
        turns: Turns,
        *,
        rate: int,
        channels: int,
        options: LiveOptions,
        activity: Callable[[int], Stage[Samples, npt.NDArray[np.float32]]],
    ) -> None:
        """Begin in silence."""
        self._activity = activity
        self._transcriber = transcriber
        self._turns = turns
        self._options = options
        tracks = 1 if options.channels == "mix" else channels
        self._resampler = Resampler(rate, RATE, channels=channels, channels_out=tracks)
        self._copies = Copies(HOP, tracks) if tracks > 1 else None
        self._tracks: list[Track] = []
        self._asked: dict[int, DecodeRequest] = {}
        self._all_same = False  # at the last decode of the first channel
        self._channels: dict[int, int | None] = {}  # of the segments not final yet
        self._tell: Callable[[Hypothesis], object] = id
        self.decoded_s: float = 0.0

    @property
    def covered_s(self) -> float:
        """Seconds of the stream that are decoded, or silence, on every channel."""
        return min(track.covered for track in self._tracks) / RATE

    def open(self, tell: Callable[[Hypothesis], object]) -> None:
        """Load what is needed, in a worker thread."""
        count = self._resampler.channels_out
        self._tell = tell
        self._tracks = [
            Track(self._activity(RATE), self._options) for _ in range(count)
        ]

    def take(self, audio: Audio) -> None:
        """Take sound; a few milliseconds for each second of each channel."""
        self._listen(self._resampler.push(audio.samples))

    def end(self) -> None:
        """Take the end of the sound."""
        self._listen(self._resampler.flush())
        for track in self._tracks:
            track.end()

    async def work(self) -> bool:
        """
        Decode once, if something is to be decoded.

        Raises:
            TranscriptionError: If the engine fails.
        """
        for index, track in enumerate(self._tracks):
            texts, request = track.advance()
            self._tell_all(index, texts)
            if request is not None:
                self._asked[index] = request
        if self._copies is not None:
            self._copies.forget(min(track.begin for track in self._tracks))
        if not self._asked:
            return False
        # What is urgent first, and then what has waited longest.
        index, request = min(
            self._asked.items(), key=lambda one: (not one[1].urgent, one[1].end)
        )
        began = anyio.current_time()
        transcript = None
        if not self._is_copy(index, request):
            transcript = await self._transcribe(index, request)
        del self._asked[index]
        took_s = anyio.current_time() - began
        track = self._tracks[index]
        self._tell_all(index, track.decoded(request, transcript, took_s=took_s))
        return True

    async def close(self) -> None:
        """Let go of the sound."""
        self._tracks, self._asked = [], {}

    def _listen(self, pieces: Iterable[Samples]) -> None:
        for piece in pieces:
            if self._copies is not None:
                self._copies.push(piece)
            for index, track in enumerate(self._tracks):
                track.push(piece[:, index : index + 1])

    def _is_copy(self, index: int, request: DecodeRequest) -> bool:
        """Tell whether a channel says only what the first one says."""
        if self._copies is None:
            return False
        if index:
            return self._copies.same(index, request.start, request.end)
        self._all_same = all(
            self._copies.same(other, request.start, request.end)
            for other in range(1, len(self._tracks))
        )
        return False

    async def _transcribe(self, index: int, request: DecodeRequest) -> Transcript:
        audio = self._tracks[index].sound(request)

        async def attempt() -> Transcript:
            async with self._turns.turn(urgent=request.urgent):
                self.decoded_s += audio.duration
                return await self._transcriber.transcribe(audio)

        retrying = tenacity.AsyncRetrying(
            retry=tenacity.retry_if_exception(_may_retry),
            wait=tenacity.wait_exponential(FIRST_WAIT_S, exp_base=10),
            stop=tenacity.stop_after_attempt(ATTEMPTS),
            sleep=anyio.sleep,
            reraise=True,
        )
        return await retrying(attempt)

    def _tell_all(self, index: int, texts: Iterable[LiveText]) -> None:
        count = len(self._tracks)
        for text in texts:
            segment_id = index + count * text.segment
            if segment_id not in self._channels:
                # All parts of a segment are told to be of one channel.
                mix = count == 1 or (index == 0 and self._all_same)
                self._channels[segment_id] = None if mix else index
            channel = self._channels[segment_id]
            if text.final:
                del self._channels[segment_id]
            self._tell(hypothesis_of(text, segment_id=segment_id, channel=channel))


def _may_retry(error: BaseException) -> bool:
    return isinstance(error, TranscriptionError) and error.retryable
