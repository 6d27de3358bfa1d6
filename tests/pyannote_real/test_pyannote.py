from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from pyannote_real.local_pipeline import build

from voicepipe import Audio, DiarizationError, Turn
from voicepipe.asr.pyannote import PyannoteDiarizer, PyannoteOptions


if TYPE_CHECKING:
    from pathlib import Path


pytestmark = pytest.mark.filterwarnings("ignore")
"""Warnings of pyannote and torch are not ours."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(tmp_path_factory.mktemp("local") / "pipeline")


def noise(rate: int = 16_000, channels: int = 1) -> Audio:
    samples = np.random.default_rng(0).normal(0.0, 0.1, (12 * rate, channels))
    return Audio(samples=np.clip(samples, -1.0, 1.0).astype(np.float32), rate=rate)


def diarize(
    diarizer: PyannoteDiarizer, audio: Audio, *, step_s: float = 99.0
) -> tuple[Turn, ...]:
    session = diarizer.session(rate=audio.rate, channels=audio.channels)
    at = 0.0
    while at < audio.duration:
        assert session.push(audio.cut(at, at + step_s)) == ()
        at += step_s
    return session.flush()


def told(annotation: Any) -> list[tuple[float, float]]:
    return sorted((part.start, part.end) for part, _ in annotation.itertracks())


def direct(folder: Path, audio: Audio) -> Any:
    import torch
    from pyannote.audio import Pipeline

    pipeline = Pipeline.from_pretrained(str(folder))
    sound = torch.from_numpy(audio.samples.T.copy())
    return pipeline({"waveform": sound, "sample_rate": audio.rate, "uri": "x"})


def test_turns_are_those_of_the_pipeline(folder: Path) -> None:
    audio = noise()
    output = direct(folder, audio)
    overlapping = PyannoteDiarizer(folder, options=PyannoteOptions(exclusive=False))
    for diarizer, annotation in (
        (PyannoteDiarizer(folder), output.exclusive_speaker_diarization),
        (overlapping, output.speaker_diarization),
    ):
        found = diarize(diarizer, audio)

        assert found
        assert [turn.start for turn in found] == [
            pytest.approx(max(0.0, start)) for start, _ in told(annotation)
        ]
        assert all(turn.start < turn.end <= audio.duration for turn in found)
        assert found[0].speaker == "Speaker00"
        assert len({t.speaker for t in found}) == len(annotation.labels())
    assert len(found) > 1


def test_what_version_3_answers_with_is_understood(tmp_path: Path) -> None:
    old = build(tmp_path / "pipeline", legacy=True)
    annotation = direct(old, noise())

    assert hasattr(annotation, "itertracks")
    assert len(diarize(PyannoteDiarizer(old), noise())) == len(told(annotation))


def test_turns_do_not_depend_on_how_sound_is_cut(folder: Path) -> None:
    diarizer = PyannoteDiarizer(folder)
    audio = noise(rate=8_000, channels=2)

    assert diarize(diarizer, audio, step_s=0.7) == diarize(diarizer, audio)


def test_no_sound_gives_no_turns_and_loads_nothing() -> None:
    diarizer = PyannoteDiarizer("/nowhere/at/all")

    assert diarizer.session(rate=16_000, channels=1).flush() == ()


def test_a_loaded_pipeline_may_be_given(folder: Path) -> None:
    from pyannote.audio import Pipeline

    pipeline = Pipeline.from_pretrained(str(folder))
    diarizer = PyannoteDiarizer(pipeline, options=PyannoteOptions(device="cpu"))

    assert diarize(diarizer, noise()) == diarize(PyannoteDiarizer(folder), noise())
    assert diarizer.name == "pyannote:SpeakerDiarization"


def test_the_number_of_speakers_is_handed_on(folder: Path) -> None:
    one = PyannoteDiarizer(folder, options=PyannoteOptions(speakers=1))

    assert {turn.speaker for turn in diarize(one, noise())} == {"Speaker00"}


def test_a_pipeline_that_fails_is_told(folder: Path) -> None:
    (folder / "ok").mkdir(exist_ok=True)
    wrong = PyannoteOptions(min_speakers=3, max_speakers=2)

    with pytest.raises(DiarizationError, match="failed") as caught:
        diarize(PyannoteDiarizer(folder, options=wrong), noise())
    assert caught.value.__cause__ is not None
    assert caught.value.model == f"pyannote:{folder}"


def test_a_damaged_folder_is_told(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text("pipeline: {name: no.such.Thing}")

    with pytest.raises(DiarizationError, match="does not load"):
        PyannoteDiarizer(tmp_path).load()


def test_a_name_without_network_says_what_to_do(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    diarizer = PyannoteDiarizer("nobody/nothing", token="hf_secret")

    with pytest.raises(DiarizationError, match="give its folder") as caught:
        diarizer.load()
    assert "hf_secret" not in f"{caught.value} {diarizer!r}"


def test_nothing_is_told_to_its_makers(folder: Path) -> None:
    ask = (
        "import os, sys, warnings\n"
        "from voicepipe.asr.pyannote import PyannoteDiarizer\n"
        "PyannoteDiarizer(sys.argv[1]).load()\n"
        "print(os.environ['PYANNOTE_METRICS_ENABLED'])\n"
    )
    # pyannote has been imported here, and has set the variable for children too.
    quiet = {k: v for k, v in os.environ.items() if k != "PYANNOTE_METRICS_ENABLED"}
    told = subprocess.run(
        [sys.executable, "-c", ask, str(folder)],
        env=quiet,
        capture_output=True,
        check=True,
        text=True,
    ).stdout

    assert told.split()[-1] == "false"
