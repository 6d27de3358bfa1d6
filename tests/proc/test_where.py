"""Helpers of a caller that is no ordinary program."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest


HERE = Path(__file__)
CODE = """
from voicepipe import ChildLimits
from voicepipe.proc.pool import ChildPool
print("main runs")
async def main():
    pool = ChildPool(1, ChildLimits())
    print(await pool.call("proc_calls:measure", {"unit": "B"}, b"123"))
    async with pool.lend() as helper:
        print(helper.exchange("proc_calls:double", {}, b"ab"))
"""
ENDS = {
    "script": "import anyio\nanyio.run(main)\n",
    "trio script": "import anyio\nanyio.run(main, backend='trio')\n",
    "notebook": "await main()\n",
}
WAYS = {
    "standard input": (["-"], "script"),
    "argument": (["-c", CODE + ENDS["script"]], "script"),
    "trio": (["-c", CODE + ENDS["trio script"]], "trio script"),
    "notebook cell": (
        ["-m", "IPython", "--colors=NoColor", "-c", CODE + ENDS["notebook"]],
        "notebook",
    ),
}


@pytest.mark.parametrize(("arguments", "end"), WAYS.values(), ids=WAYS.keys())
def test_helpers_work_from_anywhere(
    arguments: list[str], end: str, tmp_path: Path
) -> None:
    done = subprocess.run(
        [sys.executable, *arguments],
        input=CODE + ENDS[end] if arguments == ["-"] else "",
        capture_output=True,
        check=False,
        text=True,
        cwd=tmp_path,
        env={
            **os.environ,
            "PYTHONPATH": str(HERE.parents[1]),
            "IPYTHONDIR": str(tmp_path),
        },
        timeout=100,
    )

    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[:3] == [
        "main runs",
        "{'bytes': 3, 'unit': 'B'}",
        "({'length': 2}, b'abab')",
    ]


def test_a_module_that_lies_about_is_not_taken_for_ours(tmp_path: Path) -> None:
    """A helper does not look into its caller's directory before the path is set."""
    (tmp_path / "json.py").write_text("raise SystemExit('taken')")

    done = subprocess.run(
        [sys.executable, "-P", "-c", CODE + ENDS["script"]],
        capture_output=True,
        check=False,
        text=True,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(HERE.parents[1])},
        timeout=100,
    )

    assert done.returncode == 0, done.stderr
