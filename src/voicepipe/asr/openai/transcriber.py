"""The transcriber that asks a service."""

from __future__ import annotations

import logging
from collections import Counter
from typing import TYPE_CHECKING, TypeAlias

import anyio
import anyio.from_thread
import anyio.to_thread
import attrs
import numpy as np
from anyio.lowlevel import RunVar

from voicepipe.asr.guards import guarded
from voicepipe.asr.openai.limits import TIMED, limits_of
from voicepipe.asr.openai.options import OpenAIOptions
from voicepipe.asr.openai.pieces import RATE, Pcm, Piece, pieces_of
from voicepipe.asr.openai.placing import placed
from voicepipe.asr.openai.redaction import secrets_of
from voicepipe.asr.openai.service import (
    Request,
    Service,
    longest_s,
    transcriptions_url,
)
from voicepipe.asr.tracks import speaker_label, tracks_of
from voicepipe.asr.voice_activity import voice_activity
from voicepipe.net.headers import checked_headers
from voicepipe.stream.vad import SpeechSpan
from voicepipe.tasks import side_by_side, task_group
from voicepipe.types import Transcript, TranscriptionReport


if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from voicepipe.asr.openai.answer import Heard
    from voicepipe.asr.openai.limits import ModelLimits
    from voicepipe.asr.tracks import Track
    from voicepipe.types import Audio, Segment


_logger = logging.getLogger(__name__)

# Of a transcript with text for less of the speech than this, it is worth to be told.
_LOW_COVERAGE = 0.5

_BLOCK_FRAMES = 10 * RATE


@attrs.frozen(kw_only=True, eq=False)
class _Plan:
    """What is sent of one track."""

    channel: int | None
    pcm: Pcm
    speech: tuple[SpeechSpan, ...]
    pieces: list[Piece]


_Answers: TypeAlias = "list[tuple[Piece, Heard]]"


class OpenAITranscriber:
    """
    Transcribes with OpenAI's API, or any service that has ``/audio/transcriptions``.

    The sound leaves this machine. It is sent as 16 kHz mono, in pieces that a request
    may hold, cut where it is quiet; pauses of two seconds and more are left out, as far
    as voice activity hears nobody. Channels are sent one by one, so that two speakers
    cost as much as one: who is silent is not sent.

    Only the base URL is asked: no redirect is followed, and no proxy or setting of the
    environment is used, ``OPENAI_API_KEY`` included. The key is in no message, log or
    repr.

    What fails in passing is tried again, piece by piece: time-outs, broken connections,
    cut answers, 408, 425, 429 and the 5xx of gateways, after a wait that doubles from
    half a second or the one that the service asks for. A piece that the service finds
    too large (413) or too long is divided. All else is an error at once, with the
    service's own words.

    One transcriber may be used by many tasks, threads and event loops;
    ``requests_at_once`` holds for each loop. Nothing has to be closed.

    Args:
        model: The model's name at the service.
        api_key: Sent as ``Authorization: Bearer``; ``""`` for a service without keys.
        options: Which service, and how it is to be asked.

    Attributes:
        model: The engine's name: ``"openai:"`` and that of the model.

    Raises:
        ValueError: If the key cannot be sent, has blanks around it, or the model takes
            no prompt.

    Example:
        >>> local = OpenAIOptions(base_url="http://127.0.0.1:8000/v1")
        >>> OpenAITranscriber("Systran/faster-whisper-small", api_key="", options=local)
        <OpenAITranscriber Systran/faster-whisper-small at http://127.0.0.1:8000/v1>
    """

    def __init__(
        self,
        model: str = "whisper-1",
        *,
        api_key: str,
        options: OpenAIOptions | None = None,
    ) -> None:
        """Open nothing yet."""
        options = options or OpenAIOptions()
        limits = limits_of(model)
        if options.prompt is not None and not limits.prompt:
            msg = f"{model} takes no prompt"
            raise ValueError(msg)
        self.model: str = f"openai:{model}"
        self._options = options
        self._url = transcriptions_url(options.base_url)
        self._request = _request(model, api_key, options, limits)
        # Whether answers have times decides how long a piece may be.
        self._timed = (options.response_format or limits.response_format) in TIMED
        self._words = self._timed and limits.word_times and options.word_times
        max_s = options.max_audio_s or limits.max_audio_s
        max_s = longest_s(self._request.max_bytes, max_s, options.upload_format)
        self._max_s = max_s if self._timed else min(max_s, options.untimed_s)
        self._slots: RunVar[anyio.CapacityLimiter] = RunVar("slots")

    def __repr__(self) -> str:
        """Tell the model and the service, never the key."""
        base = str(self._url).removesuffix("/audio/transcriptions")
        return f"<OpenAITranscriber {self.model.removeprefix('openai:')} at {base}>"

    async def transcribe(
        self, audio: Audio, /, *, progress: Callable[[float], None] | None = None
    ) -> Transcript:
        """
        Transcribe audio of any rate and any number of channels.

        Where answers have no times, a segment is what was said in one piece, without
        words.

        Args:
            audio: One channel for each speaker, or a mix; see ``Transcriber``.
            progress: Called from the event loop with the share that has been answered,
                in (0, 1], ever larger, and at the end with 1, once.

        Returns:
            A segment for each of the service's, with words where it gives their times.
            Channels that differ give segments with ``channel`` and ``speaker``; a
            single signal gives neither.

        Raises:
            TranscriptionError: If the service refuses, or cannot be reached; the cause
                is the ``FetchError``.

        Cancellation: requests under way are broken off at once, and so is all work in
        threads, as soon as a few seconds of sound are through.
        """
        plans = await self._plans(audio)
        work = [(of, piece) for of, plan in enumerate(plans) for piece in plan.pieces]
        answers: list[_Answers] = [[] for _ in work]

        async with Service(self._request, self._options, self._limiter()) as service:

            async def hear(place: int, item: tuple[int, Piece]) -> int:
                answers[place] = await service.hear(plans[item[0]].pcm, item[1])
                return item[1].frames

            # In frames: the shares of seconds may add up to a bit less than 1.
            total, done = sum(piece.frames for _, piece in work), 0
            at_once = min(len(work), self._options.requests_at_once)
            async with side_by_side(work, hear, at_once) as answered:
                async for frames in answered:
                    done += frames
                    if progress is not None and done < total:
                        progress(done / total)
        if progress is not None:
            progress(1.0)
        of_plans: list[_Answers] = [[] for _ in plans]
        for (of, _), found in zip(work, answers, strict=True):
            of_plans[of].extend(found)
        return await anyio.to_thread.run_sync(
            self._transcript, audio.duration, plans, of_plans
        )

    async def _plans(self, audio: Audio) -> list[_Plan]:
        plans: dict[int, _Plan] = {}

        async def plan(place: int, track: Track) -> None:
            plans[place] = await anyio.to_thread.run_sync(self._plan, track)

        async with task_group() as group:
            for place, track in enumerate(await tracks_of(audio, rate=RATE)):
                group.start_soon(plan, place, track)
        return [plans[place] for place in sorted(plans)]

    def _limiter(self) -> anyio.CapacityLimiter:
        try:
            return self._slots.get()
        except LookupError:
            limiter = anyio.CapacityLimiter(self._options.requests_at_once)
            self._slots.set(limiter)
            return limiter

    def _plan(self, track: Track) -> _Plan:
        """Find out what to send; runs in a worker thread."""
        pcm = np.frombuffer(track.pcm, np.int16)
        speech = (
            tuple(_speech(pcm))
            if self._options.voice_activity
            else (SpeechSpan(0, len(pcm)),)
        )
        pieces = pieces_of(
            pcm,
            speech,
            max_s=self._max_s,
            together=self._timed,
            check=anyio.from_thread.check_cancelled,
        )
        return _Plan(channel=track.channel, pcm=pcm, speech=speech, pieces=pieces)

    def _transcript(
        self, duration: float, plans: Sequence[_Plan], answers: Sequence[_Answers]
    ) -> Transcript:
        """Put together what was heard; runs in a worker thread."""
        segments: list[Segment] = []
        reports = [TranscriptionReport()]
        languages: Counter[str] = Counter()
        for plan, heard in zip(plans, answers, strict=True):
            found, report = self._guarded(duration, plan, heard)
            reports.append(report)
            segments.extend(
                attrs.evolve(
                    segment, channel=plan.channel, speaker=speaker_label(plan.channel)
                )
                for segment in found
            )
            for piece, one in heard:
                if one.language is not None and one.segments:
                    languages[one.language] += piece.frames
        total = TranscriptionReport.sum(reports)
        self._warn(total, answers)
        given = self._options.language
        most = languages.most_common(1)
        return Transcript.of(
            segments,
            duration=duration,
            model=self.model,
            language=given or (most[0][0] if most else None),
            report=total,
        )

    def _guarded(
        self, duration: float, plan: _Plan, heard: _Answers
    ) -> tuple[tuple[Segment, ...], TranscriptionReport]:
        speech = [(span.start / RATE, span.end / RATE) for span in plan.speech]
        found, report = guarded(
            [segment for piece, one in heard for segment in placed(one, piece, speech)],
            speech,
            duration,
            words=self._words and all(one.timed for _, one in heard),
            unspoken=self._options.voice_activity,
        )
        if not self._options.voice_activity:
            # Nobody has listened where there is speech.
            report = attrs.evolve(report, speech_s=0.0, covered_s=0.0)
        return found, report

    def _warn(
        self, report: TranscriptionReport | None, answers: Sequence[_Answers]
    ) -> None:
        untimed = any(
            one.segments and not one.timed for heard in answers for _, one in heard
        )
        if self._timed and untimed:
            _logger.warning(
                "%s: its answers have no times; with response_format='json' the pieces "
                "would be shorter",
                self.model,
            )
        coverage = report.coverage if report is not None else None
        if coverage is not None and coverage < _LOW_COVERAGE:
            _logger.warning(
                "%s: there is text for only %.0f %% of the speech",
                self.model,
                100.0 * coverage,
            )


def _request(
    model: str, api_key: str, options: OpenAIOptions, limits: ModelLimits
) -> Request:
    answer = options.response_format or limits.response_format
    fields = [("model", model), ("response_format", answer), *limits.fields]
    if options.language is not None:
        fields.append(("language", options.language))
    if options.prompt is not None:
        fields.append(("prompt", options.prompt))
    if options.temperature is not None:
        fields.append(("temperature", f"{options.temperature:g}"))
    if answer == "verbose_json" and options.word_times and limits.word_times:
        fields += [("timestamp_granularities[]", of) for of in ("word", "segment")]
    headers = checked_headers(options.headers)
    if api_key:
        headers["authorization"] = f"Bearer {_checked_key(api_key)}"
    return Request(
        engine=f"openai:{model}",
        fields=tuple(fields),
        headers=headers,
        secrets=secrets_of(options.base_url, api_key, headers),
        plain=answer == "text",
        max_bytes=options.max_request_bytes or limits.max_bytes,
    )


def _checked_key(key: str) -> str:
    """Refuse a key that no service has; the message does not hold it."""
    if not key.isascii() or not key.isprintable() or key != key.strip():
        msg = "api_key must be ASCII without blanks or line ends around it"
        raise ValueError(msg)
    return key


def _speech(pcm: Pcm) -> Iterator[SpeechSpan]:
    """Find speech, block by block, so that it can be broken off."""
    activity = voice_activity(RATE)
    for at in range(0, len(pcm), _BLOCK_FRAMES):
        anyio.from_thread.check_cancelled()
        block = pcm[at : at + _BLOCK_FRAMES, np.newaxis].astype(np.float32)
        yield from activity.push(block / np.float32(32768.0))
    yield from activity.flush()
