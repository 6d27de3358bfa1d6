"""Live sessions under load, with any options, and for hours."""

from __future__ import annotations

import functools
import itertools
from typing import TYPE_CHECKING, Any

import anyio
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from live_script import RATE, Ears, Script, plain, script
from live_sessions import Slow, cut, in_no_time, keys, live


if TYPE_CHECKING:
    from voicepipe import Hypothesis
    from voicepipe.asr.live.session import LiveSession
    from voicepipe.asr.live.transcriber import LiveTranscriber


def between(low: float, high: float) -> st.SearchStrategy[float]:
    """Give any number of a range, and its borders often."""
    return st.one_of(st.sampled_from([low, high]), st.floats(low, high))


any_options = st.fixed_dictionaries(
    {
        "step_s": between(0.1, 10.0),
        "endpoint_s": between(0.2, 10.0),
        "max_window_s": between(5.0, 30.0),
        "max_lag_s": st.one_of(between(5.0, 15.0), between(15.0, 600.0)),
        "channels": st.sampled_from(["separate", "mix"]),
    }
)

# Clicks, long pauses, and speech without any, three times as long as may wait.
any_speech = st.one_of(
    st.lists(
        st.tuples(
            st.one_of(st.just(0.05), st.floats(0.0, 2.0), st.floats(0.0, 12.0)),
            st.one_of(st.floats(0.02, 0.1), st.floats(0.15, 0.6)),
        ),
        max_size=60,
    ).map(lambda said: script((f"w{i}", *one) for i, one in enumerate(said))),
    st.sampled_from([plain(50, pause_s=0.0), plain(100, pause_s=0.15)]),
)

AGES_S = 1e6
"""So much on a clock that jumps is for ever."""


@given(
    options=any_options,
    one=any_speech,
    takes_s=st.sampled_from([0.0, 0.4, 8.0]),
    channels=st.sampled_from([1, 2]),
    step=st.sampled_from([160, 1_600, 160_000]),
)
@settings(max_examples=30)
def test_with_any_options_sound_is_taken_and_the_stream_ends(
    options: dict[str, Any], one: Script, takes_s: float, channels: int, step: int
) -> None:
    transcriber = live(Slow(one, takes_s), **options)
    sound = np.repeat(one.samples, channels, axis=1)

    async def call() -> list[Hypothesis]:
        async with transcriber.session(rate=RATE, channels=channels) as session:
            with anyio.fail_after(AGES_S):
                for piece in cut(sound, step):
                    await session.push(piece)
                await session.flush()
            return [event async for event in session]

    assert all(event.final for event in in_no_time(call))


@pytest.mark.parametrize("step_s", [0.1, 0.8, 10.0])
@pytest.mark.parametrize("max_lag_s", [5.0, 30.0, 600.0])
def test_at_the_ends_of_the_options_no_word_is_lost_and_no_more_than_may_waits(
    step_s: float, max_lag_s: float
) -> None:
    said = [(f"w{i}", 12.0 if i == 50 else 0.0, 0.3) for i in range(60)]
    one = script(said)
    lags: list[float] = []

    async def call(transcriber: LiveTranscriber) -> list[Hypothesis]:
        async with transcriber.session(rate=RATE) as session:
            with anyio.fail_after(AGES_S):
                for piece in cut(one.samples, 1_600):
                    await session.push(piece)
                    lags.append(session.lag_s)
                await session.flush()
            return [event async for event in session]

    for endpoint_s, max_window_s in itertools.product((0.2, 0.6, 10.0), (5.0, 30.0)):
        transcriber = live(
            Ears(one),
            step_s=step_s,
            max_lag_s=max_lag_s,
            endpoint_s=endpoint_s,
            max_window_s=max_window_s,
        )
        assert keys(in_no_time(functools.partial(call, transcriber))) == one.texts
    assert max(lags) <= min(max_lag_s, step_s + 0.5) + 0.25


@pytest.mark.parametrize(
    ("words", "pause_s"), [(9, 9.0227), (11, 8.4345), (11, 9.5935), (12, 8.556)]
)
def test_a_window_that_grew_in_silence_stops_nobody_who_sends(
    words: int, pause_s: float
) -> None:
    said = [*[("a", 0.05, 0.3)] * words, ("b", pause_s, 0.4)]
    one = script([*said, ("c", 0.05, 0.4)])
    options = {"endpoint_s": 10.0, "max_window_s": 5.0, "max_lag_s": 5.0}

    async def call() -> list[str]:
        transcriber = live(Ears(one), step_s=0.1, **options)
        async with transcriber.session(rate=RATE) as session:
            with anyio.fail_after(AGES_S):
                for piece in cut(one.samples, 1_600):
                    await session.push(piece)
                await session.flush()
            return keys([event async for event in session])

    assert in_no_time(call) == one.texts


def test_lag_is_bounded_under_load_and_nothing_is_lost() -> None:
    """Eight sessions that one engine can only just serve, in real time."""
    one = plain(150, pause_s=0.05)
    engine = Slow(one, takes_s=0.4)
    transcriber = live(engine)
    lags: list[float] = []

    async def call() -> list[str]:
        events: list[Hypothesis] = []

        async def read(session: LiveSession) -> None:
            events.extend([event async for event in session])

        async with (
            transcriber.session(rate=RATE) as session,
            anyio.create_task_group() as group,
        ):
            group.start_soon(read, session)
            for piece in cut(one.samples, 1_600):
                await anyio.sleep(0.1)
                await session.push(piece)
                lags.append(session.lag_s)
            await session.flush()
        return keys(events)

    said: list[list[str]] = []

    async def all_calls() -> None:
        async def one_call() -> None:
            said.append(await call())

        async with anyio.create_task_group() as group:
            for _ in range(8):
                group.start_soon(one_call)

    in_no_time(all_calls)

    assert said == [one.texts] * 8
    # Seven others' decodes and one's own, and one and a half times that until the next.
    assert max(lags) <= 2.5 * 8 * 0.4 + 1.0
    assert engine.longest_s <= 15.1


def test_a_final_text_waits_for_one_decode_of_each_other_session_at_most() -> None:
    takes_s = 0.5
    talk, word = plain(200, pause_s=0.0), script([("yes", 0.5, 0.3)], end_s=3.0)
    engine = Slow(talk, takes_s)
    transcriber = live(engine)
    waits: list[float] = []

    async def noisy() -> None:
        async with transcriber.session(rate=RATE) as session:
            for piece in cut(talk.samples, 1_600):
                await anyio.sleep(0.1)
                await session.push(piece)

    async def brief() -> None:
        await anyio.sleep(5.03)
        for _ in range(8):
            async with transcriber.session(rate=RATE) as session:
                await session.push(word.samples[: round(0.9 * RATE)])
                began = anyio.current_time()
                await session.flush()
                waits.append(anyio.current_time() - began)

    async def all_calls() -> None:
        async with anyio.create_task_group() as group:
            for _ in range(3):
                group.start_soon(noisy)
            group.start_soon(brief)

    in_no_time(all_calls)

    assert max(waits) <= (3 + 1) * takes_s + 0.01
    # Others' decodes that are not urgent wait: what is at work, and then one's own.
    assert np.median(waits) <= 2 * takes_s + 0.01


async def test_the_event_loop_stays_free(least_lag: Any) -> None:
    one = plain(200)
    sound = one.samples

    async def hear() -> None:
        async with live(Ears(one)).session(rate=RATE) as session:
            await session.push(sound)
            await session.flush()

    assert await least_lag(hear) < 0.05
