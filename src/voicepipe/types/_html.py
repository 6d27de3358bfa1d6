"""What the values show in a notebook: small, self-contained, escaped HTML."""

from __future__ import annotations

import base64
from html import escape
from typing import TYPE_CHECKING


if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence


MAX_PLAYER_S = 600.0
"""Seconds of sound put into a page: ten minutes of 16 kHz stereo is 51 MB of text."""

MAX_ROWS = 500
"""Rows of a table put into a page."""

# Okabe and Ito's palette, told apart with any kind of colour vision.
_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")


_CELL = "text-align:left;vertical-align:top;padding:0.15em 1em 0.15em 0"


def clock(seconds: float) -> str:
    """Write a time as ``m:ss.d``, or ``h:mm:ss.d`` from an hour on."""
    tenths = round(seconds * 10)
    minutes, tenths = divmod(tenths, 600)
    hours, minutes = divmod(minutes, 60)
    head = f"{hours}:{minutes:02d}" if hours else f"{minutes}"
    return f"{head}:{tenths // 10:02d}.{tenths % 10}"


def colour(name: str | None, names: Sequence[str]) -> str:
    """Give a speaker's colour by its place among all the speakers."""
    return _COLOURS[names.index(name) % len(_COLOURS)] if name in names else "inherit"


def player(wav: bytes, caption: str, *, cut: bool) -> str:
    """Show an audio player over its caption."""
    data = base64.b64encode(wav).decode("ascii")
    note = f" (the first {MAX_PLAYER_S / 60:.0f} minutes)" if cut else ""
    return (
        f'<figure style="margin:0"><audio controls src="data:audio/wav;base64,{data}">'
        f"</audio><figcaption><small>{escape(caption)}{note}</small></figcaption></figure>"
    )


def table(head: Sequence[str], rows: Iterable[Sequence[str]], caption: str) -> str:
    """Show a table; the cells are HTML already, the rest is escaped here."""
    title = "caption-side:top;text-align:left;font-weight:bold"
    lines = [
        '<table style="border-collapse:collapse;margin:0.5em 0 1em">',
        f'<caption style="{title}">{escape(caption)}</caption><thead><tr>',
        *(f'<th style="{_CELL}">{escape(name)}</th>' for name in head),
        "</tr></thead><tbody>",
    ]
    for number, row in enumerate(rows):
        if number == MAX_ROWS:
            note = "… and more; the value has all"
            lines.append(f'<tr><td colspan="{len(head)}">{note}</td></tr>')
            break
        cells = "".join(f'<td style="{_CELL}">{cell}</td>' for cell in row)
        lines.append(f"<tr>{cells}</tr>")
    lines.append("</tbody></table>")
    return "".join(lines)


def coloured(text: str, shade: str) -> str:
    """Show escaped text in a colour."""
    return f'<span style="color:{shade}">{escape(text)}</span>'
