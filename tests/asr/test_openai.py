from __future__ import annotations

import io
import itertools
import json
import logging
import threading
from typing import TYPE_CHECKING, Any

import anyio
import httpx
import numpy as np
import openai
import openai_service as service
import pytest
import soundfile
import soxr
from fault_answers import status
from openai_service import KEY, OpenAIService, Said, audio, sentence, spoken
from upload_server import after

from voicepipe.asr.openai.options import OpenAIOptions
from voicepipe.asr.openai.transcriber import OpenAITranscriber
from voicepipe.errors import InvalidUrlError
from voicepipe.testing import check_transcriber
from voicepipe.testing.engines import expect_transcript
from voicepipe.types import Audio


if TYPE_CHECKING:
    from collections.abc import Iterator

    from fault_server import Exchange
    from stress_report import Report

    from voicepipe.types import Transcript


CALL = [*sentence(1.0, 0, 6), *sentence(5.0, 20, 4), *sentence(30.3, 700, 5)]


@pytest.fixture
def server() -> Iterator[OpenAIService]:
    with OpenAIService() as started:
        yield started


def engine(
    server: OpenAIService, model: str = "whisper-1", **options: Any
) -> OpenAITranscriber:
    chosen = OpenAIOptions(base_url=server.base, **options)
    return OpenAITranscriber(model, api_key=KEY, options=chosen)


def words_of(transcript: Transcript) -> list[tuple[str, float]]:
    return [
        (word.text.removesuffix("."), word.start)
        for segment in transcript.segments
        for word in segment.words
    ]


def check_words(transcript: Transcript, said: list[Said], *, off: float = 0.06) -> None:
    found = words_of(transcript)
    assert [text for text, _ in found] == [word.text for word in said]
    worst = max(abs(at - word.start) for (_, at), word in zip(found, said, strict=True))
    assert worst < off


async def test_it_keeps_the_law_of_transcribers(server: OpenAIService) -> None:
    speech = audio(spoken(sentence(0.5, 0, 8), 5.0))

    await check_transcriber(engine(server), speech=speech)


async def test_it_keeps_the_law_without_times_too(server: OpenAIService) -> None:
    speech = audio(spoken(sentence(0.5, 0, 8), 5.0))

    await check_transcriber(engine(server, "gpt-4o-transcribe"), speech=speech)


async def test_words_come_back_where_they_were_said(server: OpenAIService) -> None:
    transcript = await engine(server).transcribe(audio(spoken(CALL, 40.0)))

    check_words(transcript, CALL)
    assert len(transcript.segments) == 3
    assert transcript.segments[0].text == "w0 w1 w2 w3 w4 w5."
    # What OpenAI leaves out in its words.
    assert transcript.segments[0].words[-1].text == "w5."
    assert transcript.model == "openai:whisper-1"
    assert transcript.language == "en"
    assert transcript.report is not None
    assert transcript.report.coverage == 1.0
    assert transcript.report.speech_s == pytest.approx(6.0, abs=0.6)


async def test_the_request_is_what_was_asked_for(server: OpenAIService) -> None:
    options = {"language": "de", "prompt": 'Zoë "Müller"\r\n--x', "temperature": 0.25}

    transcript = await engine(server, **options).transcribe(audio(spoken(CALL, 40.0)))

    [asked] = server.files
    assert asked.fields == [
        ("model", "whisper-1"),
        ("response_format", "verbose_json"),
        ("language", "de"),
        ("prompt", 'Zoë "Müller"\r\n--x'),
        ("temperature", "0.25"),
        ("timestamp_granularities[]", "word"),
        ("timestamp_granularities[]", "segment"),
    ]
    assert (asked.name, asked.kind) == ("audio.flac", "audio/flac")
    assert transcript.language == "de"
    assert (
        server.uploads[0]
        .header(
            "content-type",
        )
        .startswith("multipart/form-data")
    )


async def test_silence_is_not_sent_and_costs_nothing(server: OpenAIService) -> None:
    said = [*sentence(100.0, 0, 5), *sentence(500.0, 50, 5)]

    transcript = await engine(server).transcribe(audio(spoken(said, 600.0)))

    check_words(transcript, said)
    assert sum(asked.seconds for asked in server.files) < 8.0
    nothing = await engine(server).transcribe(audio(np.zeros(16_000 * 60, np.float32)))
    assert nothing.segments == ()
    assert nothing.duration == 60.0
    assert len(server.files) == 1


@pytest.mark.parametrize(("words", "most"), [(0, 1), (1, 1), (40, 40)])
async def test_progress_rises_and_ends_with_one(
    server: OpenAIService, words: int, most: int
) -> None:
    shares: list[float] = []
    # Words far apart, each a piece of another length, and answers in any order.
    said = [
        word for at in range(words) for word in sentence(1 + 4 * at, at, 1 + at % 5)
    ]
    call = audio(spoken(said, 2.0 + 4 * words))

    engine_ = engine(server, "gpt-4o-transcribe", requests_at_once=8)
    await engine_.transcribe(call, progress=shares.append)

    assert len(shares) == max(1, len(server.files)) <= most
    assert shares == sorted(set(shares))
    assert shares[0] > 0.0
    assert shares.count(1.0) == 1
    assert shares[-1] == 1.0


async def test_all_is_sent_where_nobody_is_to_listen_first(
    server: OpenAIService,
) -> None:
    call = audio(spoken(CALL, 40.0))

    transcript = await engine(server, voice_activity=False).transcribe(call)

    check_words(transcript, CALL)
    assert [asked.seconds for asked in server.files] == [40.0]
    assert transcript.report is not None
    assert transcript.report.coverage is None


@pytest.mark.parametrize("frames", [1, 800, 1_600, 16_000])
async def test_sound_too_short_for_the_service_is_filled_up(
    server: OpenAIService, frames: int
) -> None:
    noise = np.full(frames, 0.1, np.float32)

    transcript = await engine(server, voice_activity=False).transcribe(audio(noise))

    assert transcript.segments == ()
    assert [asked.seconds for asked in server.files] == [max(0.2, frames / 16_000)]


async def test_each_channel_is_a_speaker(server: OpenAIService) -> None:
    left, right = sentence(1.0, 0, 5), sentence(4.0, 100, 5)
    call = audio(spoken(left, 10.0), spoken(right, 10.0))

    transcript = await engine(server).transcribe(call)

    check_words(transcript, [*left, *right])
    assert [segment.channel for segment in transcript.segments] == [0, 1]
    speakers = [segment.speaker for segment in transcript.segments]
    assert speakers == ["Speaker00", "Speaker01"]
    # Two speakers who take turns cost what one would.
    assert sum(asked.seconds for asked in server.files) < 7.0


async def test_identical_channels_are_sent_once(server: OpenAIService) -> None:
    sound = spoken(CALL, 40.0)

    transcript = await engine(server).transcribe(audio(sound, sound))

    check_words(transcript, CALL)
    assert {segment.channel for segment in transcript.segments} == {None}
    assert len(server.files) == 1


@pytest.mark.parametrize("model", ["gpt-4o-transcribe", "gpt-4o-mini-transcribe"])
async def test_a_model_without_times_gets_short_pieces(
    server: OpenAIService, model: str
) -> None:
    said = [*sentence(2.0, 0, 200), *sentence(100.0, 300, 5)]

    transcript = await engine(server, model).transcribe(audio(spoken(said, 110.0)))

    assert [dict(asked.fields)["response_format"] for asked in server.files] == [
        "json"
    ] * len(server.files)
    assert all(asked.seconds <= 30.0 for asked in server.files)
    assert 4 <= len(server.files) <= 6
    heard = transcript.text.replace(".", "").split()
    # No pause is in eighty seconds of speech: a word at each cut may be in two parts.
    assert len(set(heard) & {word.text for word in said}) >= 202
    last = transcript.segments[-1]
    assert (last.start, last.end) == pytest.approx((100.0, 102.1), abs=0.3)
    assert all(segment.words == () for segment in transcript.segments)


async def test_a_model_that_tells_speakers_gives_its_times(
    server: OpenAIService,
) -> None:
    model = "gpt-4o-transcribe-diarize"

    transcript = await engine(server, model).transcribe(audio(spoken(CALL, 40.0)))

    fields = dict(server.files[0].fields)
    assert fields["response_format"] == "diarized_json"
    assert fields["chunking_strategy"] == "auto"
    starts = [segment.start for segment in transcript.segments]
    assert starts == pytest.approx([1.0, 5.0, 30.3], abs=0.06)
    with pytest.raises(ValueError, match="takes no prompt"):
        engine(server, model, prompt="names")


async def test_plain_text_is_taken_as_it_is(server: OpenAIService) -> None:
    engine_ = engine(server, response_format="text")

    transcript = await engine_.transcribe(audio(spoken(CALL, 40.0)))

    texts = [segment.text for segment in transcript.segments]
    assert texts == ["w0 w1 w2 w3 w4 w5. w20 w21 w22 w23.", "w700 w701 w702 w703 w704."]


async def test_segments_without_words_have_their_own_times(
    server: OpenAIService,
) -> None:
    transcript = await engine(server, word_times=False).transcribe(
        audio(spoken(CALL, 40.0))
    )

    starts = [segment.start for segment in transcript.segments]
    assert starts == pytest.approx([1.0, 5.0, 30.3], abs=0.06)
    assert all(segment.words == () for segment in transcript.segments)


async def test_wav_is_sent_where_that_is_wanted(server: OpenAIService) -> None:
    transcript = await engine(server, upload_format="wav").transcribe(
        audio(spoken(CALL, 40.0))
    )

    check_words(transcript, CALL)
    assert server.files[0].name == "audio.wav"
    assert server.files[0].size == 44 + round(server.files[0].seconds * 32_000)


@pytest.mark.parametrize("rate", [8_000, 44_100, 48_000])
async def test_audio_of_any_rate_is_sent_at_sixteen_kilohertz(
    server: OpenAIService, rate: int
) -> None:
    time = np.arange(rate) / rate
    tone = 0.3 * np.sin(2 * np.pi * 440.0 * time).astype(np.float32)

    await engine(server, voice_activity=False).transcribe(
        Audio(samples=tone, rate=rate)
    )

    # The server itself sees to the rate.
    assert [asked.seconds for asked in server.files] == [1.0]


def long_call(duration: float, *, pause_s: float) -> list[Said]:
    said: list[Said] = []
    start, first = 3.0, 0
    for count in itertools.cycle([8, 12, 5, 20, 30]):
        end = start + count * service.STEP_S
        if end > duration - 3.0:
            return said
        said += sentence(start, first, count)
        first += count
        start = end + pause_s
    return said


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
@pytest.mark.parametrize(
    ("duration", "files"),
    [(1_800.0, 2), pytest.param(7_200.0, 6, marks=pytest.mark.stress)],
)
async def test_two_hours_are_split_and_their_times_are_right(
    server: OpenAIService,
    duration: float,
    files: int,
    caplog: pytest.LogCaptureFixture,
    stress_report: Report,
) -> None:
    said = long_call(duration, pause_s=1.1)
    shares: list[float] = []

    transcript = await engine(server).transcribe(
        audio(spoken(said, duration)), progress=shares.append
    )

    assert len(said) > 1.5 * duration
    check_words(transcript, said)
    assert transcript.duration == duration
    assert len(server.files) == files
    assert all(asked.seconds <= 1_390 for asked in server.files)
    assert all(asked.size < 26_214_400 for asked in server.files)
    assert len(shares) == len(server.files)
    assert shares == sorted(shares)
    assert shares[-1] == 1.0
    assert transcript.report is not None
    assert (transcript.report.coverage or 0.0) > 0.95
    assert "WARNING" not in caplog.text
    off = [
        abs(at - word.start)
        for (_, at), word in zip(words_of(transcript), said, strict=True)
    ]
    stress_report(
        f"a hosted engine, {duration / 3_600:g} hours with {len(said)} words",
        f"{len(server.files)} requests of {sum(a.seconds for a in server.files):.0f} s "
        f"in all; word starts at most {max(off):.3f} s off",
    )


async def test_pieces_obey_the_limit_of_bytes(server: OpenAIService) -> None:
    server.most_bytes = 1 << 20
    said = long_call(300.0, pause_s=1.0)
    call = audio(spoken(said, 300.0))

    for kind in ("flac", "wav"):
        server.files.clear()
        server.requests.clear()
        transcript = await engine(
            server, upload_format=kind, max_request_bytes=1 << 20
        ).transcribe(call)
        check_words(transcript, said)
        # None was refused, and none was much smaller than it could be.
        assert len(server.files) == len(server.requests)
        assert max(asked.size for asked in server.files) > (1 << 20) / 3
        least = 300 * 32_000 / (1 << 20) / (1 if kind == "wav" else 2.5)
        assert len(server.files) < 3 * least


async def test_pieces_obey_the_limit_of_seconds(server: OpenAIService) -> None:
    said = long_call(300.0, pause_s=1.0)

    transcript = await engine(server, max_audio_s=40.0, requests_at_once=8).transcribe(
        audio(spoken(said, 300.0))
    )

    check_words(transcript, said)
    assert all(asked.seconds <= 40.0 for asked in server.files)
    assert len(server.files) < 16


async def test_no_more_requests_are_made_at_once_than_allowed(
    server: OpenAIService,
) -> None:
    said = long_call(120.0, pause_s=1.0)
    call = audio(spoken(said, 120.0))
    shared = engine(server, max_audio_s=15.0, requests_at_once=2)
    transcripts = []
    lock, at_once = threading.Lock(), [0, 0]

    def count(exchange: Exchange) -> None:
        with lock:
            at_once[0] += 1
            at_once[1] = max(at_once)
        while at_once[1] < 2:
            exchange.sleep(0.01)
        exchange.sleep(0.05)
        with lock:
            at_once[0] -= 1
        server.transcribe(exchange)

    server.answers(*[count] * 1_000)

    async def one() -> None:
        transcripts.append(await shared.transcribe(call))

    async with anyio.create_task_group() as group:
        for _ in range(3):
            group.start_soon(one)

    assert at_once[1] == 2
    assert len(transcripts) == 3
    for transcript in transcripts:
        assert transcript == transcripts[0]
        check_words(transcript, said)


async def test_the_most_spoken_language_is_that_of_the_transcript(
    server: OpenAIService,
) -> None:
    server.language = "german"
    first = await engine(server).transcribe(audio(spoken(CALL, 40.0)))
    server.language = "klingon"
    second = await engine(server).transcribe(audio(spoken(CALL, 40.0)))

    assert (first.language, second.language) == ("de", None)


async def test_the_loop_is_free_meanwhile(
    server: OpenAIService,
    least_lag,  # noqa: ANN001
) -> None:
    call = audio(spoken(long_call(60.0, pause_s=1.0), 60.0))
    # Words as OpenAI would give them: who hears them is in this process as well.
    words = [{"word": "a", "start": at / 9, "end": at / 9 + 0.1} for at in range(500)]
    body = json.dumps({"text": "a " * 500, "words": words}).encode()
    server.on(service.PATH, after(status(200, body=body)))

    assert (await engine(server).transcribe(call)).segments
    assert await least_lag(lambda: engine(server).transcribe(call)) < 0.05


async def test_one_transcriber_serves_one_loop_after_another(
    server: OpenAIService,
) -> None:
    shared = engine(server)
    call = audio(spoken(CALL, 40.0))

    first = await shared.transcribe(call)
    second = await anyio.to_thread.run_sync(anyio.run, shared.transcribe, call)

    assert first == second


def test_openais_own_client_finds_the_server_to_be_like_openais(
    server: OpenAIService,
) -> None:
    with httpx.Client(trust_env=False) as http:
        client = openai.OpenAI(
            api_key=KEY, base_url=server.base, http_client=http, max_retries=0
        )
        buffer = io.BytesIO()
        soundfile.write(buffer, spoken(CALL, 40.0), 16_000, format="FLAC")
        file = ("call.flac", buffer.getvalue(), "audio/flac")
        theirs = client.audio.transcriptions.create(
            model="whisper-1",
            file=file,
            response_format="verbose_json",
            timestamp_granularities=["word", "segment"],
            language="en",
        )
        plain = client.audio.transcriptions.create(
            model="gpt-4o-transcribe", file=file, response_format="json"
        )
        with pytest.raises(openai.BadRequestError):
            client.audio.transcriptions.create(
                model="gpt-4o-transcribe", file=file, response_format="verbose_json"
            )
        with pytest.raises(openai.NotFoundError):
            client.audio.transcriptions.create(model="whisper-9", file=file)
        with pytest.raises(openai.AuthenticationError) as refused:
            client.with_options(api_key="sk-of-nobody").audio.transcriptions.create(
                model="whisper-1", file=file
            )
        assert refused.value.status_code == 401

    ours = anyio.run(engine(server).transcribe, audio(spoken(CALL, 40.0)))
    assert theirs.words is not None
    assert [word.word for word in theirs.words] == [text for text, _ in words_of(ours)]
    starts = [word.start for word in theirs.words]
    assert starts == pytest.approx([at for _, at in words_of(ours)], abs=0.03)
    assert theirs.segments is not None
    assert [one.text.strip() for one in theirs.segments] == [
        segment.text for segment in ours.segments
    ]
    assert plain.text == theirs.text


@pytest.mark.parametrize(
    ("base", "target"),
    [
        ("/v1", "/v1/audio/transcriptions"),
        ("/v1/", "/v1/audio/transcriptions"),
        ("/v1/audio/transcriptions", "/v1/audio/transcriptions"),
        ("/v1/audio/transcriptions/", "/v1/audio/transcriptions"),
        ("", "/audio/transcriptions"),
        ("/d/x?api-version=1", "/d/x/audio/transcriptions?api-version=1"),
        ("/v1#part", "/v1/audio/transcriptions"),
    ],
)
async def test_a_base_url_is_taken_as_people_write_it(
    server: OpenAIService, base: str, target: str
) -> None:
    server.on(target.split("?", maxsplit=1)[0], server.transcribe)
    options = OpenAIOptions(base_url=server.url(base))
    engine_ = OpenAITranscriber(api_key=KEY, options=options)

    await engine_.transcribe(audio(spoken(CALL, 40.0)))

    assert [seen.target for seen in server.uploads] == [target]


async def test_a_service_without_keys_is_sent_none(server: OpenAIService) -> None:
    options = OpenAIOptions(base_url=server.base, headers={"X-Project": "calls"})
    engine_ = OpenAITranscriber(api_key="", options=options)

    with pytest.raises(Exception, match="an API key is wanted"):
        await engine_.transcribe(audio(spoken(CALL, 40.0)))

    assert server.uploads[0].header("authorization") is None
    assert server.uploads[0].header("x-project") == "calls"


@pytest.mark.parametrize("key", ["sk-1\n", " sk-1", "sk-\x00", "schlüssel", "a\nb"])
def test_a_key_that_cannot_be_sent_is_refused_unseen(key: str) -> None:
    with pytest.raises(ValueError, match="api_key") as told:
        OpenAITranscriber(api_key=key)
    assert key not in str(told.value)


@pytest.mark.parametrize("url", ["", "api.openai.com/v1", "ftp://host/v1", "http://"])
def test_a_base_url_that_is_none_is_refused(url: str) -> None:
    with pytest.raises(InvalidUrlError):
        OpenAIOptions(base_url=url)


@pytest.mark.parametrize(
    "wrong",
    [
        {"temperature": 1.5},
        {"temperature": -0.1},
        {"attempts": 0},
        {"timeout_s": 0},
        {"total_s": -1},
        {"requests_at_once": 0},
        {"max_request_bytes": 1_000},
        {"max_audio_s": 0.5},
        {"response_format": "srt"},
        {"upload_format": "mp3"},
        {"headers": {"Content-Length": "1"}},
    ],
)
def test_options_out_of_their_range_are_refused(wrong: dict[str, Any]) -> None:
    [name] = wrong
    with pytest.raises(ValueError, match=name.partition("_")[0].removesuffix("s")):
        OpenAIOptions(**wrong)


async def test_a_transcript_with_little_text_is_warned_of(
    server: OpenAIService, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    said = sentence(1.0, 0, 40)
    sound = spoken(said, 20.0)
    # Without what is above 4 kHz the server hears nothing.
    deaf = soxr.resample(soxr.resample(sound, 16_000, 8_000), 8_000, 16_000)
    deaf[: 3 * 16_000] = sound[: 3 * 16_000]

    transcript = await engine(server).transcribe(audio(deaf.astype(np.float32)))

    expect_transcript(transcript, audio(sound))
    assert "there is text for only" in caplog.text
    assert transcript.report is not None
    assert (transcript.report.coverage or 1.0) < 0.5
