from __future__ import annotations

import contextlib
import json
import math
import traceback
from typing import Any

import pytest
import python_multipart
from hypothesis import example, given
from hypothesis import strategies as st

from voicepipe.asr.openai.answer import NoAnswerError, heard_in
from voicepipe.asr.openai.encode import SoundFile
from voicepipe.asr.openai.languages import language_code
from voicepipe.asr.openai.limits import limits_of
from voicepipe.asr.openai.multipart import form_with_file


def heard(data: Any) -> list[tuple[str, float, float, list[tuple[str, float, float]]]]:
    found = heard_in(json.dumps(data).encode(), plain=False)
    return [
        (s.text, s.start, s.end, [(w.text, w.start, w.end) for w in s.words])
        for s in found.segments
    ]


def test_words_beside_the_segments_are_shared_out() -> None:
    data = {
        "text": "Hello, you. And I?",
        "segments": [
            {"start": 0.0, "end": 1.5, "text": " Hello, you."},
            {"start": 1.5, "end": 3.0, "text": " And I?"},
        ],
        "words": [
            {"word": "Hello", "start": 0.2, "end": 0.6},
            {"word": "you", "start": 0.7, "end": 1.0},
            {"word": "And", "start": 1.48, "end": 1.8},
            {"word": "I", "start": 1.9, "end": 2.0},
        ],
    }

    assert heard(data) == [
        ("Hello, you.", 0.2, 1.0, [("Hello,", 0.2, 0.6), ("you.", 0.7, 1.0)]),
        ("And I?", 1.48, 2.0, [("And", 1.48, 1.8), ("I?", 1.9, 2.0)]),
    ]


def test_words_inside_of_segments_are_taken_before_those_beside() -> None:
    word = {"word": " hi", "start": 0.5, "end": 0.9, "probability": 0.75}
    segment = {"text": " hi", "start": 0.0, "end": 1.0, "words": [word]}

    [found] = heard_in(
        json.dumps({"segments": [segment], "words": [word, word]}).encode(),
        plain=False,
    ).segments

    [only] = found.words
    assert (only.text, only.start, only.end, only.probability) == ("hi", 0.5, 0.9, 0.75)


def test_words_alone_become_phrases_that_end_at_pauses() -> None:
    words = [
        {"word": "one", "start": 0.0, "end": 0.5},
        {"word": "two", "start": 0.6, "end": 1.0},
        {"word": "three", "start": 2.0, "end": 2.5},
    ]

    assert [s[:3] for s in heard({"text": "One two. Three.", "words": words})] == [
        ("One two.", 0.0, 1.0),
        ("Three.", 2.0, 2.5),
    ]
    assert [s[0] for s in heard({"text": "12 3.", "words": words})] == [
        "one two",
        "three",
    ]
    assert [s[0] for s in heard({"words": words})] == ["one two", "three"]


def test_times_may_be_text() -> None:
    segment = {"text": "a b", "start": "1.5", "end": "2.5s"}
    word = {"word": "a", "start": "1.5s", "end": " 2.0 "}

    assert heard({"segments": [segment]}) == [("a b", 1.5, 2.5, [])]
    assert heard({"segments": [segment], "words": [word]}) == [
        ("a b", 1.5, 2.0, [("a", 1.5, 2.0)])
    ]


def test_only_text_is_one_segment_without_times() -> None:
    found = heard_in(b'{"text": " all of it\\n", "usage": {}}', plain=False)

    assert [segment.text for segment in found.segments] == ["all of it"]
    assert not found.timed
    assert heard_in(b'{"text": " "}', plain=False).segments == ()
    assert heard_in(b'{"text": "", "segments": []}', plain=False).segments == ()
    assert heard_in(b'{"segments": []}', plain=False).segments == ()


def test_segments_without_times_are_only_text() -> None:
    found = heard_in(b'{"segments": [{"text": "a"}, {"text": " b"}]}', plain=False)

    assert [segment.text for segment in found.segments] == ["a b"]
    assert not found.timed


def test_plain_text_is_text_whatever_is_in_it() -> None:
    for text in (b'{"text": "no"}', b"hello\n", "\u00e4\u20ac".encode(), b"[1]"):
        [segment] = heard_in(text, plain=True).segments
        assert segment.text == text.decode().strip()
    assert heard_in(b" \n", plain=True).segments == ()


junk = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=8)
    | st.sampled_from(["1.5", "nan", "-3", "1e999", 10**400]),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(
                ["text", "segments", "words", "word", "start", "end", "language", "x"]
            ),
            inner,
            max_size=5,
        )
    ),
    max_leaves=30,
)
rows = st.lists(
    st.fixed_dictionaries(
        {},
        optional={
            "text": st.text(max_size=6) | junk,
            "word": st.text(max_size=6) | junk,
            "start": st.floats() | junk,
            "end": st.floats() | junk,
            "probability": st.floats() | junk,
            "words": junk,
        },
    ),
    max_size=5,
)


@given(
    st.fixed_dictionaries(
        {},
        optional={
            "text": st.text(max_size=10) | junk,
            "segments": rows | junk,
            "words": rows | junk,
            "language": junk,
            "languages": junk,
        },
    )
    | junk
)
@example({"segments": [{"text": "a", "start": 1}], "words": [{"word": "a"}]})
def test_junk_is_a_transcript_or_none_and_never_another_error(data: Any) -> None:
    try:
        found = heard_in(json.dumps(data).encode(), plain=False)
    except NoAnswerError:
        return
    for segment in found.segments:
        assert segment.text.strip() == segment.text != ""
        assert 0 <= segment.start <= segment.end < math.inf
        for word in segment.words:
            assert word.text.strip() == word.text != ""
            assert 0 <= word.start <= word.end < math.inf


@given(st.binary(max_size=60))
def test_bytes_are_a_transcript_or_none(data: bytes) -> None:
    for plain in (False, True):
        with contextlib.suppress(NoAnswerError):
            heard_in(data, plain=plain)


@pytest.mark.parametrize("body", [b"s3cret", b'{"a": "s3cret"}', b"<html>s3cret"])
def test_the_error_does_not_quote_the_answer(body: bytes) -> None:
    with pytest.raises(NoAnswerError) as told:
        heard_in(body, plain=False)
    assert "s3cret" not in "".join(traceback.format_exception(told.value))


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("english", "en"),
        ("English", "en"),
        ("en", "en"),
        ("EN-us", "en"),
        ("pt_BR", "pt"),
        ("haitian creole", "ht"),
        ("cantonese", "yue"),
        ("javanese", "jv"),
        ("jw", "jv"),
        ("norwegian", "no"),
        ("klingon", None),
        ("xx", None),
        ("", None),
        (None, None),
        (7, None),
        (["en"], None),
    ],
)
def test_a_language_is_known_by_its_name_or_its_code(
    name: object, code: str | None
) -> None:
    assert language_code(name) == code


def test_every_language_of_whisper_is_known() -> None:
    from faster_whisper.tokenizer import _LANGUAGE_CODES

    expected = {"jv" if code == "jw" else code for code in _LANGUAGE_CODES}
    assert {language_code(code) for code in _LANGUAGE_CODES} == expected


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({"text": "a", "languages": [{"code": "fr"}]}, "fr"),
        ({"text": "a", "languages": []}, None),
        ({"text": "a", "languages": [{"code": "fr"}, {"code": "de"}]}, None),
        ({"text": "a", "language": "german"}, "de"),
        ({"text": "a"}, None),
    ],
)
def test_the_language_is_read_in_both_forms(body: Any, code: str | None) -> None:
    assert heard_in(json.dumps(body).encode(), plain=False).language == code


def test_snapshots_of_a_model_have_its_limits() -> None:
    assert limits_of("gpt-4o-mini-transcribe-2025-12-15").response_format == "json"
    diarize = limits_of("gpt-4o-transcribe-diarize")
    assert diarize.response_format == "diarized_json"
    assert limits_of("gpt-transcribe").response_format == "json"
    assert limits_of("whisper-1").response_format == "verbose_json"
    assert limits_of("Systran/faster-whisper-small").response_format == "verbose_json"


names = st.text(
    st.characters(exclude_categories=["Cs"]), min_size=1, max_size=12
).filter(lambda name: "\\" not in name)


@given(
    fields=st.lists(
        st.tuples(names, st.text(st.characters(exclude_categories=["Cs"]))), max_size=4
    ),
    name=names,
    data=st.binary(max_size=200),
)
def test_a_form_is_what_another_parser_reads(
    fields: list[tuple[str, str]], name: str, data: bytes
) -> None:
    file = SoundFile(name=name, content_type="audio/flac", data=data)

    body = form_with_file(fields, file)

    found: list[Any] = []
    files: list[Any] = []
    parser = python_multipart.create_form_parser(
        {"Content-Type": body.content_type.encode()}, found.append, files.append
    )
    parser.write(b"".join(body.parts))
    parser.finalize()

    def quoted(text: str) -> bytes:
        for char, code in (('"', "%22"), ("\r", "%0D"), ("\n", "%0A")):
            text = text.replace(char, code)
        return text.encode()

    assert [(one.field_name, one.value or b"") for one in found] == [
        (quoted(key), value.encode()) for key, value in fields
    ]
    [only] = files
    only.file_object.seek(0)
    assert (only.field_name, only.file_name) == (b"file", quoted(name))
    assert only.file_object.read() == data
    parser.close()
    only.close()


def test_two_forms_have_two_boundaries() -> None:
    file = SoundFile(name="a.wav", content_type="audio/wav", data=b"")
    assert (
        form_with_file([], file).content_type != form_with_file([], file).content_type
    )
