"""A long list takes no more memory than a short one."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from batch_calls import serve
from fault_server import FaultServer


if TYPE_CHECKING:
    from stress_report import Report


PROGRAM = Path(__file__).parents[1] / "batch_measured.py"

GOOD = 100
MOST_MIB = 150


def measure(rows: int, form: str, folder: Path) -> dict[str, Any]:
    """Run a batch of which some are fetched, and the others lead where they may not."""
    folder.mkdir()
    listing = folder / f"list.{form}"
    with FaultServer() as server:
        url = serve(server, "/good.wav", 800)
        ids = (f"conversation-{i:09}" for i in range(rows))
        urls = (
            f"{url if i < GOOD else 'http://10.0.0.1/r.mp3'}?sig={i:064x}"
            for i in range(rows)
        )
        write(listing, list(zip(ids, urls, strict=True)))
        command = [sys.executable, str(PROGRAM), str(listing), str(folder / "wavs")]
        out = subprocess.run(
            [*command, server.host], capture_output=True, check=True, text=True
        )
    return dict(json.loads(out.stdout))


def write(path: Path, rows: list[tuple[str, str]]) -> None:
    if path.suffix == ".parquet":
        import pyarrow as pa
        import pyarrow.parquet as pq

        ids, urls = zip(*rows, strict=True)
        table = {
            "conversation_id": ids,
            "audio_url": urls,
            "note": ["x" * 100] * len(ids),
        }
        pq.write_table(pa.table(table), path)
        return
    with path.open("w") as file:
        file.write("conversation_id,audio_url,note\n")
        file.writelines(f"{name},{url},{'x' * 100}\n" for name, url in rows)


def test_five_thousand_rows_take_little_memory(tmp_path: Path) -> None:
    short = measure(1_000, "csv", tmp_path / "short")
    long = measure(5_000, "csv", tmp_path / "long")

    assert long["counts"] == [[GOOD, 0, 4_900], [0, GOOD, 4_900]]
    assert max(long["peak_mib"]) < MOST_MIB
    assert max(long["peak_mib"]) - max(short["peak_mib"]) < 20


@pytest.mark.stress
@pytest.mark.parametrize("form", ["csv", "parquet"])
def test_a_hundred_thousand_rows_stay_under_150_mib(
    tmp_path: Path, form: str, stress_report: Report
) -> None:
    found = measure(100_000, form, tmp_path / "long")

    first, again = found["took_s"]
    stress_report(
        f"a batch of 100,000 rows ({form}), and the same again",
        f"{max(found['peak_mib']):.0f} MiB; {first:.0f} s, then {again:.0f} s",
    )
    assert found["counts"] == [[GOOD, 0, 99_900], [0, GOOD, 99_900]]
    assert max(found["peak_mib"]) < MOST_MIB
