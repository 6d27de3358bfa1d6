"""Whatever is done to list and folder: the next run sets right what it must."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import anyio
import pytest
from batch_calls import batch, entries, sound, wavs, write_list
from fault_answers import Serve, status
from fault_server import FaultServer
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from voicepipe.io.wav.writer import HEADER_BYTES


if TYPE_CHECKING:
    from collections.abc import Iterator

    from stress_report import Report


IDS = ("a", "b", "c", "D", "d", "e")
SOUNDS = tuple(range(4))
"""Sound ``n`` has ``100 + n`` frames."""

BROKEN = "broken"


class Row(NamedTuple):
    """A row of the list: an id, and which sound its URL has."""

    name: str
    sound: int | str


class Step(NamedTuple):
    """
    What happens before a run, and how it runs.

    Attributes:
        rows: The list, as somebody has edited it.
        lost: Files that are removed, by their ids.
        spoilt: Files that are overwritten.
        server_works: Whether the broken URL works by now.
        limit: See ``BatchOptions``.
    """

    rows: list[Row]
    lost: set[str]
    spoilt: set[str]
    server_works: bool
    limit: int | None


a_row = st.builds(Row, st.sampled_from(IDS), st.sampled_from([*SOUNDS, BROKEN]))
a_step = st.builds(
    Step,
    st.lists(a_row, max_size=8),
    st.sets(st.sampled_from(IDS), max_size=2),
    st.sets(st.sampled_from(IDS), max_size=2),
    st.booleans(),
    st.none() | st.integers(1, 3),
)


class Model:
    """What the folder and the manifest must be: the slow and simple way."""

    def __init__(self) -> None:
        self.files: dict[str, int | None] = {}
        self.known: dict[str, Row] = {}

    def disturb(self, step: Step) -> None:
        for name in step.lost:
            self.files.pop(name, None)
        for name in step.spoilt:
            if name in self.files:
                self.files[name] = None

    def run(self, step: Step) -> tuple[list[tuple[str, str]], list[str]]:
        """Give the manifest's statuses, and which URLs are asked for."""
        told, asked, seen, left = [], [], {}, step.limit
        for row in step.rows:
            earlier = seen.setdefault(row.name.lower(), row)
            if earlier != row:
                told.append((row.name, "NameCollision"))
            elif earlier is row:
                told.append((row.name, self._do(row, step, left)))
                if told[-1][1].startswith("!"):
                    asked.append(f"/{row.sound}")
                    left = None if left is None else left - 1
        return [(name, how.strip("!")) for name, how in told], sorted(asked)

    def _do(self, row: Row, step: Step, left: int | None) -> str:
        """Do one row; what was asked for begins with an exclamation mark."""
        known = self.known.get(row.name.lower()) == row
        frames = self.files.get(row.name)
        if known and frames is not None:
            return "done"
        if left == 0:
            return "pending"
        if row.sound == BROKEN and not step.server_works:
            self.known.pop(row.name.lower(), None)
            return "!HttpStatusError"
        self.known[row.name.lower()] = row
        self.files[row.name] = frames_of(row.sound)
        return "!done"


def frames_of(which: int | str) -> int:
    return 100 + (9 if which == BROKEN else int(which))


@pytest.fixture(scope="module")
def server() -> Iterator[FaultServer]:
    with FaultServer() as server:
        for which in SOUNDS:
            server.on(f"/{which}", Serve(body=sound(frames_of(which))))
        yield server


async def hold_against_model(server: FaultServer, steps: list[Step]) -> None:
    model = Model()
    with tempfile.TemporaryDirectory() as made:
        folder, listing = Path(made, "wavs"), Path(made, "list.csv")
        folder.mkdir()
        for step in steps:
            model.disturb(step)
            for name in step.lost:
                (folder / f"{name}_speaker.wav").unlink(missing_ok=True)
            for name in step.spoilt:
                path = folder / f"{name}_speaker.wav"
                if path.exists():
                    path.write_bytes(bytes(path.stat().st_size))
            works = Serve(body=sound(frames_of(BROKEN)))
            server.on(f"/{BROKEN}", works if step.server_works else status(404))
            rows = [(row.name, server.url(f"/{row.sound}")) for row in step.rows]
            write_list(listing, rows)
            server.requests.clear()
            told, asked = model.run(step)

            summary = await batch(server, listing, folder, limit=step.limit)

            found = [
                (entry["conversation_id"], entry["error_class"] or entry["status"])
                for entry in entries(folder)
            ]
            assert found == told
            assert sorted(seen.target for seen in server.requests) == asked
            assert summary.rows == len(step.rows)
            assert summary.duplicates == len(step.rows) - len(told)
            whole = {f"{n}_speaker.wav": f for n, f in model.files.items() if f}
            spoilt = {f"{n}_speaker.wav" for n, f in model.files.items() if not f}
            for name in spoilt:
                (folder / name).rename(folder / f"{name}.spoilt")
            sizes = {n: HEADER_BYTES + 2 * frames for n, frames in whole.items()}
            assert {n: len(content) for n, content in wavs(folder).items()} == sizes
            for name in spoilt:
                (folder / f"{name}.spoilt").rename(folder / name)


def test_any_edits_and_runs_end_as_the_model_says(server: FaultServer) -> None:
    @settings(
        max_examples=15,
        suppress_health_check=list(HealthCheck),
        derandomize=True,
    )
    @given(st.lists(a_step, min_size=1, max_size=4))
    def check(steps: list[Step]) -> None:
        anyio.run(hold_against_model, server, steps)

    check()


@pytest.mark.stress
def test_many_edits_and_runs_end_as_the_model_says(
    server: FaultServer, stress_report: Report
) -> None:
    runs = 0

    @settings(max_examples=150, suppress_health_check=list(HealthCheck))
    @given(st.lists(a_step, min_size=1, max_size=5))
    def check(steps: list[Step]) -> None:
        nonlocal runs
        runs += len(steps)
        anyio.run(hold_against_model, server, steps)

    check()
    stress_report(
        "batches run again after edits to list and folder, against a model",
        f"{runs} runs: requests, files and manifest as the model says",
    )
