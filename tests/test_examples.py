"""The examples, run as a user runs them."""

from __future__ import annotations

import json
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
import soundfile


EXAMPLES = Path(__file__).parents[1] / "examples"
SAMPLE = EXAMPLES / "data" / "sample_call.flac"


def quickstart(*arguments: str, folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(EXAMPLES / "quickstart.py"), *arguments],
        capture_output=True,
        check=False,
        cwd=folder,
        text=True,
        timeout=500,
    )


def test_the_quickstart_runs_the_main_job_on_the_sample_call(tmp_path: Path) -> None:
    done = quickstart(folder=tmp_path)

    assert done.returncode == 0, done.stderr
    for text in (
        "agent: good morning",
        "customer: ",
        "Talk metrics",
        "words per minute",
        "type      order",
        "key points",
        "job 1: done",
        "transcribe",
    ):
        assert text in done.stdout
    out = tmp_path / "voicepipe-out"
    for name in ("sample_call", "sample_call_Speaker00", "sample_call_Speaker01"):
        wav = soundfile.info(out / f"{name}.wav")
        assert (wav.samplerate, wav.channels, wav.subtype) == (16_000, 1, "PCM_16")
        assert wav.duration == pytest.approx(70.283)
    (row,) = sqlite3.connect(out / "jobs.db").execute(
        "SELECT status, transcript FROM jobs"
    )
    assert row[0] == "done"
    assert json.loads(row[1])["segments"]


def test_the_quickstart_takes_any_recording(tmp_path: Path) -> None:
    samples, rate = soundfile.read(SAMPLE)
    soundfile.write(tmp_path / "mine.ogg", samples[: 7 * rate, :1], rate)

    done = quickstart("mine.ogg", "--out", "there", folder=tmp_path)

    assert done.returncode == 0, done.stderr
    assert "Speaker00: " in done.stdout
    assert [p.name for p in (tmp_path / "there").glob("*.wav")] == ["mine.wav"]


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("gone.wav", None, "No such file"),
        ("page.mp3", b"<html>log in</html>", "page.mp3"),
        ("empty.wav", b"", "empty.wav"),
    ],
)
def test_the_quickstart_says_what_is_wrong_in_one_line(
    tmp_path: Path, name: str, content: bytes | None, words: str
) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)

    done = quickstart(name, folder=tmp_path)

    assert done.returncode == 1
    line = done.stderr.splitlines()[-1]
    assert line.startswith("error: ")
    assert words in line
    assert "Traceback" not in done.stderr


def test_the_sample_call_is_what_its_maker_makes() -> None:
    """The reference, the FLAC and the MP3 tell of the same call."""
    reference = json.loads((SAMPLE.parent / "sample_call.json").read_text("utf-8"))
    info = soundfile.info(SAMPLE)

    assert (info.samplerate, info.channels) == (16_000, 2)
    assert info.frames == reference["frames"]
    assert 60 <= reference["duration"] <= 90
    files = [p for p in SAMPLE.parent.iterdir() if p.name.startswith("sample_call.")]
    assert sum(p.stat().st_size for p in files) < 2_000_000
