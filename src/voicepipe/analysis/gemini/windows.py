"""A transcript in parts that one call can read, safe to stand in a fence."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import attrs

from voicepipe.analysis.gemini.texts import visible


if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from voicepipe.types import Segment


# A label longer than this is no speaker's.
_MAX_LABEL_CHARS = 40

# The fence's own marks, and anything that a reader might take for them.
_MARKS = re.compile(r"[<‹«＜]{2,}|[>›»＞]{2,}")  # noqa: RUF001 - look-alikes are meant


@attrs.frozen(kw_only=True)
class Window:
    """
    What one call reads of a transcript.

    Attributes:
        lines: One for each segment, ``[12] Speaker00: what was said``; never shown.
        ids: The segments that it holds, all or part of them.
        whole: Those that it holds from beginning to end, in their order.
    """

    lines: tuple[str, ...] = attrs.field(repr=False)
    ids: frozenset[int]
    whole: tuple[int, ...]


def windows_of(segments: Iterable[Segment], max_chars: int) -> Iterator[Window]:
    """
    Cut a transcript between segments; one that is too long is cut between words.

    Segments without anything to read are left out.

    Args:
        segments: In their order.
        max_chars: Most characters of a window, at least 1,000.
    """
    lines: list[str] = []
    ids: list[int] = []
    parted: set[int] = set()
    size = 0
    for segment in segments:
        head = _head(segment)
        parts = _parts(plain(segment.text), max_chars - len(head) - 1)
        if len(parts) > 1:
            parted.add(segment.id)
        for part in parts:
            line = head + part
            if lines and size + len(line) + 1 > max_chars:
                yield _window(lines, ids, parted)
                lines, ids, size = [], [], 0
            lines.append(line)
            ids.append(segment.id)
            size += len(line) + 1
    if lines:
        yield _window(lines, ids, parted)


def plain(text: str) -> str:
    """Give a text that can stand in a fence: visible, and without a fence's marks."""
    return " ".join(_MARKS.sub(lambda found: found[0][0], visible(text)).split())


def _head(segment: Segment) -> str:
    label = plain(segment.speaker or "")[:_MAX_LABEL_CHARS]
    return f"[{segment.id}] {label}: " if label else f"[{segment.id}] "


def _parts(text: str, max_chars: int) -> list[str]:
    parts = []
    while len(text) > max_chars:
        # Between words where there are any.
        at = text.rfind(" ", max_chars // 2, max_chars) + 1 or max_chars
        parts.append(text[:at].rstrip())
        text = text[at:].lstrip()
    return [*parts, text] if text else parts


def _window(lines: list[str], ids: list[int], parted: set[int]) -> Window:
    return Window(
        lines=tuple(lines),
        ids=frozenset(ids),
        whole=tuple(one for one in dict.fromkeys(ids) if one not in parted),
    )
