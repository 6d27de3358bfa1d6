"""Where the model is, where it is not, and where it is broken: each in a process."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import faster_whisper  # noqa: TID253 - for its folder
import pytest

import voicepipe


SITE = Path(faster_whisper.__file__).parents[1]
SOURCE = Path(voicepipe.__file__).parents[1]
MODEL = Path(faster_whisper.__file__).parent / "assets" / "silero_vad_v6.onnx"

TRY = """
import logging, sys
logging.basicConfig(level=logging.DEBUG, stream=sys.stdout, format="%(message)s")
from voicepipe import EnergyVad, MissingExtraError, ModelUnavailableError
from voicepipe.asr.silero.vad import SileroVad
from voicepipe.asr.voice_activity import voice_activity
heavy = {"onnxruntime", "faster_whisper", "ctranslate2"}
print("loaded", *sorted(heavy & set(sys.modules)))
for make in (SileroVad, voice_activity, voice_activity):
    try:
        print(type(make(8_000)).__name__)
    except (MissingExtraError, ModelUnavailableError) as exc:
        print(type(exc).__name__, exc)
print("loaded", *sorted(heavy & set(sys.modules)))
"""


def try_with(folder: Path, *, without: str, model: bytes | None) -> list[str]:
    """Try where all is installed but one package, and the model is another."""
    for entry in SITE.iterdir():
        if entry.name.lower().startswith(without) or entry.name == "faster_whisper":
            continue
        (folder / entry.name).symlink_to(entry)
    if without != "faster_whisper":
        (folder / "faster_whisper" / "assets").mkdir(parents=True)
        (folder / "faster_whisper" / "__init__.py").touch()
        if model is not None:
            (folder / "faster_whisper" / "assets" / MODEL.name).write_bytes(model)
    done = subprocess.run(
        [sys.executable, "-S", "-c", TRY],
        capture_output=True,
        check=False,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(SOURCE), str(folder)])},
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


INSTALL = "run: pip install 'voicepipe[whisper]'"


def test_the_model_is_taken_without_importing_what_carries_it(tmp_path: Path) -> None:
    assert try_with(tmp_path, without="pocketsphinx", model=MODEL.read_bytes()) == [
        "loaded",
        "SileroVad",
        "voice activity by SileroVad",
        "SileroVad",
        "SileroVad",
        "loaded onnxruntime",
    ]


@pytest.mark.parametrize("without", ["faster_whisper", "onnxruntime"])
def test_without_the_extra_it_is_told_and_energy_is_taken(
    without: str, tmp_path: Path
) -> None:
    package = without.replace("_", "-")

    assert try_with(tmp_path, without=without, model=MODEL.read_bytes()) == [
        "loaded",
        f"MissingExtraError {package!r} is not installed; {INSTALL}",
        "voice activity by EnergyVad (the extra 'whisper' is missing)",
        "EnergyVad",
        "EnergyVad",
        "loaded",
    ]


def test_an_older_faster_whisper_without_the_model_counts_as_missing(
    tmp_path: Path,
) -> None:
    out = try_with(tmp_path, without="pocketsphinx", model=None)

    assert out[1] == f"MissingExtraError 'faster-whisper' is not installed; {INSTALL}"
    assert out[3] == "EnergyVad"


@pytest.mark.parametrize("size", [0, 1_000, 1_000_000])
def test_a_cut_model_is_told_with_the_way_out(size: int, tmp_path: Path) -> None:
    out = try_with(tmp_path, without="pocketsphinx", model=MODEL.read_bytes()[:size])

    told = (
        "ModelUnavailableError the Silero model silero_vad_v6.onnx is damaged; run: "
        "pip install --force-reinstall 'voicepipe[whisper]', or use EnergyVad"
    )
    assert out[1] == told
    assert out[3] == told
