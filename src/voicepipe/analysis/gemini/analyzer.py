"""The analyzer that asks Gemini."""

from __future__ import annotations

import copy
import itertools
import re
from collections import Counter
from typing import TYPE_CHECKING, Self

import anyio
import anyio.to_thread
import attrs
from anyio.lowlevel import RunVar

from voicepipe.analysis.gemini.budget import Budget
from voicepipe.analysis.gemini.clean import cleaned
from voicepipe.analysis.gemini.options import (
    CLEAN_WINDOW_CHARS,
    WINDOW_CHARS,
    GeminiOptions,
)
from voicepipe.analysis.gemini.prompt import window_question
from voicepipe.analysis.gemini.reading import Reading
from voicepipe.analysis.gemini.service import Access, Service, check_installed
from voicepipe.analysis.gemini.texts import visible
from voicepipe.analysis.gemini.windows import windows_of
from voicepipe.errors import AnalysisError
from voicepipe.types import Analysis, CleanLine


if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from voicepipe.analysis.gemini.answer import Found
    from voicepipe.analysis.gemini.windows import Window
    from voicepipe.protocols import ResultCache
    from voicepipe.types import Transcript


# ``models/`` or ``tunedModels/`` and a name, or the name alone.
_MODEL = re.compile(r"(?:[A-Za-z]+/)?[A-Za-z0-9][A-Za-z0-9._-]{0,99}")


class GeminiAnalyzer:
    """
    Analyses a transcript with Google's Gemini; a ``CachingAnalyzer``.

    The transcript leaves this machine, the sound does not. Sentences and key points
    that cite no segment that exists are dropped, and lines of the clean transcript that
    stray from what was said give way to it; the report counts both.

    **Calls.** A transcript that one call can read takes one call; a longer one takes
    one for each window and one that merges what they found. An answer that cannot be
    used is paid for all the same: two calls more are made for such, of all windows
    together, so that three are the most for one window, else the windows and three.
    After an answer that was cut or filtered, or two that made no sense, its window is
    asked for without clean lines. What fails without an answer is no such call and is
    tried again as ``GeminiOptions.attempts`` says: time-outs, broken connections, 408,
    425, 429 and the 5xx of gateways, after a wait that doubles or the one that the
    service asks for.

    **Cache.** Each result is put into the cache as soon as it is there, under all that
    it depends on: model, instructions, options and text. What is in the cache is not
    paid for again.

    **Hostile transcripts.** A caller may say what a model takes for an instruction. The
    transcript stands between marks with a random number and is told to be material, the
    model has no tools, and an answer is believed only as far as it can be checked:
    evidence, types, sizes, distance. That is no proof that a summary is true.

    Only the base URL is asked: no redirect is followed, and no proxy or setting of the
    environment is used, ``GEMINI_API_KEY`` included. The key is in no message, log or
    repr. One analyzer may be used by many tasks, threads and event loops;
    ``calls_at_once`` holds for each loop. Nothing has to be closed.

    Args:
        model: The model's name at the service.
        api_key: The key of the Gemini API; a service without keys wants any text.
        options: What the analysis is to hold, and how it is asked for.
        cache: Keeps the results of calls; ``None`` for none.

    Attributes:
        model: The analyzer's name: ``"gemini:"`` and that of the model.

    Raises:
        MissingExtraError: If google-genai is not installed.
        ValueError: If the key cannot be sent, or the model's name is none.

    Example:
        >>> GeminiAnalyzer("gemini-2.5-flash", api_key="...")
        <GeminiAnalyzer gemini-2.5-flash at https://generativelanguage.googleapis.com>
    """

    def __init__(
        self,
        model: str = "gemini-2.5-flash",
        *,
        api_key: str,
        options: GeminiOptions | None = None,
        cache: ResultCache | None = None,
    ) -> None:
        """Open nothing yet."""
        check_installed()
        if not _MODEL.fullmatch(model):
            msg = f"not the name of a model: {model!r}"
            raise ValueError(msg)
        options = options or GeminiOptions()
        self.model: str = f"gemini:{model}"
        self._options = options
        self._access = Access(
            name=self.model,
            model=model,
            api_key=_checked_key(api_key),
            options=options,
        )
        self._cache = cache
        self._slots: RunVar[anyio.CapacityLimiter] = RunVar("slots")

    def __repr__(self) -> str:
        """Tell the model and the service, never the key."""
        return f"<GeminiAnalyzer {self._access.model} at {self._options.base_url}>"

    def caching(self, cache: ResultCache, /) -> Self:
        """Give the same analyzer with a cache of its own; cheap, one for each job."""
        other = copy.copy(self)
        other._cache = cache  # noqa: SLF001 - of the same class
        return other

    async def analyze(
        self,
        transcript: Transcript,
        /,
        *,
        progress: Callable[[float], None] | None = None,
    ) -> Analysis:
        """
        Analyse a transcript; one in which nothing was said takes no call.

        Args:
            transcript: What was said.
            progress: Called with the share of the calls that has been answered, 0 to 1,
                from the event loop.

        Returns:
            The analysis, with ``clean_lines`` for all segments if they are wanted, and
            a report.

        Raises:
            AnalysisError: If the service gives no analysis; ``reason`` says why, and
                ``retryable`` whether a later one may succeed. The cause is the
                ``FetchError`` where there was no answer. Results of other windows are
                in the cache. What a cache raises comes through.

        Cancellation: takes effect at once, but for the second in which the first call
        of the process loads the SDK; requests under way are broken off. An answer that
        has come is put into the cache first.
        """
        windows, name = await anyio.to_thread.run_sync(self._plan, transcript)
        budget = Budget(self._cache, name)
        found: list[Found] = []
        if windows:
            async with Service(self._access, self._limiter()) as service:
                reading = Reading(self._access, service, budget)
                found = await reading.all_of(windows, progress or _nobody)
        return await anyio.to_thread.run_sync(
            self._analysis, transcript, windows, found, budget
        )

    def _plan(self, transcript: Transcript) -> tuple[list[Window], str]:
        """Cut the transcript, and name what is asked; runs in a worker thread."""
        windows = self._windows(transcript)
        lines = [line for window in windows for line in window.lines]
        whole = window_question(lines, self._options, clean=self._options.clean)
        return windows, whole.digest(self._access.model, self._options.base_url)

    def _windows(self, transcript: Transcript) -> list[Window]:
        options = self._options
        chars = options.window_chars or (
            CLEAN_WINDOW_CHARS if options.clean else WINDOW_CHARS
        )
        most = options.max_windows
        windows: list[Window] = []
        # Before each character is looked at.
        if sum(len(s.text) for s in transcript.segments) <= most * chars:
            cut = windows_of(transcript.segments, chars)
            windows = list(itertools.islice(cut, most + 1))
            if len(windows) <= most:
                return windows
        msg = (
            f"the transcript is longer than {most} windows of {chars} characters; "
            "a larger max_windows allows it"
        )
        raise AnalysisError(msg, model=self.model, reason="too_long")

    def _limiter(self) -> anyio.CapacityLimiter:
        try:
            return self._slots.get()
        except LookupError:
            limiter = anyio.CapacityLimiter(self._options.calls_at_once)
            self._slots.set(limiter)
            return limiter

    def _analysis(
        self,
        transcript: Transcript,
        windows: Sequence[Window],
        found: Sequence[Found],
        budget: Budget,
    ) -> Analysis:
        """Put together what was found; runs in a worker thread."""
        options = self._options
        whole = found[-1] if found else None
        language = transcript.language or _language(found[: len(windows)])
        offered = {at: text for one in found for at, text in one.clean.items()}
        lines, dropped = (
            _clean_lines(transcript, offered, options.clean_change, language)
            if options.clean
            else ((), 0)
        )
        report = attrs.evolve(
            budget.report,
            windows=max(len(windows), 1),
            dropped_points=sum(one.dropped for one in found),
            dropped_lines=dropped,
        )
        return Analysis(
            summary=whole.summary if whole else (),
            key_points=whole.key_points if whole else (),
            conversation_type=(
                whole.conversation_type if whole else options.labels[-1]
            ),
            language=language,
            model=self.model,
            clean_lines=lines,
            report=report,
        )


def _clean_lines(
    transcript: Transcript,
    offered: Mapping[int, str],
    change: float,
    language: str | None,
) -> tuple[tuple[CleanLine, ...], int]:
    """Give a line for each segment, and how many were not as they should be."""
    lines, dropped = [], 0
    english = language in {"en", None}
    for segment in transcript.segments:
        said = visible(segment.text)
        offer = offered.get(segment.id)
        text = (
            None
            if offer is None
            else cleaned(said, offer, change=change, english=english)
        )
        dropped += text is None and bool(said)
        lines.append(
            CleanLine(segment_id=segment.id, text=said if text is None else text)
        )
    return tuple(lines), dropped


def _language(found: Sequence[Found]) -> str | None:
    languages = Counter(one.language for one in found if one.language is not None)
    most = languages.most_common(1)
    return most[0][0] if most else None


def _nobody(_: float) -> None:
    """Tell nobody how far it has come."""


def _checked_key(key: str) -> str:
    """Refuse a key that no service has; the message does not hold it."""
    if not key or not key.isascii() or not key.isprintable() or key != key.strip():
        msg = "api_key must be ASCII without blanks or line ends around it"
        raise ValueError(msg)
    if key.startswith("auth_tokens/"):
        raise ValueError("api_key is a token of the live API; a key is wanted")
    return key
