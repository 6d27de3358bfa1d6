from __future__ import annotations

import subprocess
import sys

import pytest


PROGRAM = """
import logging, resource, sys
from voicepipe.servers.descriptors import allow_connections
logging.basicConfig(format="%(message)s", stream=sys.stdout)
resource.setrlimit(resource.RLIMIT_NOFILE, ({soft}, {hard}))
allow_connections({count})
print(resource.getrlimit(resource.RLIMIT_NOFILE))
"""


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such limit")
@pytest.mark.parametrize(
    ("soft", "hard", "count", "said"),
    [
        (300, 4_000, 1_000, ["(1256, 4000)"]),
        (2_000, 4_000, 1_000, ["(2000, 4000)"]),
        (
            300,
            500,
            1_000,
            ["only 500 files may be open; wanted are 1256", "(500, 500)"],
        ),
    ],
)
def test_the_limit_is_raised_as_far_as_it_may_be_and_never_lowered(
    soft: int, hard: int, count: int, said: list[str]
) -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM.format(soft=soft, hard=hard, count=count)],
        capture_output=True,
        check=True,
        text=True,
    )

    assert done.stdout.splitlines() == said
