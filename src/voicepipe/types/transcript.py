"""Who said what, when: the values of speech recognition, and their text formats."""

from __future__ import annotations

import re
from html import escape
from typing import TYPE_CHECKING

import attrs

from voicepipe.types import _html, _json
from voicepipe.types.transcription import TranscriptionReport


if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping


CUE_CHARS = 84
"""Characters of a subtitle: two lines of 42 (Netflix English timed text guide, I.4)."""

CUE_S = 7.0
"""Longest time a subtitle stands, seconds (the same guide, general requirements)."""

_UNSPACED = re.compile(r"\S+")


def _check_times(_: object, __: object, end: float) -> None:
    if end < 0:
        msg = f"a time must not be negative: {end}"
        raise ValueError(msg)


def _check_span(
    value: Word | Segment | Turn | Hypothesis, _: object, end: float
) -> None:
    if not 0.0 <= value.start <= end:  # also refuses NaN
        msg = f"times must satisfy 0 <= start <= end: {value.start}, {end}"
        raise ValueError(msg)


@attrs.frozen(kw_only=True)
class Word:
    """
    One recognised word.

    Attributes:
        start: First second of the word, from the start of the recording.
        end: Second at which it ends; ``start <= end``.
        text: The word as it is written, without spaces around it.
        probability: The engine's confidence in [0, 1]; good for ranking words of one
            engine, not calibrated. ``None`` where the engine has none.
    """

    start: float
    end: float = attrs.field(validator=_check_span)
    text: str
    probability: float | None = attrs.field(
        default=None,
        validator=attrs.validators.optional(
            [attrs.validators.ge(0.0), attrs.validators.le(1.0)]
        ),
    )


@attrs.frozen(kw_only=True)
class Segment:
    """
    A stretch of one speaker's speech.

    Attributes:
        id: Its place in the transcript, from 0; what an analysis cites.
        start: First second, from the start of the recording.
        end: Last second; ``start <= end``.
        text: What was said.
        words: The words with their times, in order; empty where the engine gives none.
        channel: Channel it was heard on, from 0; ``None`` for a mix or identical ones.
        speaker: Label such as ``"Speaker00"``; ``None`` while unknown.
    """

    id: int = 0
    start: float
    end: float = attrs.field(validator=_check_span)
    text: str
    words: tuple[Word, ...] = ()
    channel: int | None = None
    speaker: str | None = None


@attrs.frozen(kw_only=True)
class Turn:
    """
    A stretch in which one speaker speaks, whatever the words: diarization's output.

    Attributes:
        start: First second, from the start of the recording.
        end: Last second; ``start <= end``.
        speaker: Label such as ``"Speaker00"``.
        channel: Channel it was heard on, from 0; ``None`` for a mix or identical ones.
    """

    start: float
    end: float = attrs.field(validator=_check_span)
    speaker: str
    channel: int | None = None


@attrs.frozen(kw_only=True)
class Hypothesis:
    """
    What a live engine believes at this moment about one segment.

    Attributes:
        segment_id: Stable id of the segment; a later hypothesis with it replaces this.
        start: First second, from the start of the stream.
        end: Last second; ``start <= end``.
        text: What was said so far.
        final: Whether it will never change again.
        channel: Channel it was heard on, from 0; ``None`` for a mix.
        words: The words with their times, in order; empty where the engine gives none.
        stable: Characters at the beginning of the text that will never change.
    """

    segment_id: int
    start: float
    end: float = attrs.field(validator=_check_span)
    text: str
    final: bool
    channel: int | None = None
    words: tuple[Word, ...] = ()
    stable: int = attrs.field(default=0, validator=attrs.validators.ge(0))


@attrs.frozen(kw_only=True)
class Transcript:
    """
    Everything that was recognised in one recording.

    Attributes:
        segments: Ordered by start, then channel; ids are their places, from 0.
        duration: Seconds of sound transcribed, from decoded frames.
        model: Name of the engine and its model.
        language: ISO 639-1 code such as ``"en"``, ``None`` where unknown.
        report: What the engine's guards saw; ``None`` from an engine without guards.
    """

    segments: tuple[Segment, ...] = ()
    duration: float = attrs.field(validator=_check_times)
    model: str
    language: str | None = None
    report: TranscriptionReport | None = None

    @classmethod
    def of(
        cls,
        segments: Iterable[Segment],
        *,
        duration: float,
        model: str,
        language: str | None = None,
        report: TranscriptionReport | None = None,
    ) -> Transcript:
        """Order segments by start and channel, number them, and make a transcript."""
        ordered = sorted(
            segments, key=lambda s: (s.start, -1 if s.channel is None else s.channel)
        )
        return cls(
            segments=tuple(attrs.evolve(s, id=i) for i, s in enumerate(ordered)),
            duration=duration,
            model=model,
            language=language,
            report=report,
        )

    @property
    def text(self) -> str:
        """All that was said, a line for each segment, without speakers."""
        return "\n".join(segment.text for segment in self.segments)

    @property
    def speakers(self) -> tuple[str, ...]:
        """The speakers' labels, sorted."""
        return tuple(
            sorted({s.speaker for s in self.segments if s.speaker is not None})
        )

    def to_txt(
        self, *, labels: Mapping[str, str] | None = None, times: bool = False
    ) -> str:
        """
        Write lines such as ``Speaker00: hello``, one for each segment.

        Args:
            labels: Names to write instead of speaker labels, such as
                ``{"Speaker00": "agent"}``; labels not in it stay as they are.
            times: Whether to begin each line with ``[m:ss.d - m:ss.d]``.
        """
        lines = []
        for segment in self.segments:
            stamp = f"[{_html.clock(segment.start)} - {_html.clock(segment.end)}] "
            speaker = _label(segment.speaker, labels)
            text = " ".join(segment.text.split())
            lines.append(
                (stamp if times else "") + (f"{speaker}: " if speaker else "") + text
            )
        return "".join(line + "\n" for line in lines)

    def to_json(self, *, indent: int | None = None) -> str:
        """Write everything as JSON; ``from_json`` reads it back to an equal value."""
        return _json.to_json(self, indent=indent)

    @classmethod
    def from_json(cls, text: str) -> Transcript:
        """
        Read what ``to_json`` wrote.

        Raises:
            ValueError: If the text does not describe a transcript.
        """
        return _json.from_json(text, cls)

    def to_srt(self, *, labels: Mapping[str, str] | None = None) -> str:
        """
        Write SubRip subtitles; long segments are cut between words.

        A cue holds at most ``CUE_CHARS`` characters and ``CUE_S`` seconds where word
        times allow it, and stands for at least a millisecond.
        """
        blocks = []
        for number, cue in enumerate(self._cues(), start=1):
            speaker = _label(cue.speaker, labels)
            text = f"{speaker}: {cue.text}" if speaker else cue.text
            begin, end = _stamp(cue.start, ","), _stamp(cue.end, ",")
            blocks.append(f"{number}\n{begin} --> {end}\n{text}\n")
        return "\n".join(blocks)

    def to_vtt(self, *, labels: Mapping[str, str] | None = None) -> str:
        """Write WebVTT (W3C, 2019) with voice tags; cut like ``to_srt``."""
        blocks = ["WEBVTT\n"]
        for cue in self._cues():
            speaker = _label(cue.speaker, labels)
            voice = f"<v {escape(speaker, quote=False)}>" if speaker else ""
            begin, end = _stamp(cue.start, "."), _stamp(cue.end, ".")
            blocks.append(
                f"{begin} --> {end}\n{voice}{escape(cue.text, quote=False)}\n"
            )
        return "\n".join(blocks)

    def to_rttm(self, uri: str) -> str:
        """
        Write NIST RTTM ``SPEAKER`` lines (RT-09 plan, appendix A), channels from 1.

        Args:
            uri: Name of the recording; must hold no white space.

        Raises:
            ValueError: If a segment has no speaker, or a name holds white space.
        """
        return turns_to_rttm(
            (
                Turn(
                    start=s.start, end=s.end, speaker=s.speaker or "", channel=s.channel
                )
                for s in self.segments
            ),
            uri,
        )

    def to_ctm(self, uri: str) -> str:
        """
        Write NIST CTM word lines, ordered by channel and time, channels from 1.

        Segments without words are left out: CTM has no place for them.

        Args:
            uri: Name of the recording; must hold no white space.

        Raises:
            ValueError: If the name holds white space.
        """
        _unspaced(uri)
        rows = [
            ((s.channel or 0) + 1, w) for s in self.segments for w in s.words if w.text
        ]
        rows.sort(key=lambda row: (row[0], row[1].start))
        lines = []
        for channel, word in rows:
            confidence = "" if word.probability is None else f" {word.probability:.4f}"
            text = "".join(word.text.split())
            lines.append(
                f"{uri} {channel} {word.start:.3f} {word.end - word.start:.3f} "
                f"{text}{confidence}\n"
            )
        return "".join(lines)

    def _cues(self) -> Iterator[Segment]:
        for segment in self.segments:
            for cue in _split(segment):
                text = " ".join(cue.text.split())
                if text:
                    end = max(cue.end, cue.start + 0.001)
                    yield attrs.evolve(cue, text=text, end=end)

    def _repr_html_(self) -> str:
        """Show a table coloured by speaker in a notebook."""
        names = self.speakers
        rows = (
            (
                str(s.id),
                f"{_html.clock(s.start)} - {_html.clock(s.end)}",
                _html.coloured(s.speaker or "", _html.colour(s.speaker, names)),
                _html.coloured(s.text, _html.colour(s.speaker, names)),
            )
            for s in self.segments
        )
        language = self.language or "language unknown"
        caption = f"{self.model}, {self.duration:.1f} s, {language}"
        return _html.table(("id", "time", "speaker", "text"), rows, caption)


def turns_to_rttm(turns: Iterable[Turn], uri: str) -> str:
    """
    Write NIST RTTM ``SPEAKER`` lines (RT-09 plan, appendix A), channels from 1.

    Args:
        turns: In any order; written as they come.
        uri: Name of the recording; must hold no white space.

    Raises:
        ValueError: If a name is empty or holds white space.
    """
    _unspaced(uri)
    return "".join(
        f"SPEAKER {uri} {(turn.channel or 0) + 1} {turn.start:.3f} "
        f"{turn.end - turn.start:.3f} <NA> <NA> {_unspaced(turn.speaker)} <NA> <NA>\n"
        for turn in turns
    )


def _label(speaker: str | None, labels: Mapping[str, str] | None) -> str:
    if speaker is None:
        return ""
    return speaker if labels is None else labels.get(speaker, speaker)


def _unspaced(name: str) -> str:
    if not _UNSPACED.fullmatch(name):
        msg = f"a name in RTTM or CTM must be non-empty, without white space: {name!r}"
        raise ValueError(msg)
    return name


def _stamp(seconds: float, point: str) -> str:
    ms = round(seconds * 1000)
    hours, ms = divmod(ms, 3_600_000)
    minutes, ms = divmod(ms, 60_000)
    return f"{hours:02d}:{minutes:02d}:{ms // 1000:02d}{point}{ms % 1000:03d}"


def _split(segment: Segment) -> Iterator[Segment]:
    """Cut a segment between words into pieces that fit a subtitle."""
    fits = len(segment.text) <= CUE_CHARS and segment.end - segment.start <= CUE_S
    if fits or not segment.words:
        yield segment
        return
    piece: list[Word] = []
    for word in segment.words:
        chars = sum(len(w.text) + 1 for w in piece) + len(word.text)
        if piece and (chars > CUE_CHARS or word.end - piece[0].start > CUE_S):
            yield _cue(segment, piece)
            piece = []
        piece.append(word)
    yield _cue(segment, piece)


def _cue(segment: Segment, words: list[Word]) -> Segment:
    return attrs.evolve(
        segment,
        start=words[0].start,
        end=max(words[-1].end, words[0].start),
        text=" ".join(word.text for word in words),
        words=tuple(words),
    )
