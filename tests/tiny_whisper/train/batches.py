"""
What the decoder reads and must say for a window, and batches of it all.

Sequences are those that faster-whisper asks for: after `<|startoftranscript|>` perhaps
language and task, with timestamps or without, perhaps after a prompt; the first
timestamp is sometimes forced to be early.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs
import numpy as np
import torch
from torch import Tensor

from tiny_whisper.speech import WORDS
from tiny_whisper.train.bank import evaluation_texts, load
from tiny_whisper.train.features import log_mel
from tiny_whisper.train.vocabulary import (
    EN,
    EOT,
    FIRST_TIME,
    NO_SPEECH,
    NO_TIMESTAMPS,
    PREVIOUS,
    SOT,
    TIMES,
    TOKENS,
    TRANSCRIBE,
    time_token,
)
from tiny_whisper.train.windows import FRAMES, Style, Window, Windows, frames


if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from tiny_whisper.train.windows import Segment

IGNORED = -100
_NOWHERE = (-1.0, -1.0)
_POSITIONS = 1500


@attrs.frozen
class Token:
    """A token to say, and the encoder frames in which it is heard."""

    id: int
    span: tuple[float, float]


@attrs.frozen(kw_only=True)
class Mix:
    """
    Which batches a stage hears.

    Attributes:
        styles: One is drawn for each batch.
        seconds_each: How much audio is in a batch.
        prompt: The most tokens of a usual prompt.
        long_prompt: The most tokens of a rare one.
    """

    styles: tuple[Style, ...]
    seconds_each: float = 48.0
    prompt: int = 30
    long_prompt: int = 60


@attrs.frozen(eq=False)
class Batch:
    """
    Tensors of some windows.

    Attributes:
        mel: (b, 80, 2 f) features.
        frames: (b, f) the word heard in each encoder frame; see `windows.frames`.
        tokens: (b, t) what the decoder reads.
        labels: (b, t) what it must say, or -100.
        spans: (b, t, 2) the encoder frames where a label is heard; negative: nowhere.
        offset: The encoder position at which the windows begin.
        padded: Whether features of 0.0 follow up to 30 s.
    """

    mel: Tensor
    frames: Tensor
    tokens: Tensor
    labels: Tensor
    spans: Tensor
    offset: int
    padded: bool


def _said(segments: Sequence[Segment], offset: int, *, timed: bool) -> list[Token]:
    tokens: list[Token] = []

    def mark(seconds: float) -> None:
        if timed:
            middle = seconds * FRAMES
            tokens.append(Token(time_token(seconds, offset), (middle - 5, middle + 5)))

    end = 0.0
    for segment in segments:
        mark(segment.start)
        if segment.end is None and timed:
            break  # the decoder goes on from here in its next window
        for heard in segment.words:
            parts = TOKENS[heard.word]
            length = (heard.end - heard.start) / len(parts)
            for number, part in enumerate(parts):
                start = heard.start + number * length
                span = (start * FRAMES, (start + length) * FRAMES)
                tokens.append(Token(part, span))
        if segment.end is not None:
            mark(segment.end)
            end = segment.end
    last = (end * FRAMES, end * FRAMES + 15) if segments else _NOWHERE
    return [*tokens, Token(EOT, last)]


class Sequences:
    """Makes the decoder's sequences: what it reads, what it must say, and where."""

    def __init__(self, draw: np.random.Generator, mix: Mix) -> None:
        """Take the source of chance, and how long prompts are."""
        self._draw = draw
        self._mix = mix

    def make(self, window: Window, seconds: float, offset: int) -> list[list[Token]]:
        """Give the tokens read and those to be said, equally many; -100 is free."""
        draw = self._draw
        segments = self._whole(window.segments, seconds)
        timed = draw.random() < 0.7 or segments is None
        head = [SOT]
        if draw.random() < 0.75:
            head += [EN, TRANSCRIBE]
        if not timed:
            head.append(NO_TIMESTAMPS)
        if not window.segments:
            read = [*head, *([FIRST_TIME] if timed else [])]
            said = [Token(NO_SPEECH, _NOWHERE)]
            said += [Token(id_, _NOWHERE) for id_ in [*read[2:], EOT]][: len(read) - 1]
        else:
            heard = _said(
                window.segments if timed or segments is None else segments,
                offset,
                timed=timed,
            )
            read = [*head, *(token.id for token in heard[:-1])]
            said = [*(Token(id_, _NOWHERE) for id_ in head[1:]), *heard]
            if timed:
                self._force(read, len(head), window.segments[0].start, offset)
            self._spoil(read, len(head))
        prompt = self._prompt(timed=timed)
        return [
            [Token(id_, _NOWHERE) for id_ in [*prompt, *read]],
            [*(Token(IGNORED, _NOWHERE) for _ in prompt), *said],
        ]

    @staticmethod
    def _whole(
        segments: Sequence[Segment], seconds: float
    ) -> tuple[Segment, ...] | None:
        """Give what is heard in full; None where a word is cut in its middle."""
        if not segments or segments[-1].end is not None:
            return tuple(segments)
        words = segments[-1].words
        if any(word.start < seconds < word.end for word in words):
            return None
        kept = tuple(word for word in words if word.end <= seconds)
        return (*segments[:-1], attrs.evolve(segments[-1], words=kept))

    def _force(self, read: list[int], at: int, start: float, offset: int) -> None:
        """Decoding forces the first timestamp to be at most 1.0 s, or 0.0."""
        if len(read) > at and self._draw.random() < (0.8 if start > 1.0 else 0.3):
            later = int(self._draw.integers(0, 51)) if self._draw.random() < 0.5 else 0
            read[at] = FIRST_TIME + min(TIMES - 1, offset + later)

    def _spoil(self, read: list[int], first: int) -> None:
        """Make the history wrong here and there, so that the model listens."""
        draw = self._draw
        for at in range(first, len(read)):
            if read[at] < EOT and draw.random() < 0.05:
                read[at] = TOKENS[draw.integers(len(WORDS))][0]
            elif read[at] >= FIRST_TIME and draw.random() < 0.1:
                moved = read[at] - FIRST_TIME + int(draw.integers(-10, 11))
                read[at] = FIRST_TIME + min(TIMES - 1, max(0, moved))

    def _prompt(self, *, timed: bool) -> list[int]:
        """Give earlier text, which says nothing about what is heard."""
        draw = self._draw
        if draw.random() > 0.2:
            return []
        rare = draw.random() < 0.2
        most = self._mix.long_prompt if rare else self._mix.prompt
        size = int(draw.integers(1, most + 1))
        tokens: list[int] = []
        while len(tokens) < size:
            words = draw.integers(0, len(WORDS), draw.integers(1, 9))
            text = [token for word in words for token in TOKENS[word]]
            if timed:
                start = int(draw.integers(0, 1400))
                end = min(TIMES - 1, start + 10 * len(text))
                text = [FIRST_TIME + start, *text, FIRST_TIME + end]
            tokens += text
        return [PREVIOUS, *tokens[-size:]]


def _padded(rows: Sequence[Sequence[int]], fill: int) -> Tensor:
    size = max(map(len, rows))
    return torch.tensor([[*row, *[fill] * (size - len(row))] for row in rows])


def batches(work: Path, mix: Mix, seed: Sequence[int]) -> Iterator[Batch]:
    """Make batches for ever, of the clips that are in the bank by now."""
    torch.set_num_threads(1)
    draw = np.random.default_rng(seed)
    windows = Windows(load(work), evaluation_texts(), draw)
    sequences = Sequences(draw, mix)
    while True:
        style = mix.styles[draw.integers(len(mix.styles))]
        count = max(4, round(mix.seconds_each / style.seconds))
        size = round(style.seconds * FRAMES)
        # An excerpt lies anywhere in 30 s, on the grid of the timestamps.
        offset = 5 * int(draw.integers(0, (_POSITIONS - size) // 5 + 1))
        offset = offset if style.excerpt else 0
        made = [windows.make(style) for _ in range(count)]
        pairs = [sequences.make(window, style.seconds, offset) for window in made]
        said = [pair[1] for pair in pairs]
        longest = max(map(len, said))
        yield Batch(
            mel=log_mel(
                torch.from_numpy(np.stack([window.audio for window in made])),
                [window.valid for window in made],
                draw,
            ),
            frames=torch.from_numpy(
                np.stack([frames(window.segments, style.seconds) for window in made])
            ),
            tokens=_padded([[token.id for token in pair[0]] for pair in pairs], EOT),
            labels=_padded([[token.id for token in row] for row in said], IGNORED),
            spans=torch.tensor(
                [
                    [*(t.span for t in row), *[_NOWHERE] * (longest - len(row))]
                    for row in said
                ]
            ),
            offset=offset,
            padded=not style.excerpt and size < _POSITIONS - 100,
        )
