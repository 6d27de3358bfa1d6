"""
The network: Whisper's architecture, very small, and helped to begin well.

Three things that plain Whisper training finds after many days are built in from the
start: encoder heads are local filters at fixed distances; timestamps resemble the
encoder's position encodings; and cross-attention heads are told where words are.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F  # noqa: N812 - its usual name
from torch import Tensor, nn

from tiny_whisper.speech import WORDS
from tiny_whisper.train.features import MELS
from tiny_whisper.train.vocabulary import FIRST_TIME, SIZE, TIMES


WIDTH, HEADS = 96, 4
ENCODER_LAYERS, DECODER_LAYERS = 4, 3
POSITIONS, MOST_TOKENS = 1500, 448
ALIGNED = ((2, 0), (2, 1))
"""Decoder (layer, head) that follow the word being said: word times come from these."""
FOLLOWING = ((0, 0), (0, 1))
"""Decoder (layer, head) that find the word said before."""

# How many frames away the heads of each encoder layer look at first.
_DISTANCES = ((-7, -2, 2, 7), (-16, -5, 5, 16), (-23, -8, 8, 23), (-36, -12, 12, 36))
# Padding is the same everywhere: so many of its positions stand for all.
_TAIL = 40


def sinusoids(count: int, width: int) -> Tensor:
    """Give Whisper's position encodings, (count, width)."""
    step = math.log(10000) / (width // 2 - 1)
    angles = torch.arange(count)[:, None] * torch.exp(-step * torch.arange(width // 2))
    return torch.cat([angles.sin(), angles.cos()], 1)


class Attention(nn.Module):
    """Multi-head attention, of a sequence to itself or to another."""

    def __init__(self) -> None:
        super().__init__()
        self.query, self.key = (
            nn.Linear(WIDTH, WIDTH),
            nn.Linear(WIDTH, WIDTH, bias=False),
        )
        self.value, self.out = nn.Linear(WIDTH, WIDTH), nn.Linear(WIDTH, WIDTH)

    def forward(
        self,
        x: Tensor,
        memory: Tensor | None = None,
        bias: Tensor | None = None,
        *,
        causal: bool = False,
        shown: bool = False,
    ) -> tuple[Tensor, Tensor | None]:
        """
        Attend.

        Args:
            x: (b, n, width).
            memory: (b, m, width) to attend to; x itself by default.
            bias: (m,) added to the scores.
            causal: Whether nothing later is seen.
            shown: Whether the weights (b, heads, n, m) are given too.
        """
        memory = x if memory is None else memory

        def split(y: Tensor) -> Tensor:
            return y.view(*y.shape[:2], HEADS, WIDTH // HEADS).transpose(1, 2)

        query, key = split(self.query(x)), split(self.key(memory))
        value = split(self.value(memory))
        weights = None
        if shown:
            scores = query @ key.transpose(-1, -2) / math.sqrt(WIDTH // HEADS)
            weights = (scores if bias is None else scores + bias).softmax(-1)
            mixed = weights @ value
        else:
            mask = None
            if bias is not None:
                mask = bias.expand(len(x), 1, x.shape[1], len(bias))
            mixed = F.scaled_dot_product_attention(
                query, key, value, attn_mask=mask, is_causal=causal
            )
        return self.out(mixed.transpose(1, 2).reshape(x.shape)), weights


class Block(nn.Module):
    """A layer: attention to itself, perhaps to the encoder, and two dense layers."""

    def __init__(self, *, decoder: bool) -> None:
        super().__init__()
        self.norm, self.attention = nn.LayerNorm(WIDTH), Attention()
        self.cross_norm = nn.LayerNorm(WIDTH) if decoder else None
        self.cross = Attention() if decoder else None
        self.dense_norm = nn.LayerNorm(WIDTH)
        self.wide, self.narrow = (
            nn.Linear(WIDTH, 4 * WIDTH),
            nn.Linear(4 * WIDTH, WIDTH),
        )

    def forward(
        self,
        x: Tensor,
        memory: Tensor | None,
        bias: Tensor | None,
        dropout: float,
        *,
        shown: bool = False,
    ) -> tuple[Tensor, Tensor | None]:
        def dropped(y: Tensor) -> Tensor:
            return F.dropout(y, dropout, self.training) if dropout else y

        own = None if memory is not None else bias
        y, _ = self.attention(self.norm(x), bias=own, causal=memory is not None)
        x = x + dropped(y)
        weights = None
        if self.cross is not None and self.cross_norm is not None:
            y, weights = self.cross(self.cross_norm(x), memory, bias, shown=shown)
            x = x + dropped(y)
        y = self.narrow(F.gelu(self.wide(self.dense_norm(x))))
        return x + dropped(y), weights


class TinyWhisper(nn.Module):
    """The whole network. `frame` serves training only and is not converted."""

    positions: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv1d(MELS, WIDTH, 3, padding=1)
        self.conv2 = nn.Conv1d(WIDTH, WIDTH, 3, stride=2, padding=1)
        self.register_buffer("positions", sinusoids(POSITIONS, WIDTH))
        self.encoder = nn.ModuleList(
            Block(decoder=False) for _ in range(ENCODER_LAYERS)
        )
        self.encoder_norm = nn.LayerNorm(WIDTH)
        self.embedding = nn.Embedding(SIZE, WIDTH)
        self.places = nn.Parameter(0.1 * sinusoids(MOST_TOKENS, WIDTH))
        self.decoder = nn.ModuleList(Block(decoder=True) for _ in range(DECODER_LAYERS))
        self.decoder_norm = nn.LayerNorm(WIDTH)
        self.frame = nn.Linear(WIDTH, len(WORDS) + 1)
        self._begin_well()

    @torch.no_grad()
    def _begin_well(self) -> None:
        self.embedding.weight.normal_(std=0.1)
        self.embedding.weight[FIRST_TIME:] = 0.1 * sinusoids(TIMES, WIDTH)
        # What is heard shall be as strong as the position encodings at once.
        self.conv1.weight *= 2.0
        self.conv2.weight *= 4.0
        for block, distances in zip(self.encoder, _DISTANCES, strict=True):
            assert isinstance(block, Block)
            for head, distance in enumerate(distances):
                _look_away(block.attention, head, distance)

    def encode(
        self, mel: Tensor, offset: int, dropout: float, *, padded: bool
    ) -> tuple[Tensor, Tensor | None]:
        """
        Encode windows that begin at a position.

        Padding up to 30 s would be most of the work, and is alike at each position: it
        is drawn from, and each place drawn counts for those that are not.

        Returns:
            (b, f, width), and the (f,) to add to scores of attention, if any.
        """
        count = mel.shape[2] // 2
        bias = None
        if padded:
            mel = F.pad(mel, (0, 8))
        x = F.gelu(self.conv2(F.gelu(self.conv1(mel)))).transpose(1, 2)
        if padded:
            # The third frame behind the sound hears nothing but padding.
            pad = x[:, count + 2 : count + 3]
            free = POSITIONS - count
            tail = count + (torch.arange(_TAIL) + torch.rand(_TAIL)) * free / _TAIL
            tail = tail.long().clamp(max=POSITIONS - 1)
            places = torch.cat([torch.arange(count), tail])
            x = torch.cat([x[:, :count], pad.expand(-1, _TAIL, -1)], 1)
            x = x + self.positions[places]
            bias = torch.zeros(count + _TAIL)
            bias[count:] = math.log(free / _TAIL)
        else:
            x = x + self.positions[offset : offset + count]
        for block in self.encoder:
            x, _ = block(x, None, bias, dropout)
        return self.encoder_norm(x), bias

    def decode(
        self, tokens: Tensor, memory: Tensor, bias: Tensor | None, dropout: float
    ) -> tuple[Tensor, dict[int, Tensor]]:
        """
        Decode.

        Returns:
            (b, t, width), and of some layers the weights (b, heads, t, f) with which
            each token looks at the frames.
        """
        x = self.embedding(tokens) + self.places[: tokens.shape[1]]
        seen = {}
        layers = {layer for layer, _ in (*ALIGNED, *FOLLOWING)}
        for number, block in enumerate(self.decoder):
            x, weights = block(x, memory, bias, dropout, shown=number in layers)
            if weights is not None:
                seen[number] = weights
        return self.decoder_norm(x), seen


def _look_away(attention: Attention, head: int, distance: int) -> None:
    """
    Let a head look so many frames away.

    A query is its position turned by the distance, a key its position: the score is
    the sum of cos(w (i - j + distance)) over the frequencies w of this head.
    """
    step = math.log(10000) / (WIDTH // 2 - 1)
    size = WIDTH // HEADS
    lowest = 4 if abs(distance) < 10 else 7
    for pair in range(size // 2):
        column, row = lowest + pair, head * size + 2 * pair
        turn = math.exp(-step * column) * distance
        for linear, angle in ((attention.query, turn), (attention.key, 0.0)):
            weight = linear.weight
            cos, sin = 1.3 * math.cos(angle), 1.3 * math.sin(angle)
            weight[row : row + 2] *= 0.3
            weight[row, column] += cos
            weight[row, WIDTH // 2 + column] += sin
            weight[row + 1, column] -= sin
            weight[row + 1, WIDTH // 2 + column] += cos
