"""The stages of training, which can be stopped and gone on with at any checkpoint."""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING, Any

import attrs
import torch
import torch.nn.functional as F  # noqa: N812 - its usual name
from torch import Tensor, nn

from tiny_whisper.train.batches import IGNORED, Batch, Mix, batches
from tiny_whisper.train.network import ALIGNED, FOLLOWING, TinyWhisper
from tiny_whisper.train.vocabulary import EOT, SIZE
from tiny_whisper.train.windows import Style


if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator
    from pathlib import Path

_log = logging.getLogger(__name__)

_EVERY = 250
"""Steps from one checkpoint to the next."""
_GAP_S = 20.0
"""A step that takes longer was stopped from outside: it is told in the log."""


@attrs.frozen(kw_only=True)
class Stage:
    """
    A part of the training.

    Attributes:
        name: Also of its checkpoint.
        after: The checkpoint that it begins with, if not told otherwise.
        steps: How many, if not told otherwise.
        rates: The first and the last learning rate; between them it falls evenly.
        mixes: What is heard, and from which step on.
        frame_weight: How much the labels of frames count.
    """

    name: str
    after: str | None
    steps: int
    rates: tuple[float, float]
    mixes: tuple[tuple[int, Mix], ...]
    frame_weight: float = 1.0
    dropout: float = 0.0


_FIRST = Mix(
    styles=(Style(seconds=2.5, excerpt=True, most_words=3, alone=0.3, lead=0.5),)
)
_SHORT = (
    Style(seconds=3.0, most_words=6, alone=0.8, lead=1.0),
    Style(seconds=4.0),
    Style(seconds=6.0, alone=0.6),
    Style(seconds=5.0, excerpt=True),
)
_MAIN = Mix(styles=_SHORT)
_LAST = Mix(
    styles=(
        *_SHORT,
        *_SHORT,
        Style(seconds=4.0, alone=0.8),
        Style(seconds=4.0, alone=0.8),
        Style(seconds=6.0, alone=0.8),
        Style(seconds=6.0, alone=0.8),
        Style(seconds=8.0, alone=0.3),
        Style(seconds=12.0, alone=0.1),
        Style(seconds=30.0, alone=0.0, lead=5.0),
    ),
    long_prompt=223,
)

_DENSE = Mix(
    styles=(
        *_SHORT,
        Style(seconds=12.0, alone=0.1),
        Style(seconds=20.0, alone=0.0),
        Style(seconds=30.0, alone=0.0),
        Style(seconds=30.0, alone=0.0, most_words=6),
    ),
    long_prompt=223,
)

STAGES = {
    stage.name: stage
    for stage in (
        Stage(
            name="learn",
            after=None,
            steps=6000,
            rates=(1.5e-3, 1.5e-3),
            mixes=((0, _FIRST), (300, _MAIN)),
        ),
        Stage(
            name="settle",
            after="learn",
            steps=3000,
            rates=(1.5e-3, 1e-5),
            mixes=((0, _LAST),),
            frame_weight=0.5,
        ),
        Stage(
            name="lengthen",
            after="settle",
            steps=500,
            rates=(5e-4, 1e-5),
            mixes=((0, _DENSE),),
            frame_weight=0.5,
        ),
    )
}


class _Heard(torch.utils.data.IterableDataset[Batch]):
    """Batches, made in another process."""

    def __init__(self, work: Path, mix: Mix, seed: tuple[int, ...]) -> None:
        self._given = (work, mix, seed)

    def __iter__(self) -> Iterator[Batch]:
        return batches(*self._given)


def _batches(work: Path, mix: Mix, seed: tuple[int, ...]) -> Iterator[Batch]:
    heard = _Heard(work, mix, seed)
    return iter(
        torch.utils.data.DataLoader(
            heard, batch_size=None, num_workers=1, prefetch_factor=6
        )
    )


def _guided(
    seen: dict[int, Tensor], heads: tuple[tuple[int, int], ...], spans: Tensor
) -> Tensor:
    """Give how badly the heads look at the frames (b, t, 2) that they should."""
    known = spans[..., 1] > 0
    if not known.any():
        return torch.zeros(())
    loss = torch.zeros(())
    for layer, head in heads:
        weights = seen[layer][:, head]
        count = weights.shape[-1]
        first = spans[..., 0].floor().clamp(0, count - 1).long()
        last = spans[..., 1].ceil().clamp(1, count).long().maximum(first + 1)
        sums = F.pad(weights.cumsum(-1), (1, 0))
        mass = sums.gather(-1, last[..., None]) - sums.gather(-1, first[..., None])
        missed = -mass[..., 0].clamp(min=1e-5).log()
        loss = loss + (missed * known).sum() / known.sum() / len(heads)
    return loss


def losses(
    model: TinyWhisper, batch: Batch, stage: Stage
) -> tuple[Tensor, dict[str, float]]:
    """Give the loss of a batch, and its parts."""
    memory, bias = model.encode(
        batch.mel, batch.offset, stage.dropout, padded=batch.padded
    )
    decoded, seen = model.decode(batch.tokens, memory, bias, stage.dropout)
    asked = batch.labels != IGNORED
    labels = batch.labels[asked]
    logits = decoded[asked] @ model.embedding.weight.T
    text = F.cross_entropy(logits, labels, label_smoothing=0.02)
    heard = memory[:, : batch.frames.shape[1]]
    frame = F.cross_entropy(
        model.frame(heard).flatten(0, 1), batch.frames.flatten(), ignore_index=IGNORED
    )
    before = F.pad(batch.spans, (0, 0, 1, 0), value=-1.0)[:, :-1]
    guided = _guided(seen, ALIGNED, batch.spans) + _guided(seen, FOLLOWING, before)
    words = labels < EOT
    right = (logits.argmax(-1)[words] == labels[words]).float().mean()
    parts = {
        "text": text.item(),
        "frame": frame.item(),
        "guided": guided.item(),
        "words right": right.item(),
    }
    return text + stage.frame_weight * frame + 0.3 * guided, parts


def _optimizers(model: TinyWhisper, kind: str) -> list[torch.optim.Optimizer]:
    """Muon takes the matrices of the layers, AdamW all else."""
    matrices: list[nn.Parameter] = []
    others: list[nn.Parameter] = []
    for name, parameter in model.named_parameters():
        inner = name.startswith(("encoder.", "decoder.")) and parameter.ndim == 2
        (matrices if inner and kind == "muon" else others).append(parameter)
    made: list[torch.optim.Optimizer] = [
        torch.optim.AdamW(others, betas=(0.9, 0.98), weight_decay=0.01, foreach=True)
    ]
    if matrices:
        made.append(
            torch.optim.Muon(
                matrices, weight_decay=0.01, adjust_lr_fn="match_rms_adamw"
            )
        )
    return made


class _Trainer:
    """A model, its average over time, and the optimizers."""

    def __init__(self, stage: Stage, asked: argparse.Namespace) -> None:
        torch.manual_seed(asked.seed)
        torch.set_num_threads(asked.threads)
        self.model = TinyWhisper()
        self.average = TinyWhisper()
        self.steps = 0
        self.average.load_state_dict(self.model.state_dict())
        self.optimizers = _optimizers(self.model, asked.optimizer)
        start = asked.checkpoint
        if start is None and stage.after is not None:
            start = asked.work / f"{stage.after}.pt"
        if start is not None:
            self._go_on(torch.load(start))

    def _go_on(self, kept: dict[str, Any]) -> None:
        """Begin where a checkpoint ends."""
        self.model.load_state_dict(kept["model"])
        self.average.load_state_dict(kept["average"])
        self.steps = kept["steps"]
        if len(kept["optimizers"]) == len(self.optimizers):
            for optimizer, state in zip(
                self.optimizers, kept["optimizers"], strict=True
            ):
                optimizer.load_state_dict(state)

    def step(self, batch: Batch, stage: Stage, rate: float) -> dict[str, float]:
        """Learn from one batch."""
        loss, parts = losses(self.model, batch, stage)
        for optimizer in self.optimizers:
            for group in optimizer.param_groups:
                group["lr"] = rate
            optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(self.model.parameters(), 1.0, foreach=True)
        for optimizer in self.optimizers:
            optimizer.step()
        self.steps += 1
        share = 1 - min(0.998, self.steps / (self.steps + 20))
        with torch.no_grad():
            torch._foreach_lerp_(
                list(self.average.parameters()), list(self.model.parameters()), share
            )
        return parts

    def keep(self, path: Path) -> None:
        """Write a checkpoint, whole or not at all."""
        state: dict[str, Any] = {
            "model": self.model.state_dict(),
            "average": self.average.state_dict(),
            "optimizers": [optimizer.state_dict() for optimizer in self.optimizers],
            "steps": self.steps,
        }
        part = path.with_suffix(".part")
        torch.save(state, part)
        part.rename(path)


def train(stage: Stage, asked: argparse.Namespace) -> None:
    """Run a stage."""
    trainer = _Trainer(stage, asked)
    count = sum(parameter.numel() for parameter in trainer.model.parameters())
    _log.info("%s: %d parameters, %d tokens", stage.name, count, SIZE)
    clock = _Clock(asked.steps or stage.steps, asked.minutes)
    first, last = stage.rates
    mixes = dict(stage.mixes)
    heard: Iterator[Batch] = iter(())
    told: list[dict[str, float]] = []
    # A stage that is gone on with from its own checkpoint does not warm up again.
    already = trainer.steps if stage.after is None else 0
    while (done := clock.done()) < 1:
        step = clock.steps
        if step + already in mixes or step == 0:
            mix = mixes[max(at for at in mixes if at <= step + already)]
            heard = _batches(asked.work, mix, (asked.seed, trainer.steps))
        rate = first + (last - first) * done
        rate *= min(1.0, (step + already + 1) / 150)
        told.append(trainer.step(next(heard), stage, rate))
        clock.tick()
        if len(told) == 50:
            _tell(f"{stage.name} {clock.steps} ({done:.1%})", told, rate)
            told = []
        if clock.steps % _EVERY == 0:
            trainer.keep(asked.work / f"{stage.name}.pt")
    trainer.keep(asked.work / f"{stage.name}.pt")
    _log.info("%s: %d steps in all", stage.name, trainer.steps)


class _Clock:
    """Counts steps, or minutes where they are given, and tells of gaps."""

    def __init__(self, steps: int, minutes: float | None) -> None:
        self.steps = 0
        self._wanted = steps
        self._seconds = None if minutes is None else 60 * minutes
        self._began = self._before = time.monotonic()

    def done(self) -> float:
        """Give the share that is done."""
        if self._seconds is None:
            return self.steps / self._wanted
        return (time.monotonic() - self._began) / self._seconds

    def tick(self) -> None:
        """Count a step."""
        self.steps += 1
        now = time.monotonic()
        if now - self._before > _GAP_S:
            _log.info("a gap of %.0f s", now - self._before)
        self._before = now


def _tell(where: str, told: list[dict[str, float]], rate: float) -> None:
    means = {name: sum(parts[name] for parts in told) / len(told) for name in told[0]}
    figures = ", ".join(f"{name} {mean:.3f}" for name, mean in means.items())
    _log.info(
        "%s: %s; rate %.5f, %.0f s CPU", *(where, figures, rate, time.process_time())
    )
