"""Without an extra's package, its part says what to install, and the rest works."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import anyio
import pytest

import voicepipe


SITE = Path(anyio.__file__).parents[1]
SOURCE = Path(voicepipe.__file__).parents[1]


def run_without(package: str, code: str, folder: Path) -> str:
    """Run code where everything is installed but one package."""
    for entry in SITE.iterdir():
        if not entry.name.lower().startswith(package):
            (folder / entry.name).symlink_to(entry)
    done = subprocess.run(
        [sys.executable, "-S", "-c", code],
        capture_output=True,
        check=False,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(SOURCE), str(folder)])},
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize(
    ("make", "package", "extra"),
    [
        ("PocketSphinxTranscriber()", "pocketsphinx", "pocketsphinx"),
        ("SqlJobStore('jobs.db')", "sqlalchemy", "sql"),
        ("SqlJobStore('postgresql:///jobs')", "psycopg", "sql"),
        ("GeminiAnalyzer(api_key='x')", "google-genai", "gemini"),
    ],
)
def test_a_missing_package_is_told_with_the_command_that_brings_it(
    make: str, package: str, extra: str, tmp_path: Path
) -> None:
    code = f"""
import voicepipe
try:
    voicepipe.{make}
except voicepipe.MissingExtraError as exc:
    print(exc.package, exc.extra, exc)
print(voicepipe.ExtractiveAnalyzer.__name__)
"""
    folder = package.partition("-")[0]
    out = run_without(folder, code, tmp_path).splitlines()

    assert out[0].startswith(f"{package} {extra} ")
    assert out[0].endswith(f"pip install 'voicepipe[{extra}]'")
    assert out[1] == "ExtractiveAnalyzer"
