from __future__ import annotations

import contextlib
import math
from typing import TYPE_CHECKING, Any

import anyio
import attrs
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from live_script import RATE, Ears, Script, plain, script
from live_sessions import cut, finals, heard, in_no_time, keys, live

from voicepipe import Audio, Transcript, TranscriptionError
from voicepipe.asr.live.transcriber import LiveTranscriber
from voicepipe.stream.live.options import LiveOptions
from voicepipe.testing import FakeStreamingTranscriber


if TYPE_CHECKING:
    from voicepipe.asr.live.session import LiveSession


# Engines take their time on a busy machine.
STEADY = np.zeros((RATE // 2, 1), np.float32)


async def test_all_words_come_and_none_changes() -> None:
    one = plain(40, pause_s=0.15)

    events = await heard(live(Ears(one)), cut(one.samples, 1_600))

    assert keys(events) == one.texts
    certain: dict[int, str] = {}
    for event in events:
        assert event.text.startswith(certain.get(event.segment_id, ""))
        assert event.final <= (event.stable == len(event.text))
        certain[event.segment_id] = event.text[: event.stable]
    assert any(0 < event.stable < len(event.text) for event in events)
    assert [w.text for e in finals(events) for w in e.words] == " ".join(
        e.text for e in finals(events)
    ).split()


@given(
    seconds=st.lists(st.floats(0.01, 6.0), min_size=1, max_size=12),
    pause_s=st.sampled_from([0.0, 0.15, 0.7]),
)
@settings(max_examples=15)
def test_however_sound_is_cut_the_finals_are_the_same(
    seconds: list[float], pause_s: float
) -> None:
    one = plain(30, pause_s=pause_s)
    ears = Ears(one, off_s=0.1, unsure_s=0.5, wrong=0.1)
    places = (np.cumsum(seconds) * RATE).astype(int)
    pieces = [p for p in np.split(one.samples, places) if len(p)]

    whole = in_no_time(lambda: heard(live(ears), cut(one.samples, 320)))

    assert finals(in_no_time(lambda: heard(live(ears), pieces))) == finals(whole)


async def test_flush_makes_everything_final_before_it_returns() -> None:
    one = script([("one", 0.5, 0.4), ("two", 0.0, 0.4)], end_s=0.0)
    async with live(Ears(one)).session(rate=RATE) as session:
        await session.push(one.samples)
        await session.flush()
        await session.flush()
        events = [event async for event in session]
        again = [event async for event in session]

        assert keys(events) == ["one", "two"]
        assert not again
        assert session.lag_s == 0.0
    assert session.received_s == pytest.approx(one.length / RATE)
    assert session.redundancy == pytest.approx(session.decoded_s / session.received_s)
    assert session.decoded_s > 0.5


async def test_a_stream_of_nothing_ends() -> None:
    async with live(Ears(plain(0))).session(rate=RATE) as session:
        await session.flush()

        assert [event async for event in session] == []
        assert session.redundancy == 0.0


async def test_leaving_without_flush_ends_the_iteration() -> None:
    one = plain(20)
    events = []
    left = anyio.Event()

    async def read(session: LiveSession) -> None:
        events.extend([event async for event in session])
        left.set()

    session = live(Ears(one)).session(rate=RATE)
    async with anyio.create_task_group() as group:
        async with session:
            group.start_soon(read, session)
            await session.push(one.samples)
        with anyio.fail_after(60):
            await left.wait()
    with pytest.raises(ValueError, match="async with"):
        await session.push(one.samples)
    with pytest.raises(ValueError, match="async with"):
        await session.flush()


async def test_the_body_s_own_error_comes_out_as_it_is() -> None:
    with pytest.raises(KeyError):
        async with live(Ears(plain(0))).session(rate=RATE):
            raise KeyError


@pytest.mark.parametrize(
    "audio",
    [
        Audio(samples=STEADY, rate=8_000),
        Audio(samples=np.zeros((10, 2)), rate=RATE),
        np.full((10, 1), 3.0, np.float32),
        np.full((10, 1), math.nan, np.float32),
    ],
    ids=["rate", "channels", "too loud", "not finite"],
)
async def test_other_sound_is_refused(audio: Any) -> None:
    async with live(Ears(plain(0))).session(rate=RATE) as session:
        with pytest.raises(ValueError, match=r"session|samples"):
            await session.push(audio)
        await session.flush()
        with pytest.raises(ValueError, match="flushed"):
            await session.push(STEADY)


@pytest.mark.parametrize("wrong", [{"rate": 1}, {"rate": RATE, "channels": 9}])
async def test_a_format_out_of_range_is_refused(wrong: dict[str, int]) -> None:
    for engine in (Ears(plain(0)), FakeStreamingTranscriber()):
        with pytest.raises(ValueError, match=r"rate|channels"):
            LiveTranscriber(engine).session(**wrong)


@attrs.define
class Gate:
    """An engine that waits until it may go on."""

    engine: Ears
    open: anyio.Event = attrs.field(factory=anyio.Event)
    calls: int = 0

    async def transcribe(self, audio: Audio) -> Transcript:
        self.calls += 1
        await self.open.wait()
        return await self.engine.transcribe(audio)


async def test_an_engine_that_stands_still_holds_up_who_pushes_and_loses_nothing() -> (
    None
):
    one = plain(60, pause_s=0.0)
    gate = Gate(Ears(one))
    async with live(gate, max_lag_s=6.0).session(rate=RATE) as session:
        async with anyio.create_task_group() as group:
            group.start_soon(session.push, one.samples)
            with anyio.fail_after(60):
                while session.lag_s < 6.0 or not gate.calls:  # noqa: ASYNC110
                    await anyio.sleep(0.01)
            await anyio.sleep(0.1)  # in which more might be taken
            group.cancel_scope.cancel()
        taken = round(session.received_s * RATE)
        assert 6.0 <= session.lag_s <= 6.5
        assert gate.calls == 1
        gate.open.set()
        await session.push(one.samples[taken:])
        await session.flush()

        assert keys([event async for event in session]) == one.texts


async def test_silence_behind_a_slow_decode_holds_nobody_up() -> None:
    one = script([("one", 0.5, 0.4), ("two", 0.0, 0.4)], end_s=20.0)
    sound = one.samples
    gate = Gate(Ears(one))
    async with live(gate, max_lag_s=5.0).session(rate=RATE) as session:
        with anyio.fail_after(60):
            async with anyio.create_task_group() as group:
                group.start_soon(session.push, sound)
                await anyio.sleep(0.2)
                gate.open.set()
        await session.flush()

        assert keys([event async for event in session]) == one.texts


async def test_who_does_not_read_finds_the_newest_of_each_segment() -> None:
    one = script([(f"w{i}", 0.8 if i % 4 == 0 else 0.05, 0.4) for i in range(16)])
    async with live(Ears(one)).session(rate=RATE) as session:
        await session.push(one.samples)
        await session.flush()
        events = [event async for event in session]

    assert len(events) == 4
    assert all(event.final for event in events)
    assert keys(events) == one.texts


@attrs.define
class Faulty:
    """An engine that fails some times."""

    engine: Ears
    failures: int
    retryable: bool = True
    calls: int = 0

    async def transcribe(self, audio: Audio) -> Transcript:
        self.calls += 1
        if self.failures:
            self.failures -= 1
            raise TranscriptionError("no", model="faulty", retryable=self.retryable)
        return await self.engine.transcribe(audio)


async def test_what_may_be_tried_again_is() -> None:
    one = plain(10)
    engine = Faulty(Ears(one), failures=2)

    assert keys(await heard(live(engine), [one.samples])) == one.texts


@pytest.mark.parametrize(
    ("engine", "calls"),
    [
        (Faulty(Ears(plain(10)), failures=99), 3),
        (Faulty(Ears(plain(10)), failures=99, retryable=False), 1),
    ],
    ids=["again and again", "for good"],
)
async def test_an_engine_that_fails_is_told_to_everybody(
    engine: Faulty, calls: int
) -> None:
    engine.calls = 0
    one = plain(10)
    async with live(engine).session(rate=RATE) as session:
        with contextlib.suppress(TranscriptionError):  # it may fail as early as here
            await session.push(one.samples)
        with pytest.raises(TranscriptionError):
            await session.flush()
        with pytest.raises(TranscriptionError):
            await session.push(one.samples)
        with pytest.raises(TranscriptionError):
            [event async for event in session]
    assert engine.calls == calls


@pytest.mark.parametrize("step", [160, 3_200])
async def test_each_channel_has_its_own_words(step: int) -> None:
    left = script([(f"l{i}", 0.1 if i else 0.5, 0.3) for i in range(8)], end_s=6.0)
    right = script([(f"r{i}", 0.1 if i else 4.5, 0.3) for i in range(8)])
    length = min(left.length, right.length)
    both = np.hstack([left.samples[:length], right.samples[:length]])
    engine = Either(left, right)

    events = await heard(live(engine), cut(both, step))

    ours = [[e for e in events if e.channel == channel] for channel in (0, 1)]
    assert keys(ours[0]) == left.texts
    assert keys(ours[1]) == right.texts
    assert {e.segment_id % 2 for e in ours[0]} == {0}
    assert {e.segment_id % 2 for e in ours[1]} == {1}


@attrs.define
class Either:
    """Hears which of two scripts it is by its words' loudness."""

    left: Script
    right: Script
    decodes: int = 0

    async def transcribe(self, audio: Audio) -> Transcript:
        self.decodes += 1
        parts = [
            one.samples[audio.start : audio.start + audio.frames]
            for one in (self.left, self.right)
        ]
        same = [
            len(part) == audio.frames and np.allclose(part, audio.samples)
            for part in parts
        ]
        one = self.left if same[0] else self.right
        return await Ears(one).transcribe(audio)


async def test_one_signal_on_both_channels_is_heard_once() -> None:
    one = plain(20)

    events = await heard(live(Either(one, one)), [np.repeat(one.samples, 2, axis=1)])

    # How the words are written hangs on when the engine was asked, and so on the clock.
    assert keys(events) == one.texts
    assert {event.channel for event in events} == {None}


def test_one_signal_on_both_channels_is_heard_as_one_is_with_no_more_decodes() -> None:
    one = plain(20)
    engine = Either(one, one)

    # On a clock that stands still: after a decode that takes long the next one waits.
    alone = in_no_time(lambda: heard(live(engine), [one.samples]))
    decodes = engine.decodes
    both = in_no_time(lambda: heard(live(engine), [np.repeat(one.samples, 2, axis=1)]))

    assert engine.decodes == 2 * decodes > 0
    assert [event.text for event in finals(both)] == [e.text for e in finals(alone)]


async def test_a_second_voice_after_one_signal_is_heard() -> None:
    first, second = plain(6), plain(6, first=50)
    silent = np.zeros_like(second.samples)
    sound = np.vstack(
        [
            np.repeat(first.samples, 2, axis=1),
            np.hstack([silent, second.samples]),
        ]
    )
    offset = first.length
    moved = tuple(
        attrs.evolve(word, start=word.start + offset, end=word.end + offset)
        for word in second.words
    )
    ears = Ears(Script((*first.words, *moved), len(sound)))

    events = await heard(live(ears), cut(sound, 1_600))

    assert keys(events) == [*first.texts, *second.texts]
    assert [event.channel for event in finals(events)] == [None, 1]


async def test_a_mix_is_one_signal() -> None:
    one = plain(10)

    events = await heard(
        live(Ears(one), channels="mix"), [np.repeat(one.samples, 2, axis=1)]
    )

    assert keys(events) == one.texts
    assert {event.channel for event in events} == {None}


@pytest.mark.parametrize("rate", [8_000, 44_100, 48_000])
async def test_sound_of_any_rate_is_heard(rate: int) -> None:
    one = plain(10)
    at = np.arange(0, one.length, RATE / rate).astype(int)

    events = await heard(live(Ears(one)), [one.samples[at]], rate=rate)

    assert keys(events) == one.texts


async def test_an_engine_that_streams_is_driven_directly() -> None:
    one = script([("a", 0.5, 0.8), ("b", 1.5, 0.8)])

    events = await heard(
        LiveTranscriber(FakeStreamingTranscriber("hello")), cut(one.samples, 800)
    )

    assert [event.text for event in events] == ["hello", "hello"]
    assert all(event.final and event.stable == 5 for event in events)


async def test_a_stream_that_an_engine_hears_in_mono_may_have_two_channels() -> None:
    one = script([("a", 0.5, 0.8)])
    transcriber = LiveTranscriber(
        FakeStreamingTranscriber("hello"), options=LiveOptions(channels="mix")
    )

    events = await heard(transcriber, [np.repeat(one.samples, 2, axis=1)])

    assert [event.text for event in events] == ["hello"]
