from __future__ import annotations

import subprocess
import sys

import pytest


@pytest.mark.parametrize(
    ("package", "code"),
    [
        ("uvicorn", "import voicepipe.servers.run"),
        ("uvicorn", "import voicepipe.servers.protocol"),
        ("dotenv", "from voicepipe.servers.env import read_env; read_env('.')"),
        (
            "concurrent_log_handler",
            "from voicepipe.servers.logs import setup_logging; setup_logging('.', 'a')",
        ),
    ],
)
def test_a_missing_package_is_told_with_the_command_that_brings_it(
    package: str, code: str
) -> None:
    program = f"""
import sys
sys.modules[{package!r}] = None
from voicepipe import MissingExtraError
try:
    {code}
except MissingExtraError as exc:
    print(exc)
"""
    out = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, check=True, text=True
    )

    assert package in out.stdout
    assert "pip install 'voicepipe[servers]'" in out.stdout


def test_the_library_does_not_load_the_servers_part() -> None:
    code = "import sys, voicepipe; print([m for m in sys.modules if 'servers' in m])"
    out = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, check=True, text=True
    )

    assert out.stdout == "[]\n"


def test_the_protections_need_no_package_of_the_extra() -> None:
    code = (
        "import sys, voicepipe.servers.protect\n"
        "foreign = {'uvicorn', 'starlette', 'dotenv', 'concurrent_log_handler'}\n"
        "print(sorted(foreign & set(sys.modules)))"
    )
    out = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, check=True, text=True
    )

    assert out.stdout == "[]\n"
