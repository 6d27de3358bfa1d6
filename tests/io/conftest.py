"""Recordings for the tests of ``io``, made once."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from make_audio import encode, signal


if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


@pytest.fixture(scope="session")
def recording(
    tmp_path_factory: pytest.TempPathFactory,
) -> Callable[[str, int], Path]:
    """
    Give a recording of a kind: 8 s of test signal.

    Stereo at 44,100 Hz, mono at 8,000 Hz. The file has no extension.
    """
    directory = tmp_path_factory.mktemp("recordings")

    def make(kind: str, rate: int = 44_100) -> Path:
        path = directory / f"{kind}-{rate}"
        if not path.exists():
            samples = signal(rate, channels=2 if rate == 44_100 else 1)
            path.write_bytes(encode(kind, samples, rate))
        return path

    return make


@pytest.fixture(scope="session")
def long_mp3(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give an hour of MP3, 44,100 Hz stereo: one minute of frames, sixty times."""
    path = tmp_path_factory.mktemp("long") / "hour.mp3"
    path.write_bytes(encode("mp3-plain", signal(44_100, 2, 60.0), 44_100) * 60)
    return path


@pytest.fixture(scope="session")
def hours_mp3(long_mp3: Path) -> Path:
    """Give three hours of it, which keep any processor busy for a while."""
    path = long_mp3.with_name("hours.mp3")
    path.write_bytes(long_mp3.read_bytes() * 3)
    return path
