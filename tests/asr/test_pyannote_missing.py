from __future__ import annotations

import subprocess
import sys

import pytest

from voicepipe.asr.pyannote import PyannoteOptions


ASK = """
import sys

sys.modules["pyannote"] = sys.modules["pyannote.audio"] = None
from voicepipe import MissingExtraError
from voicepipe.asr.pyannote import PyannoteDiarizer

try:
    PyannoteDiarizer("a/name")
except MissingExtraError as exc:
    print(exc)
assert "torch" not in sys.modules
"""


def test_without_the_extra_the_way_to_it_is_told() -> None:
    told = subprocess.run(
        [sys.executable, "-c", ASK], capture_output=True, check=True, text=True
    ).stdout

    assert "pip install 'voicepipe[pyannote]'" in told


@pytest.mark.parametrize("name", ["speakers", "min_speakers", "max_speakers"])
def test_numbers_of_speakers_below_1_are_refused(name: str) -> None:
    with pytest.raises(ValueError, match=name):
        PyannoteOptions(**{name: 0})
