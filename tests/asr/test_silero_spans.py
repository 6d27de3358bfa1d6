from __future__ import annotations

import faster_whisper.vad as peer  # noqa: TID253 - the rules to agree with
import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from voicepipe.asr.silero.spans import HOP, SileroOptions, SpanFinder, speech_spans
from voicepipe.asr.whisper.options import BATCHED_SPEECH, ENGINE_SPEECH


# Runs of one probability each; those that are compared with lie on both sides.
RUNS = st.lists(
    st.tuples(
        st.sampled_from([0.0, 0.1, 0.349_999_99, 0.35, 0.4, 0.5, 0.6, 0.9, 1.0]),
        st.integers(1, 12),
    ),
    max_size=40,
)
MILLISECONDS = st.sampled_from([0, 10, 30, 32, 64, 98, 100, 250, 400, 500, 2_000])


def probabilities_of(runs: list[tuple[float, int]]) -> npt.NDArray[np.float32]:
    return np.array([p for p, count in runs for _ in range(count)], np.float32)


def found(
    probabilities: npt.NDArray[np.float32], frames: int, options: SileroOptions
) -> list[tuple[int, int]]:
    spans = speech_spans(probabilities, frames, options)
    return [(span.start, span.end) for span in spans]


def found_by_peer(
    probabilities: npt.NDArray[np.float32], frames: int, options: peer.VadOptions
) -> list[tuple[int, int]]:
    """Let faster-whisper's rules have these probabilities instead of its model's."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(peer, "get_vad_model", lambda: lambda _audio: probabilities)
        spans = peer.get_speech_timestamps(np.zeros(frames, np.float32), options)
    return [(span["start"], span["end"]) for span in spans]


@given(
    runs=RUNS,
    last=st.sampled_from([0.0, 0.4, 0.7]),
    rest=st.integers(0, HOP - 1),
    threshold=st.sampled_from([0.5, 0.1, 0.9]),
    end_threshold=st.sampled_from([None, 0.35, 0.05, 0.5]),
    min_speech=MILLISECONDS,
    max_speech_s=st.sampled_from([float("inf"), 0.2, 0.5, 1.0, 3.0]),
    min_silence=MILLISECONDS,
    pad=MILLISECONDS,
)
@settings(max_examples=1_500)
def test_the_spans_are_those_of_faster_whisper(
    runs: list[tuple[float, int]],
    last: float,
    rest: int,
    threshold: float,
    end_threshold: float | None,
    min_speech: int,
    max_speech_s: float,
    min_silence: int,
    pad: int,
) -> None:
    probabilities = probabilities_of([*runs, (last, 1)])
    frames = (len(probabilities) - 1) * HOP + rest

    ours = found(
        probabilities,
        frames,
        SileroOptions(
            threshold=threshold,
            end_threshold=end_threshold,
            min_speech_s=min_speech / 1_000,
            max_speech_s=max_speech_s,
            min_silence_s=min_silence / 1_000,
            pad_s=pad / 1_000,
        ),
    )

    assert ours == found_by_peer(
        probabilities,
        frames,
        peer.VadOptions(
            threshold=threshold,
            neg_threshold=end_threshold,
            min_speech_duration_ms=min_speech,
            max_speech_duration_s=max_speech_s,
            min_silence_duration_ms=min_silence,
            speech_pad_ms=pad,
        ),
    )


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (ENGINE_SPEECH, peer.VadOptions()),
        # As BatchedInferencePipeline.transcribe sets them.
        (BATCHED_SPEECH, peer.VadOptions(min_silence_duration_ms=160)),
    ],
)
def test_a_whisper_model_is_given_what_faster_whisper_gives_it(
    ours: SileroOptions, theirs: peer.VadOptions
) -> None:
    assert ours == SileroOptions(
        threshold=theirs.threshold,
        end_threshold=theirs.neg_threshold,
        min_speech_s=theirs.min_speech_duration_ms / 1_000,
        max_speech_s=ours.max_speech_s,
        min_silence_s=theirs.min_silence_duration_ms / 1_000,
        pad_s=theirs.speech_pad_ms / 1_000,
    )


@given(
    runs=RUNS,
    cuts=st.lists(st.integers(0, 200), max_size=10).map(sorted),
    min_silence=MILLISECONDS,
    max_speech_s=st.sampled_from([float("inf"), 0.5]),
    pad=MILLISECONDS,
)
@settings(max_examples=300)
def test_spans_are_apart_and_inside_however_the_probabilities_come(
    runs: list[tuple[float, int]],
    cuts: list[int],
    min_silence: int,
    max_speech_s: float,
    pad: int,
) -> None:
    probabilities = probabilities_of(runs)
    frames = len(probabilities) * HOP
    options = SileroOptions(
        min_silence_s=min_silence / 1_000, max_speech_s=max_speech_s, pad_s=pad / 1_000
    )
    finder = SpanFinder(options)

    spans = [s for p in np.array_split(probabilities, cuts) for s in finder.push(p)]
    spans.extend(finder.flush(frames))

    assert tuple(spans) == speech_spans(probabilities, frames, options)
    flat = [frame for span in spans for frame in (span.start, span.end)]
    assert flat == sorted(flat)
    assert all(span.start < span.end for span in spans)
    assert not flat or (flat[0] >= 0 and flat[-1] <= frames)


@pytest.mark.parametrize(("hops", "spans"), [(3, 0), (4, 1)])
def test_what_lasts_a_tenth_of_a_second_is_no_word(hops: int, spans: int) -> None:
    probabilities = probabilities_of([(0.0, 10), (1.0, hops), (0.0, 20)])

    assert len(speech_spans(probabilities, len(probabilities) * HOP)) == spans


def test_pauses_shorter_than_both_margins_are_shared() -> None:
    probabilities = probabilities_of([(0.0, 5), (1.0, 5), (0.0, 5), (1.0, 5), (0.0, 5)])
    options = SileroOptions(min_silence_s=0.1, pad_s=0.1)

    assert found(probabilities, 25 * HOP, options) == [
        (5 * HOP - 1_600, 10 * HOP + 5 * HOP // 2),
        (15 * HOP - 5 * HOP // 2, 20 * HOP + 1_600),
    ]


def test_a_span_comes_as_soon_as_nothing_can_change_it() -> None:
    finder = SpanFinder(SileroOptions(min_silence_s=0.25, pad_s=0.1))
    silence = np.zeros(1, np.float32)
    finder.push(np.ones(10, np.float32))

    waited = 0
    while not finder.push(silence):
        waited += 1

    assert waited * HOP / 16_000 == pytest.approx(0.25, abs=0.033)


def test_speech_that_never_ends_is_cut_where_it_must() -> None:
    probabilities = probabilities_of([(1.0, 100)])
    options = SileroOptions(max_speech_s=1.0, pad_s=0.0)

    spans = found(probabilities, 100 * HOP, options)

    assert len(spans) == 4
    assert max(end - start for start, end in spans) <= 16_000
    assert sum(end - start for start, end in spans) >= 97 * HOP


@pytest.mark.parametrize("frames", [9 * HOP - 1, 10 * HOP + 1, 0])
def test_probabilities_of_another_sound_are_refused(frames: int) -> None:
    with pytest.raises(ValueError, match="10 probabilities do not belong"):
        speech_spans(np.zeros(10, np.float32), frames)


def test_a_flushed_finder_takes_no_more() -> None:
    finder = SpanFinder()
    finder.flush(0)

    with pytest.raises(ValueError, match="flushed"):
        finder.push(np.ones(1, np.float32))
    with pytest.raises(ValueError, match="flushed"):
        finder.flush(0)


@pytest.mark.parametrize(
    "options",
    [
        {"threshold": 0.0},
        {"threshold": 1.1},
        {"end_threshold": 0.0},
        {"min_speech_s": -0.1},
        {"max_speech_s": 0.0},
        {"min_silence_s": -0.1},
        {"pad_s": -0.1},
        {"pad_s": float("nan")},
    ],
)
def test_options_out_of_range_are_refused(options: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=next(iter(options))):
        SileroOptions(**options)
