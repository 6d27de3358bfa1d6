"""What a service has heard, out of what it says."""

from __future__ import annotations

import itertools
import json
from typing import TYPE_CHECKING

import attrs

from voicepipe.asr.guards import heard_segment, heard_word
from voicepipe.asr.openai.languages import language_code
from voicepipe.types import Segment


if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from voicepipe.types import Word


# Between the words of a service that makes no segments, seconds.
_PAUSE_S = 1.0


class NoAnswerError(ValueError):
    """A service's answer holds no transcript; the message never quotes it."""


@attrs.frozen(kw_only=True)
class Heard:
    """
    What was heard in one file, in its own times.

    Attributes:
        segments: In the service's order. Without times, one that begins and ends at 0.
        language: ISO 639-1 code, ``None`` where the service does not say.
        timed: Whether there are times.
    """

    segments: tuple[Segment, ...]
    language: str | None
    timed: bool


def heard_in(body: bytes, *, plain: bool) -> Heard:
    """
    Read an answer: OpenAI's, or one of the many that are almost like it.

    Segments may have their words, or the words stand beside them; there may be only
    words, or only text. Times may be numbers or their text, missing or impossible: what
    that leaves is for the guards to mend. What is of the wrong kind is passed over.

    Args:
        body: As it came.
        plain: Whether plain text was asked for.

    Raises:
        NoAnswerError: If there is no text in it that was meant as one.
    """
    data = _parsed(body, plain=plain)
    language = _language(data)
    if segments := tuple(_segments(data)):
        return Heard(segments=segments, language=language, timed=True)
    text = data.get("text")
    if not isinstance(text, str):
        text = " ".join(map(_text, _rows(data.get("segments"))))
        if not text and "segments" not in data:
            raise NoAnswerError("the answer has no text")
    segments = (heard_segment(text, 0.0, 0.0),) if text.strip() else ()
    return Heard(segments=segments, language=language, timed=False)


def _parsed(body: bytes, *, plain: bool) -> dict[str, object]:
    text = body.decode("utf-8", "replace")
    begin = text.lstrip("\ufeff \t\r\n")[:200].lower()
    if begin.startswith(("<!doctype", "<html", "<?xml")):
        raise NoAnswerError("the answer is a web page")
    if plain:
        return {"text": text}
    try:
        data = json.loads(text)
    except (ValueError, RecursionError):
        # Not as its cause: the parser's error holds the whole text.
        data = None
    if not isinstance(data, dict):
        raise NoAnswerError("the answer is not a JSON object")
    return data


def _language(data: dict[str, object]) -> str | None:
    languages = data.get("languages")
    if isinstance(languages, list) and len(languages) == 1:
        only = languages[0]
        return language_code(only.get("code") if isinstance(only, dict) else only)
    return language_code(data.get("language"))


def _segments(data: dict[str, object]) -> Iterator[Segment]:
    """Give the segments of an answer that has words or segments with times."""
    rows = [row for row in _rows(data.get("segments")) if _text(row)]
    beside = list(_words(data.get("words")))
    if not rows:
        text = data.get("text")
        yield from _phrases(beside, text if isinstance(text, str) else "")
        return
    starts = [_number(row.get("start")) for row in rows]
    own = [tuple(_words(row.get("words"))) for row in rows]
    if not any(own):
        own = _shared_out(beside, starts)
    if not any(own) and all(start is None for start in starts):
        return
    for row, start, words in zip(rows, starts, own, strict=True):
        text = _text(row)
        near = words[0].start if words else 0.0
        yield heard_segment(
            text,
            words[0].start if words else start,
            words[-1].end if words else _number(row.get("end")),
            words=punctuated(words, text),
            near=near,
        )


def _words(value: object) -> Iterator[Word]:
    near = 0.0
    for row in _rows(value):
        text = row.get("word", row.get("text"))
        if isinstance(text, str) and text.strip():
            probability = _number(row.get("probability"))
            word = heard_word(
                text,
                _number(row.get("start")),
                _number(row.get("end")),
                near=near,
                probability=probability,
            )
            near = word.end
            yield word


def _shared_out(
    words: Sequence[Word], starts: Sequence[float | None]
) -> list[tuple[Word, ...]]:
    """Give each segment the words whose middle is in it."""
    shared: list[list[Word]] = [[] for _ in starts]
    at = 0
    for word in words:
        middle = (word.start + word.end) / 2
        while at + 1 < len(starts) and middle >= (_or(starts[at + 1], middle + 1.0)):
            at += 1
        shared[at].append(word)
    return [tuple(own) for own in shared]


def _or(value: float | None, otherwise: float) -> float:
    return otherwise if value is None else value


def _phrases(words: Sequence[Word], text: str) -> Iterator[Segment]:
    """Make segments of words, which end at pauses."""
    if not words:
        return
    whole = heard_segment(
        text or " ".join(word.text for word in words),
        words[0].start,
        words[-1].end,
        words=punctuated(words, text),
    )
    pauses = (
        at
        for at, (one, other) in enumerate(itertools.pairwise(words), start=1)
        if other.start - one.end >= _PAUSE_S
    )
    yield from divided(whole, pauses)


def divided(segment: Segment, places: Iterable[int]) -> Iterator[Segment]:
    """
    Divide a segment between words.

    Args:
        segment: One with words.
        places: Before which words, counted from 0.
    """
    bounds = [0, *places, len(segment.words)]
    if len(bounds) == 2:
        yield segment
        return
    for begin, end in itertools.pairwise(bounds):
        words = segment.words[begin:end]
        text = " ".join(word.text for word in words)
        yield attrs.evolve(
            segment,
            start=words[0].start,
            end=max(words[-1].end, words[0].start),
            text=text,
            words=words,
        )


def punctuated(words: Sequence[Word], text: str) -> tuple[Word, ...]:
    """Give words the commas and stops of their text, which OpenAI leaves out there."""
    tokens = text.split()
    if [_bare(token) for token in tokens] != [_bare(word.text) for word in words]:
        return tuple(words)
    return tuple(
        attrs.evolve(word, text=token)
        for word, token in zip(words, tokens, strict=True)
    )


def _bare(text: str) -> str:
    return "".join(char for char in text.casefold() if char.isalnum())


def _rows(value: object) -> list[dict[str, object]]:
    return (
        [row for row in value if isinstance(row, dict)]
        if isinstance(value, list)
        else []
    )


def _text(row: dict[str, object]) -> str:
    text = row.get("text")
    return text.strip() if isinstance(text, str) else ""


def _number(value: object) -> float | None:
    """Read a number, which some services write as text: ``"1.5"``, ``"1.5s"``."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        number = float(value.removesuffix("s") if isinstance(value, str) else value)
    except (ValueError, OverflowError):
        return None
    return number
