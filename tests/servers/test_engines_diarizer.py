from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
import soundfile
from test_missing_extras import run_without

from voicepipe import Audio, SettingsError
from voicepipe.asr.pyannote import DEFAULT
from voicepipe.servers.engines import DiarizerSettings, open_diarizer


if TYPE_CHECKING:
    from collections.abc import Mapping


read = DiarizerSettings.from_env


@pytest.mark.parametrize(
    ("env", "name"),
    [
        ({}, "auto"),
        ({"VOICEPIPE_DIARIZER": " "}, "auto"),
        ({"VOICEPIPE_DIARIZER": "channel"}, "channel"),
        ({"VOICEPIPE_DIARIZER": " embedded "}, "embedded"),
        ({"VOICEPIPE_DIARIZER": "pyannote"}, "pyannote"),
        ({"VOICEPIPE_DIARIZER": "pyannote:/models/mine"}, "pyannote:/models/mine"),
        ({"HF_TOKEN": "hf_x"}, "auto"),
    ],
    ids=str,
)
def test_names_are_read_and_written(env: Mapping[str, str], name: str) -> None:
    assert read(env).name == name


@pytest.mark.parametrize(
    "text", ["canary", "channel:canary", "embedded:canary", "pyannote:", "Channel"]
)
def test_what_names_none_is_told_without_the_value(text: str) -> None:
    with pytest.raises(SettingsError, match=r"^VOICEPIPE_DIARIZER must be ") as caught:
        read({"VOICEPIPE_DIARIZER": text})

    assert "canary" not in str(caught.value)


def test_the_token_is_not_in_the_repr() -> None:
    settings = read({"HF_TOKEN": "hf_s3cret", "VOICEPIPE_DIARIZER": "channel"})

    assert settings.token == "hf_s3cret"
    assert "hf_s3cret" not in repr(settings)
    assert "hf_s3cret" not in repr(open_diarizer(settings))


SAMPLE = Path(__file__).parents[2] / "examples" / "data" / "sample_call.flac"


def call(*, mono: bool) -> Audio:
    samples, rate = soundfile.read(SAMPLE, 30 * 16_000, dtype="float32")
    if mono:
        samples = samples.sum(axis=1, keepdims=True).clip(-1.0, 1.0)
    return Audio(samples=np.asarray(samples, np.float32), rate=rate)


@pytest.mark.parametrize(
    ("env", "mono", "channels", "speakers"),
    [
        ({}, False, {0, 1}, 2),
        ({}, True, {None}, 2),
        ({"VOICEPIPE_DIARIZER": "channel"}, False, {0, 1}, 2),
        ({"VOICEPIPE_DIARIZER": "channel"}, True, {None}, 1),
        ({"VOICEPIPE_DIARIZER": "embedded"}, False, {None}, 2),
    ],
    ids=str,
)
def test_speakers_are_told_apart_as_is_wanted(
    env: Mapping[str, str], *, mono: bool, channels: set[int | None], speakers: int
) -> None:
    audio = call(mono=mono)
    session = open_diarizer(read(env)).session(
        rate=audio.rate, channels=audio.samples.shape[1]
    )

    turns = [*session.push(audio), *session.flush()]

    assert {turn.channel for turn in turns} == channels
    # How many voices there are may be wrong, but not that there are several.
    assert min(2, len({turn.speaker for turn in turns})) == speakers


def test_without_its_package_pyannote_says_what_to_install(tmp_path: Path) -> None:
    code = """
from voicepipe import MissingExtraError
from voicepipe.servers.engines import DiarizerSettings, open_diarizer
try:
    open_diarizer(DiarizerSettings.from_env({"VOICEPIPE_DIARIZER": "pyannote"}))
except MissingExtraError as exc:
    print(exc)
"""

    assert "voicepipe[pyannote]" in run_without("pyannote", code, tmp_path)


@pytest.mark.parametrize(
    ("text", "name"),
    [("pyannote", DEFAULT), ("pyannote:mine/pipeline", "mine/pipeline")],
)
def test_pyannote_gets_its_pipeline_and_token(
    text: str, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Only whether the package is there is looked at before the first recording.
    (tmp_path / "pyannote" / "audio").mkdir(parents=True)
    (tmp_path / "pyannote" / "audio" / "__init__.py").touch()
    monkeypatch.syspath_prepend(tmp_path)
    settings = read({"VOICEPIPE_DIARIZER": text, "HF_TOKEN": "hf_s3cret"})

    shown = repr(open_diarizer(settings))

    assert f"pyannote:{name}" in shown
    assert "hf_s3cret" not in shown
