"""What a conversation means, and how it was led."""

from __future__ import annotations

import attrs

from voicepipe.types import _html, _json


@attrs.frozen(kw_only=True)
class Point:
    """
    One statement about a conversation, with its evidence.

    Attributes:
        text: The statement.
        segment_ids: Ids of the transcript's segments it rests on; never empty.
    """

    text: str
    segment_ids: tuple[int, ...] = attrs.field(validator=attrs.validators.min_len(1))


@attrs.frozen(kw_only=True)
class CleanLine:
    """
    One segment as it reads after tidying: no fillers, no slips, nothing added.

    Attributes:
        segment_id: Id of the transcript's segment that it stands for.
        text: What was said, readable; empty where nothing was worth keeping.
    """

    segment_id: int
    text: str


@attrs.frozen(kw_only=True)
class AnalysisReport:
    """
    What an analysis by a language model cost, and what was not believed.

    Attributes:
        calls: Requests that the service answered with a result; what is paid for.
        cached_calls: Results that were taken from a cache instead.
        windows: Parts in which the transcript was read, at least 1.
        input_tokens: Tokens sent, as the service counted them.
        output_tokens: Tokens received, thoughts included, as the service counted them.
        dropped_points: Sentences and key points that cited nothing real.
        dropped_lines: Clean lines that strayed too far from what was said; the words
            of the transcript stand in their place.
    """

    calls: int = 0
    cached_calls: int = 0
    windows: int = 1
    input_tokens: int = 0
    output_tokens: int = 0
    dropped_points: int = 0
    dropped_lines: int = 0


@attrs.frozen(kw_only=True)
class Analysis:
    """
    What an analyzer found in a transcript.

    Attributes:
        summary: Sentences of the summary, in the order to read them.
        key_points: What a reader should not miss, most important first.
        conversation_type: One label from the analyzer's list, such as ``"order"``.
        language: ISO 639-1 code of the conversation, ``None`` where unknown.
        model: Name of the analyzer and its model.
        clean_lines: The transcript made readable, a line for each of its segments in
            their order; empty from an analyzer that does not rewrite.
        report: What it cost; ``None`` from an analyzer that calls no service.
    """

    summary: tuple[Point, ...] = ()
    key_points: tuple[Point, ...] = ()
    conversation_type: str
    language: str | None = None
    model: str
    clean_lines: tuple[CleanLine, ...] = ()
    report: AnalysisReport | None = None

    @property
    def summary_text(self) -> str:
        """The summary as one paragraph."""
        return " ".join(point.text for point in self.summary)

    def to_json(self, *, indent: int | None = None) -> str:
        """Write everything as JSON; ``from_json`` reads it back to an equal value."""
        return _json.to_json(self, indent=indent)

    @classmethod
    def from_json(cls, text: str) -> Analysis:
        """
        Read what ``to_json`` wrote.

        Raises:
            ValueError: If the text does not describe an analysis.
        """
        return _json.from_json(text, cls)

    def _repr_html_(self) -> str:
        """Show summary and key points with the segments they cite in a notebook."""
        shown = [("summary", p) for p in self.summary]
        shown += [("key point", p) for p in self.key_points]
        rows = (
            (
                kind,
                _html.coloured(p.text, "inherit"),
                ", ".join(map(str, p.segment_ids)),
            )
            for kind, p in shown
        )
        language = self.language or "language unknown"
        caption = f"{self.conversation_type}, {language}, {self.model}"
        return _html.table(("", "text", "ids of segments"), rows, caption)


@attrs.frozen(kw_only=True)
class NonTalk:
    """
    A period in which nobody speaks.

    Attributes:
        start: First second, from the start of the recording.
        end: Last second.
    """

    start: float
    end: float

    @property
    def duration(self) -> float:
        """Length in seconds."""
        return self.end - self.start


@attrs.frozen(kw_only=True)
class Interruption:
    """
    One speaker begins while another speaks, and the other one stops first.

    Attributes:
        start: Second at which the interrupter begins.
        end: Second at which the interrupted speaker stops.
        interrupter: Label of who began.
        interrupted: Label of who stopped.
    """

    start: float
    end: float
    interrupter: str
    interrupted: str

    @property
    def duration(self) -> float:
        """Seconds in which both spoke."""
        return self.end - self.start


@attrs.frozen(kw_only=True)
class SpeakerMetrics:
    """
    One speaker's part in a conversation.

    Attributes:
        speaker: Label such as ``"Speaker00"``.
        talk_time: Seconds in which this speaker speaks.
        talk_ratio: Share of all speakers' talk time, in [0, 1].
        turns: Number of turns: stretches of speech without a longer pause, or another's
            words, in it.
        longest_turn: Seconds from the start to the end of the longest turn.
        response_latency: Median seconds from the end of another's turn to the start of
            this speaker's answer; negative when answers overlap, ``None`` without one.
        words: Number of recognised words.
        words_per_minute: Words in a minute of this speaker's talk time; ``None``
            without talk time, or without a transcript.
    """

    speaker: str
    talk_time: float
    talk_ratio: float
    turns: int
    longest_turn: float
    response_latency: float | None
    words: int
    words_per_minute: float | None


@attrs.frozen(kw_only=True)
class TalkMetrics:
    """
    How a conversation was led; no words are needed but for the speed.

    The names are those of Amazon Transcribe Call Analytics where it has them
    (``TotalConversationDuration``, ``TalkTime``, ``NonTalkTime``, ``Interruptions``,
    ``TalkSpeed``), in seconds instead of milliseconds. As there, overlapping speech
    counts once for each speaker, so ``talk_time`` may exceed ``speech_time``.

    Attributes:
        total_conversation_duration: Seconds of the recording.
        talk_time: Sum of the speakers' talk times.
        speech_time: Seconds in which at least one speaks.
        overlap_time: Seconds in which at least two speak.
        non_talk_time: Seconds in which nobody speaks.
        non_talk_instances: Periods in which nobody speaks, of the chosen least length.
        interruptions: In the order in which they begin.
        speakers: Ordered by label.
    """

    total_conversation_duration: float
    talk_time: float
    speech_time: float
    overlap_time: float
    non_talk_time: float
    non_talk_instances: tuple[NonTalk, ...] = ()
    interruptions: tuple[Interruption, ...] = ()
    speakers: tuple[SpeakerMetrics, ...] = ()

    def to_json(self, *, indent: int | None = None) -> str:
        """Write everything as JSON; ``from_json`` reads it back to an equal value."""
        return _json.to_json(self, indent=indent)

    @classmethod
    def from_json(cls, text: str) -> TalkMetrics:
        """
        Read what ``to_json`` wrote.

        Raises:
            ValueError: If the text does not describe talk metrics.
        """
        return _json.from_json(text, cls)

    def _repr_html_(self) -> str:
        """Show a row for each speaker in a notebook."""
        names = [s.speaker for s in self.speakers]
        rows = (
            (
                _html.coloured(s.speaker, _html.colour(s.speaker, names)),
                f"{s.talk_time:.1f} s ({s.talk_ratio:.0%})",
                str(s.turns),
                "" if s.words_per_minute is None else f"{s.words_per_minute:.0f}",
                "" if s.response_latency is None else f"{s.response_latency:.2f} s",
            )
            for s in self.speakers
        )
        caption = (
            f"{self.total_conversation_duration:.1f} s, nobody speaks for "
            f"{self.non_talk_time:.1f} s, both for {self.overlap_time:.1f} s, "
            f"{len(self.interruptions)} interruptions"
        )
        head = ("speaker", "talk time", "turns", "words per minute", "response latency")
        return _html.table(head, rows, caption)
