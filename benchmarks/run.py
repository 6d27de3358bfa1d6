"""
Ours against named peers, in one run: ``nox -s bench``.

Each case times our way and the peer's way in turn, A B A B …, and reports the median of
the pairwise ratios: below 1 is faster than the peer. Machine and versions go along. The
table is printed and written to ``RESULTS.md`` beside this file.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.metadata
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import soundfile
from audio import (
    FFMPEG,
    INSTALLED,
    encode,
    isolated_cases,
    library_cases,
    many_cases,
    resample_case,
    standardize_cases,
)
from capture import capture_cases, capture_lines
from case import PAIRS, Case, measure
from downloads import clean, download_cases, make_files, web_server
from engines import transcribe_case, voice_cases, whisper_cases
from jobs import store_case
from live import live_lines
from speakers import speaker_lines
from workers import workers_case


ROOT = Path(__file__).parents[1]
PACKAGES = (
    "aiohttp",
    "anyio",
    "av",
    "ctranslate2",
    "faster-whisper",
    "httpcore",
    "imageio-ffmpeg",
    "img2dataset",
    "librosa",
    "numpy",
    "onnxruntime",
    "pocketsphinx",
    "pydub",
    "soundfile",
    "soxr",
    "SQLAlchemy",
    "uvicorn",
    "websockets",
)

PROGRAMS = ("aria2c", "curl", "nginx")


def version(name: str) -> str:
    """Give the version of a package, or that there is none."""
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return "(not installed)"


def program_version(name: str) -> str:
    """Give the version of a program, or that there is none."""
    program = shutil.which(name)
    if program is None:
        return f"{name} (not installed)"
    # nginx knows -v only, and says it as an error.
    flag = "-v" if name == "nginx" else "--version"
    told = subprocess.run([program, flag], capture_output=True, check=False, text=True)
    return (told.stdout or told.stderr).splitlines()[0]


def ffmpeg_version(program: str | None) -> str:
    """Give the version of an ffmpeg program."""
    if program is None:
        return "(not installed)"
    out = subprocess.run([program, "-version"], capture_output=True, check=True)
    return out.stdout.decode().split()[2]


def row(case: Case) -> str:
    """Measure a case, and give its line of the table."""
    result = measure(case)
    line = f"| {case.name} | {case.peer_name} | not installed: not measured | | | |"
    if result is not None:
        line = result.row
    print(line, flush=True)
    return line


def report(rows: list[str], paragraphs: list[str]) -> str:
    """Write the page."""
    versions = ", ".join(f"{name} {version(name)}" for name in PACKAGES)
    made = (
        "Made by `nox -s bench`: ours and the peer in turn, the median of at least "
        f"{PAIRS} pairwise ratios; below 1 is faster than the peer. Compare ratios, "
        "not seconds."
    )
    machine = (
        f"{time.strftime('%Y-%m-%d')}, {platform.system()} {platform.machine()}, "
        f"{os.cpu_count()} cores, Python {platform.python_version()}, "
        f"ffmpeg {ffmpeg_version(FFMPEG)} (static build), "
        f"{ffmpeg_version(INSTALLED)} (the system's), "
        f"{', '.join(map(program_version, PROGRAMS))}, {versions}."
    )
    lines = [
        "# Results",
        "",
        made,
        "",
        machine,
        "",
        "| ours | peer | ours, median | peer, median | ratio | ratios |",
        "| --- | --- | --- | --- | --- | --- |",
        *rows,
        "",
        "\n\n".join(paragraphs),
        "",
    ]
    return "\n".join(lines)


def peak_of_a_day(folder: Path) -> str:
    """Give the peak memory of standardizing 24 hours of telephone sound, as a line."""
    rate, hour = 8_000, folder / "hour.mp3"
    noise = np.random.default_rng(0).uniform(-0.5, 0.5, (3_599 * rate, 1))
    # Nothing but frames, so that hours can be put together; a day is the limit.
    plain = {"write_xing": "0", "id3v2_version": "0"}
    encode(hour, "libmp3lame", noise.astype(np.float32), rate, options=plain)
    day = folder / "day.mp3"
    day.write_bytes(hour.read_bytes() * 24)
    begin = time.perf_counter()
    peak = subprocess.run(
        [sys.executable, ROOT / "benchmarks" / "memory.py", day, folder / "day.wav"],
        capture_output=True,
        check=True,
        text=True,
    ).stdout
    took = time.perf_counter() - begin
    seconds = soundfile.info(folder / "day.wav").duration
    return (
        f"Peak memory of `standardize` on {seconds / 3_600:.1f} hours of telephone MP3 "
        f"(8 kHz mono to 16 kHz WAV, in {took:.0f} s): **{float(peak):.0f} MiB**, the "
        "interpreter and all imports included."
    )


def main() -> None:
    """Run the cases and write the page."""
    parser = argparse.ArgumentParser(description="Measure against peers.")
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks" / "RESULTS.md")
    parser.add_argument("--only", default="", help="part of a name; writes no page")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name, contextlib.ExitStack() as stack:
        folder = Path(name)
        folder.chmod(0o755)  # the server works as nobody
        stack.callback(clean)
        make_files(folder / "web" / "data")
        host = stack.enter_context(web_server(folder / "web"))
        cases = [
            *download_cases(folder, host),
            *standardize_cases(folder),
            *many_cases(folder),
            *isolated_cases(folder),
            *library_cases(folder),
            resample_case(),
            transcribe_case(),
            *voice_cases(),
            *whisper_cases(),
            stack.enter_context(store_case(folder)),
            stack.enter_context(workers_case(folder)),
            *capture_cases(folder, stack),
        ]
        rows = [row(case) for case in cases if arguments.only in case.name]
        lines = capture_lines(folder) if arguments.only in "live audio" else []
        lines += live_lines() if arguments.only in "live words" else []
        lines += speaker_lines(9) if arguments.only in "who spoke when" else []
        if not arguments.only:
            lines.append(peak_of_a_day(folder))
        page = report(rows, lines)
    if arguments.only:
        print(page)
        return
    arguments.out.write_text(page, encoding="utf-8")
    print(page)


if __name__ == "__main__":
    main()
