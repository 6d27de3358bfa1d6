from __future__ import annotations

import functools
import io
import itertools
from typing import TYPE_CHECKING

import anyio
import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st
from watched_sound import Gate, watched

from voicepipe.asr.guards import heard_segment, heard_word
from voicepipe.asr.openai.answer import Heard
from voicepipe.asr.openai.encode import encoded
from voicepipe.asr.openai.options import OpenAIOptions
from voicepipe.asr.openai.pieces import PAD_S, PAUSE_S, RATE, Pcm, Piece, pieces_of
from voicepipe.asr.openai.placing import placed
from voicepipe.asr.openai.service import Request, Service
from voicepipe.stream.vad import SpeechSpan


if TYPE_CHECKING:
    from collections.abc import Callable


SECONDS = 120
NOISE = np.random.default_rng(1).integers(-3_000, 3_000, SECONDS * RATE, np.int16)
WHOLE = Piece(parts=(SpeechSpan(0, SECONDS * RATE),))


@st.composite
def speeches(draw: st.DrawFn) -> list[SpeechSpan]:
    edges = sorted(
        draw(
            st.lists(
                st.integers(0, SECONDS * RATE), unique=True, min_size=0, max_size=16
            )
        )
    )
    return [SpeechSpan(a, b) for a, b in zip(edges[::2], edges[1::2], strict=False)]


def sound(piece: Piece) -> Pcm:
    return np.concatenate(piece.sounds(NOISE))


def parts_of(pieces: list[Piece]) -> list[SpeechSpan]:
    return [part for piece in pieces for part in piece.parts]


@settings(max_examples=60)
@given(speech=speeches(), max_s=st.floats(1.0, 130.0), together=st.booleans())
def test_all_speech_is_sent_once_in_pieces_that_are_short_enough(
    speech: list[SpeechSpan], max_s: float, *, together: bool
) -> None:
    pieces = pieces_of(NOISE, speech, max_s=max_s, together=together)

    parts = parts_of(pieces)
    assert all(0 <= part.start < part.end <= len(NOISE) for part in parts)
    assert all(a.end <= b.start for a, b in itertools.pairwise(parts))
    assert all(piece.frames <= max_s * RATE for piece in pieces)
    sent = np.zeros(len(NOISE), bool)
    for part in parts:
        sent[part.start : part.end] = True
    pad = round(PAD_S * RATE)
    for span in speech:
        # Whole, with what is around it.
        assert sent[max(0, span.start - pad) : span.end + pad].all()
    # And no pause that is long.
    quiet = ~sent
    for one, other in itertools.pairwise(speech):
        if other.start - one.end >= (PAUSE_S + 2 * PAD_S) * RATE:
            assert quiet[one.end + pad : other.start - pad].all()
    if not together:
        assert all(len(piece.parts) == 1 for piece in pieces)


@settings(max_examples=60)
@given(speech=speeches(), data=st.data())
def test_halves_are_the_whole(speech: list[SpeechSpan], data: st.DataObject) -> None:
    for piece in pieces_of(NOISE, speech, max_s=60.0, together=True):
        halves = piece.halves(NOISE)
        if halves is None:
            assert piece.seconds < 2.0
            continue
        one, other = halves
        assert min(one.frames, other.frames) >= piece.frames // 4
        joined = np.concatenate([sound(one), sound(other)])
        assert np.array_equal(joined, sound(piece))


@settings(max_examples=60)
@given(speech=speeches(), data=st.data())
def test_a_moment_of_a_piece_is_the_moment_it_was_cut_from(
    speech: list[SpeechSpan], data: st.DataObject
) -> None:
    for piece in pieces_of(NOISE, speech, max_s=60.0, together=True):
        frame = data.draw(st.integers(0, piece.frames - 1))
        value = sound(piece)[frame]
        start, end = piece.moments(frame / RATE, (frame + 1) / RATE)
        assert NOISE[round(start * RATE)] == value
        assert round((end - start) * RATE) == 1
        assert piece.within(frame / RATE, (frame + 1) / RATE) == (start, end)


def test_a_cut_is_made_where_it_is_quiet() -> None:
    track = NOISE.copy()
    # A pause every seven seconds, of half a second.
    for at in range(7, SECONDS, 7):
        track[at * RATE : at * RATE + RATE // 2] = 0
    whole = [SpeechSpan(0, len(track))]

    parts = parts_of(pieces_of(track, whole, max_s=30.0, together=True))

    assert len(parts) <= 6
    for part in parts[1:]:
        assert 0.1 < part.start / RATE % 7 < 0.4


def test_no_piece_is_a_scrap() -> None:
    for length in (30.01, 31.0, 45.0, 60.01, 89.99, 120.0):
        whole = [SpeechSpan(0, round(length * RATE))]
        pieces = pieces_of(NOISE[: whole[0].end], whole, max_s=30.0, together=True)
        assert min(piece.seconds for piece in pieces) > 7.0


PIECE = Piece(
    parts=(
        SpeechSpan(10 * RATE, 12 * RATE),  # 0 to 2 s of the file
        SpeechSpan(50 * RATE, 53 * RATE),  # 2 to 5 s
    )
)
SPEECH = [(10.4, 11.6), (50.4, 52.6), (70.0, 71.0)]


def test_a_segment_across_a_pause_that_was_left_out_is_divided() -> None:
    words = [
        heard_word("one", 0.5, 1.0),
        heard_word("two", 1.2, 2.1),  # most of it before the joint
        heard_word("three", 1.95, 2.6),  # most of it behind
        heard_word("four", 3.0, 9.0),  # behind the end
    ]
    heard = Heard(
        segments=(heard_segment("one two three four", 0.5, 9.0, words=words),),
        language=None,
        timed=True,
    )

    first, second = placed(heard, PIECE, SPEECH)

    assert (first.text, second.text) == ("one two", "three four")
    assert (first.start, first.end) == pytest.approx((10.5, 12.0))
    assert [(w.start, w.end) for w in second.words] == [
        pytest.approx((50.0, 50.6)),
        pytest.approx((51.0, 53.0)),
    ]
    assert (second.start, second.end) == pytest.approx((50.0, 53.0))


def test_a_segment_without_words_has_its_two_ends_moved() -> None:
    heard = Heard(
        segments=(heard_segment("all", 0.5, 3.0), heard_segment("end", 4.5, 30.0)),
        language=None,
        timed=True,
    )

    spans = [(one.start, one.end) for one in placed(heard, PIECE, SPEECH)]

    assert spans == [pytest.approx((10.5, 51.0)), pytest.approx((52.5, 53.0))]


def test_text_without_times_stands_for_the_speech_of_its_piece() -> None:
    heard = Heard(segments=(heard_segment("all", 0, 0),), language=None, timed=False)

    [found] = placed(heard, PIECE, SPEECH)
    assert (found.start, found.end) == (10.4, 52.6)
    [found] = placed(heard, PIECE, [])
    assert (found.start, found.end) == (10.0, 53.0)


@pytest.mark.parametrize("kind", ["flac", "wav"])
@pytest.mark.parametrize("frames", [1, 15, 4_608, 65_536, 65_537, 200_000])
def test_a_file_holds_the_very_samples(kind: str, frames: int) -> None:
    noise = np.random.default_rng(2).integers(-32_768, 32_767, frames, np.int16)

    parts = [noise[: frames // 3], noise[frames // 3 :]]
    file = encoded(parts, RATE, kind)  # type: ignore[arg-type]

    found, rate = soundfile.read(io.BytesIO(file.data), dtype="int16")
    assert rate == RATE
    assert np.array_equal(found, noise)
    assert file.name == f"audio.{kind}"
    assert file.content_type == f"audio/{kind}"
    assert "data" not in repr(file)
    assert soundfile.info(io.BytesIO(file.data)).format == kind.upper()


class BrokenOffError(Exception):
    """Nobody wants it any more."""


@pytest.mark.parametrize(
    "work",
    [
        lambda check: encoded([NOISE], RATE, "flac", check=check),
        lambda check: WHOLE.halves(NOISE, check),
        lambda check: pieces_of(
            NOISE, WHOLE.parts, max_s=100.0, together=True, check=check
        ),
    ],
)
def test_long_work_can_be_broken_off_all_along(work: Callable[..., object]) -> None:
    calls = 0

    def check() -> None:
        nonlocal calls
        calls += 1
        if calls == 3:
            raise BrokenOffError

    with pytest.raises(BrokenOffError):
        work(check)


async def test_cancelling_breaks_off_encoding() -> None:
    gate = Gate(20)
    track = watched(np.tile(NOISE, 3), gate)
    piece = Piece(parts=(SpeechSpan(0, len(track)),))

    async with service() as asked:
        await gate.cancelled_there(functools.partial(asked.hear, track, piece))

    assert 20 <= gate.passed < 25


async def test_cancelling_breaks_off_dividing() -> None:
    divided: list[object] = []
    gate = Gate(1)

    class Held(Piece):
        def halves(
            self, track: Pcm, check: Callable[[], object] = bool
        ) -> tuple[Piece, Piece] | None:
            gate()
            divided.append(super().halves(track, check))
            return None

    async with service() as asked:
        await gate.cancelled_there(
            functools.partial(asked.hear, NOISE, Held(parts=WHOLE.parts))
        )

    assert gate.passed == 1
    assert divided == []


def service() -> Service:
    """Give a service that takes 128 KiB at most, and that nobody asks."""
    options = OpenAIOptions(base_url="http://127.0.0.1:9/v1")
    request = Request(
        engine="openai:x",
        fields=(),
        headers={},
        secrets=(),
        plain=False,
        max_bytes=1 << 17,
    )
    return Service(request, options, anyio.CapacityLimiter(1))
