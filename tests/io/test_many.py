from __future__ import annotations

import time
from typing import TYPE_CHECKING

import anyio
import pytest
import soundfile as sf

from voicepipe import (
    DecodeOptions,
    NotAudioError,
    standardize,
    standardize_many,
)


if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


def pairs_of(source: Path, folder: Path, count: int) -> list[tuple[Path, Path]]:
    folder.mkdir(exist_ok=True)
    return [(source, folder / f"{index}.wav") for index in range(count)]


async def test_each_recording_becomes_what_standardize_makes_of_it(
    recording: Callable[..., Path], tmp_path: Path
) -> None:
    one = await standardize(recording("mp3", 8_000), tmp_path / "one.wav", rate=8_000)
    pairs = pairs_of(recording("mp3", 8_000), tmp_path / "out", 9)

    async with standardize_many(pairs, workers=2, rate=8_000) as outcomes:
        found = {outcome.index: outcome async for outcome in outcomes}

    assert sorted(found) == list(range(9))
    for index, outcome in found.items():
        assert (outcome.source, outcome.target) == pairs[index]
        assert outcome.error is None
        assert outcome.file is not None
        assert outcome.file.report == one.report
        assert outcome.target.read_bytes() == one.path.read_bytes()


async def test_what_goes_wrong_with_one_is_told_and_the_others_go_on(
    recording: Callable[..., Path], tmp_path: Path
) -> None:
    page = tmp_path / "page.mp3"
    page.write_text("<html>")
    good = recording("flac", 8_000)
    sources = [good, page, tmp_path / "missing.wav", good.read_bytes(), b"", good]
    pairs = [(source, tmp_path / f"{i}.wav") for i, source in enumerate(sources)]
    pairs.append((good, tmp_path / "no" / "folder.wav"))

    async with standardize_many(pairs, workers=2) as outcomes:
        found = {outcome.index: outcome async for outcome in outcomes}

    errors = {i: type(o.error).__name__ for i, o in found.items() if o.error}
    assert errors == {
        1: "NotAudioError",
        2: "FileNotFoundError",
        4: "EmptyAudioError",
        6: "FileNotFoundError",
    }
    assert isinstance(found[1].error, NotAudioError)
    assert sorted(p.name for p in tmp_path.glob("*.wav")) == ["0.wav", "3.wav", "5.wav"]
    assert list(tmp_path.glob(".*.part")) == []


async def test_pairs_are_taken_as_workers_become_free(
    recording: Callable[..., Path], tmp_path: Path
) -> None:
    taken: list[int] = []

    def endless() -> Iterator[tuple[Path, Path]]:
        for index in range(10**9):
            taken.append(index)
            yield recording("wav", 8_000), tmp_path / f"{index}.wav"

    async with standardize_many(endless(), workers=2) as outcomes:
        first = await anext(outcomes)
        # Enough time for more, if anything asked for them.
        await anyio.sleep(0.3)

    assert first.error is None
    assert len(taken) <= 6


async def test_leaving_the_block_stops_what_is_under_way(
    long_mp3: Path, recording: Callable[..., Path], tmp_path: Path
) -> None:
    pairs = [
        (recording("wav", 8_000), tmp_path / "short.wav"),
        (long_mp3, tmp_path / "long.wav"),
    ]

    async with standardize_many(pairs, workers=2) as outcomes:
        outcome = await anext(outcomes)
        begin = time.monotonic()
    took = time.monotonic() - begin

    assert outcome.target.name == "short.wav"
    assert took < 60.0
    assert [p.name for p in tmp_path.glob("*.wav")] == ["short.wav"]
    assert list(tmp_path.glob(".*.part")) == []


async def test_no_pairs_are_no_outcomes() -> None:
    async with standardize_many([]) as outcomes:
        assert [outcome async for outcome in outcomes] == []


async def test_an_error_of_the_pairs_is_raised_bare(
    recording: Callable[..., Path], tmp_path: Path
) -> None:
    def broken() -> Iterator[tuple[Path, Path]]:
        yield recording("wav", 8_000), tmp_path / "0.wav"
        raise LookupError("no such column")

    async def convert() -> None:
        async with standardize_many(broken(), workers=1) as outcomes:
            async for _ in outcomes:
                pass

    with pytest.raises(LookupError, match="no such column"):
        await convert()


@pytest.mark.parametrize("workers", [0, -1])
async def test_there_is_at_least_one_worker(workers: int) -> None:
    with pytest.raises(ValueError, match="workers"):
        async with standardize_many([], workers=workers):
            pass


async def test_a_progress_bar_goes_round_it(
    recording: Callable[..., Path], tmp_path: Path
) -> None:
    from tqdm.asyncio import tqdm

    pairs = pairs_of(recording("wav", 8_000), tmp_path / "out", 3)
    with (tmp_path / "bar").open("w+") as bar:
        async with standardize_many(pairs) as outcomes:
            async for _ in tqdm(outcomes, total=len(pairs), file=bar):
                pass
        bar.seek(0)

        assert "3/3" in bar.read()


async def test_channels_and_limits_hold_for_each(
    recording: Callable[..., Path], tmp_path: Path
) -> None:
    pairs = pairs_of(recording("wav"), tmp_path / "out", 2)

    async with standardize_many(pairs, channels=None, rate=44_100) as outcomes:
        assert all([outcome.error is None async for outcome in outcomes])
    async with standardize_many(
        pairs, options=DecodeOptions(max_duration_s=1.0)
    ) as outcomes:
        errors = [str(outcome.error) async for outcome in outcomes]

    assert sf.info(pairs[0][1]).channels == 2
    assert sf.info(pairs[0][1]).samplerate == 44_100
    assert all("more than 1 s" in error for error in errors)
