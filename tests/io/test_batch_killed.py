"""A batch that is killed again and again ends as if it never had been."""

from __future__ import annotations

import random
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from batch_calls import batch, lasting, serve, wavs, write_list
from fault_server import FaultServer


if TYPE_CHECKING:
    from stress_report import Report


PROGRAM = Path(__file__).parents[1] / "batch_killed.py"

ROWS = 60


def run_and_kill(arguments: list[str], chance: random.Random) -> str:
    """Kill a batch somewhere on its way; give the last that it has told."""
    process = subprocess.Popen(
        [sys.executable, str(PROGRAM), *arguments], stdout=subprocess.PIPE, text=True
    )
    with process:
        assert process.stdout is not None
        last = "nothing"
        # Some in the list, most after a few recordings.
        for _ in range(chance.choice([1, 2, 3, 5, 9, 15])):
            last = process.stdout.readline().strip() or last
        time.sleep(chance.uniform(0.0, 0.05))
        process.kill()
        rest = process.stdout.read().split("\n")
    return "ended" if any(line.startswith("ended") for line in rest) else last


async def kill_and_compare(kills: int, seed: int, tmp_path: Path) -> list[str]:
    chance = random.Random(seed)
    folder, undisturbed = tmp_path / "killed", tmp_path / "undisturbed"
    with FaultServer() as server:
        rows = [
            (f"c{i}", serve(server, f"/{i}.wav", 2_000 + 100 * i, rate=200_000.0))
            for i in range(ROWS)
        ]
        rows.insert(7, ("missing", server.url("/none.wav")))
        listing = write_list(tmp_path / "list.csv", rows)
        await batch(server, listing, undisturbed)
        expected = wavs(undisturbed)

        reached = []
        for _ in range(kills):
            reached.append(
                run_and_kill([str(listing), str(folder), server.host], chance)
            )
            found = wavs(folder)
            assert found.items() <= expected.items()
            if len(found) > ROWS // 2:
                for name in chance.sample(sorted(found), ROWS // 3):
                    (folder / name).unlink()
        summary = await batch(server, listing, folder)

    assert (summary.done + summary.skipped, summary.failed) == (ROWS, 1)
    assert wavs(folder) == expected
    assert lasting(folder) == lasting(undisturbed)
    return reached


@pytest.mark.parametrize("anyio_backend", ["asyncio"], indirect=False)
async def test_ten_kills_change_nothing(tmp_path: Path, anyio_backend: object) -> None:
    reached = await kill_and_compare(10, 1, tmp_path)

    assert len([last for last in reached if last > "0" and last.isdigit()]) >= 2


@pytest.mark.stress
@pytest.mark.parametrize("anyio_backend", ["asyncio"], indirect=False)
async def test_a_hundred_kills_change_nothing(
    tmp_path: Path, anyio_backend: object, stress_report: Report
) -> None:
    reached = await kill_and_compare(100, 2, tmp_path)

    at_work = len([last for last in reached if last > "0" and last.isdigit()])
    stress_report(
        f"a batch of {ROWS} recordings killed 100 times",
        f"{at_work} times after it had done recordings; every WAV that was there was "
        "whole, and the last run ended like one that was left alone",
    )
    assert at_work >= 30
