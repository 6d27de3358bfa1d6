"""Numbers that run over segments, words with times, and what another reads back."""

from __future__ import annotations

from itertools import pairwise
from random import Random

import attrs
import hypothesis.strategies as st
import pytest
from analysis.number_examples import UNITS, card, in_fours, one_by_one, words
from hypothesis import given, settings

from voicepipe.analysis.redaction.options import RedactionOptions
from voicepipe.analysis.redaction.spans import RedactedSpan, redacted_spans
from voicepipe.analysis.redaction.transcript import redact_transcript
from voicepipe.types import Segment, Transcript, Word


WORD_S = 0.5


def call(*lines: str, worded: bool = True, language: str | None = "en") -> Transcript:
    """Make a transcript of lines such as ``A: hello``, a word each half second."""
    segments, at = [], 0.0
    for number, line in enumerate(lines):
        speaker, _, text = line.partition(": ")
        said = text.split()
        words = tuple(
            Word(start=at + WORD_S * n, end=at + WORD_S * (n + 1), text=word)
            for n, word in enumerate(said)
        )
        end = at + WORD_S * len(said)
        segment = Segment(id=number, start=at, end=end, text=text)
        segments.append(
            attrs.evolve(
                segment,
                speaker=None if speaker == "?" else speaker,
                words=words if worded else (),
            )
        )
        at = end + 0.5
    return Transcript(
        segments=tuple(segments), duration=at, model="by hand", language=language
    )


def said(transcript: Transcript) -> list[str]:
    return [segment.text for segment in transcript.segments]


def test_a_number_is_one_word_with_all_of_its_time() -> None:
    before = call("A: it's four one one one 1111 1111 1111. Okay?")
    words = tuple(
        attrs.evolve(word, probability=0.5 + 0.05 * n)
        for n, word in enumerate(before.segments[0].words)
    )
    before = attrs.evolve(
        before, segments=(attrs.evolve(before.segments[0], words=words),)
    )
    done = redact_transcript(before)

    assert done.transcript.segments[0].text == "it's [card]. Okay?"
    assert done.transcript.segments[0].words == (
        words[0],
        Word(start=0.5, end=4.0, text="[card].", probability=0.55),
        words[8],
    )
    assert done.spans == (RedactedSpan(kind="card", segment_id=0, start=0.5, end=4.0),)
    assert done.counts == {"card": 1}
    assert attrs.evolve(done.transcript, segments=()) == attrs.evolve(
        before, segments=()
    )


def test_a_number_goes_on_behind_short_remarks_of_the_other() -> None:
    done = redact_transcript(
        call(
            "A: Can I have the card number?",
            "B: Sure, four one one one",
            "A: Mhm, go on please.",
            "B: one one one one and then",
            "A: yes",
            "B: one one one one, 1111. That's all.",
        )
    )

    assert said(done.transcript) == [
        "Can I have the card number?",
        "Sure, [card]",
        "Mhm, go on please.",
        "[card] and then",
        "yes",
        "[card]. That's all.",
    ]
    assert done.counts == {"card": 1}
    assert [span.segment_id for span in done.spans] == [1, 3, 5]


def test_it_does_not_behind_long_ones_or_a_long_pause() -> None:
    parts = ("B: it is 4111 1111", "B: 1111 1111")
    remark = "A: wait a moment while I look for my glasses somewhere"
    apart = call(*parts)
    last = attrs.evolve(apart.segments[1], start=60.0, end=61.0, words=())
    late = attrs.evolve(apart, segments=(apart.segments[0], last))

    assert said(redact_transcript(apart).transcript) == ["it is [card]", "[card]"]
    assert redact_transcript(call(parts[0], remark, parts[1])).counts == {}
    assert redact_transcript(late).counts == {}


def test_the_parts_of_two_speakers_are_no_number() -> None:
    assert redact_transcript(call("A: it is 4111 1111", "B: 1111 1111")).counts == {}
    assert redact_transcript(call("?: it is 4111 1111", "?: 1111 1111")).counts == {
        "card": 1
    }


def test_what_the_other_reads_back_goes_as_well() -> None:
    done = redact_transcript(
        call(
            "B: it's 4929 1234",
            "A: 4929, 1234, yes",
            "B: 5678 9015",
            "A: nine zero one five at the end, right. I see 35 items and 9 9 7.",
            "B: right",
            "A: And 4929 1234 is what I have in the order.",
        )
    )

    assert said(done.transcript) == [
        "it's [card]",
        "[card], yes",
        "[card]",
        "[card] at the end, right. I see 35 items and 9 9 7.",
        "right",
        "And 4929 1234 is what I have in the order.",
    ]
    assert done.counts == {"card": 1}


def test_what_one_says_again_goes_also_where_nobody_told_speakers_apart() -> None:
    done = redact_transcript(
        call("?: it's 4929 1234 5678 9015", "?: that was 4929 for 12", "?: good")
    )

    assert said(done.transcript) == ["it's [card]", "that was [card] for 12", "good"]
    assert done.counts == {"card": 1}


def test_the_question_of_one_tells_what_the_others_answer_is() -> None:
    asked = "A: And what is your {}?"
    answer = "B: One two three three four five six seven."

    phoned = redact_transcript(call(asked.format("phone number"), answer)).transcript
    ordered = redact_transcript(call(asked.format("order number"), answer)).transcript
    assert said(phoned)[1] == "[phone]."
    assert said(ordered)[1] == answer[3:]


def test_segments_without_words_count_whole() -> None:
    done = redact_transcript(
        call("A: hello", "B: 4111 1111 1111 1111, yes", worded=False)
    )

    assert said(done.transcript)[1] == "[card], yes"
    assert done.spans == (RedactedSpan(kind="card", segment_id=1, start=1.0, end=3.5),)


def test_words_that_are_not_the_texts_are_redacted_as_well() -> None:
    words = call("A: well four one one one 1111 1111 1111").segments[0].words
    segment = Segment(start=0.0, end=9.0, text="It's 4111111111111111.", words=words)
    done = redact_transcript(Transcript(segments=(segment,), duration=9.0, model="x"))

    assert done.transcript.segments[0].text == "It's [card]."
    assert [w.text for w in done.transcript.segments[0].words] == ["well", "[card]"]
    assert done.spans == (RedactedSpan(kind="card", segment_id=0, start=0.5, end=4.0),)

    bare = attrs.evolve(segment, text="It's something.")
    done = redact_transcript(Transcript(segments=(bare,), duration=9.0, model="x"))
    assert done.transcript.segments[0].text == "It's something."
    assert [w.text for w in done.transcript.segments[0].words] == ["well", "[card]"]
    assert [span.end for span in done.spans] == [4.0]


def test_two_numbers_in_one_word_and_one_over_two_words() -> None:
    words = (
        Word(start=0.0, end=1.0, text="a@b.example,4111"),
        Word(start=1.0, end=2.0, text="111111111111!"),
        Word(start=2.0, end=3.0, text="Bye."),
    )
    text = " ".join(word.text for word in words)
    segment = Segment(start=0.0, end=3.0, text=text, words=words)
    done = redact_transcript(Transcript(segments=(segment,), duration=3.0, model="x"))

    assert done.transcript.segments[0].text == "[email],[card]! Bye."
    assert [w.text for w in done.transcript.segments[0].words] == [
        "[email],[card]!",
        "Bye.",
    ]
    assert {(s.kind, s.start, s.end) for s in done.spans} == {
        ("email", 0.0, 2.0),
        ("card", 0.0, 2.0),
    }


def test_only_the_chosen_kinds_go() -> None:
    before = call("A: a@b.example and 4111 1111 1111 1111")
    done = redact_transcript(before, RedactionOptions(kinds=("email",)))

    assert said(done.transcript) == ["[email] and 4111 1111 1111 1111"]
    assert [span.kind for span in done.spans] == ["email"]
    assert redact_transcript(before, RedactionOptions(kinds=())).transcript == before


def test_marks_that_were_there_are_not_counted_again() -> None:
    once = redact_transcript(
        call("A: it's 4111 1111 1111 1111", "B: thanks, a@b.example")
    )
    again = redact_transcript(once.transcript)

    assert again.transcript == once.transcript
    assert (again.spans, again.counts) == ((), {})
    assert redacted_spans(once.transcript) == once.spans


def test_the_channel_is_told() -> None:
    before = call("A: it's 4111 1111 1111 1111")
    segment = attrs.evolve(before.segments[0], channel=1)

    done = redact_transcript(attrs.evolve(before, segments=(segment,)))
    assert [span.channel for span in done.spans] == [1]


@pytest.mark.parametrize("language", ["en", "de", "es", "fr"])
@settings(max_examples=40)
@given(seed=st.integers(0, 10**9), cuts=st.lists(st.integers(1, 60), max_size=4))
def test_wherever_segments_end_no_digit_of_a_card_stays(
    language: str, seed: int, cuts: list[int]
) -> None:
    random = Random(seed)
    number = card(random)
    told = random.choice(
        [one_by_one(random, number, language), in_fours(number, " ")]
    ).split()
    bounds = sorted({0, *(cut for cut in cuts if cut < len(told)), len(told)})
    lines = ["A: your card number please?", "B: hello"]
    for begin, end in pairwise(bounds):
        lines += [f"B: {' '.join(told[begin:end])}", "A: okay"]
    done = redact_transcript(call(*lines, "B: that is all", language=language))
    left = {
        w.strip(",-").casefold() for line in said(done.transcript) for w in line.split()
    }

    assert done.counts == {"card": 1}
    assert not left & {*UNITS[language], "double", "oh"}
    assert not any(c.isdecimal() for word in left for c in word)


LINES = st.lists(
    st.builds(
        "{}: {}".format,
        st.sampled_from("ABC?"),
        st.lists(
            st.sampled_from(
                words(
                    "4111 1111 one two double forty um, and hello at dot com example"
                    " a@b.example +49 151 2345678 555-1234 (555) phone order DE89 3704"
                    " 0044 . 4111111111111111 [card] dollars x\u00e9 1,234,567"
                )
            ),
            max_size=14,
        ).map(" ".join),
    ),
    max_size=7,
)


@settings(max_examples=300)
@given(LINES, st.booleans(), st.sampled_from([None, "en", "de"]))
def test_the_laws_of_redaction(
    lines: list[str],
    worded: bool,  # noqa: FBT001
    language: str | None,
) -> None:
    before = call(*lines, worded=worded, language=language)
    done = redact_transcript(before)

    assert redact_transcript(done.transcript).transcript == done.transcript
    assert redact_transcript(before) == done
    for old, new in zip(before.segments, done.transcript.segments, strict=True):
        kept = attrs.evolve(new, text=old.text, words=old.words)
        assert kept == old
        if worded and new.text.strip():
            assert new.text.split() == " ".join(w.text for w in new.words).split()
            assert new.words[0].start == old.words[0].start
            assert new.words[-1].end == old.words[-1].end
        times = [t for w in new.words for t in (w.start, w.end)]
        assert times == sorted(times)
    assert all(0.0 <= s.start <= s.end <= before.duration for s in done.spans)
    assert sum(done.counts.values()) <= len(done.spans)
    assert Transcript.from_json(done.transcript.to_json()) == done.transcript
