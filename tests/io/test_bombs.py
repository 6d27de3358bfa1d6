"""Small files that hold days of sound, or say so: each is stopped early."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs
import pytest
from coded_bytes import FLAC_BLOCK, OPUS_PACKET, flac_silence, opus_silence
from riff_bytes import DATA, chunk, form, riff


if TYPE_CHECKING:
    from stress_report import Report


TESTS = Path(__file__).parents[1]

MAX_BYTES = 1 << 28
MAX_MIB = 300
MAX_S = 30.0


@attrs.frozen
class Bomb:
    """
    A small file with much sound.

    Attributes:
        make: Makes it.
        rate: Frames per second.
        frames: How many it has.
        channels: Number of channels.
    """

    make: Callable[[], bytes]
    rate: int
    frames: int
    channels: int = 1

    @property
    def hours(self) -> float:
        return self.frames / self.rate / 3_600

    @property
    def decoded_bytes(self) -> int:
        return 4 * self.channels * self.frames


def flac(rate: int, channels: int, blocks: int) -> Bomb:
    frames = blocks * FLAC_BLOCK
    return Bomb(lambda: flac_silence(rate, channels, blocks), rate, frames, channels)


BOMBS = {
    "flac-8000": flac(8_000, 1, 12_000),
    "flac-44100": flac(44_100, 1, 12_000),
    "flac-192000-8": flac(192_000, 8, 5_000),
    "opus": Bomb(lambda: opus_silence(360), 48_000, 360 * 255 * OPUS_PACKET),
}

CAPS: dict[str, dict[str, Any]] = {
    "seconds": {"max_duration_s": 600.0},
    "bytes": {"max_decoded_bytes": MAX_BYTES},
}


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    directory = tmp_path_factory.mktemp("bombs")
    paths = {}
    for name, bomb in BOMBS.items():
        paths[name] = directory / name
        paths[name].write_bytes(bomb.make())
    return paths


def run(
    verb: str, source: Path, target: Path, options: dict[str, Any], times: int = 1
) -> dict[str, Any]:
    out = subprocess.run(
        [
            *(sys.executable, TESTS / "stop_measured.py"),
            *(verb, source, target, json.dumps(options), str(times)),
        ],
        capture_output=True,
        check=True,
        text=True,
    )
    assert out.stderr == ""
    return dict(json.loads(out.stdout))


def check(found: dict[str, Any], directory: Path) -> None:
    """Raise unless it was stopped, early and with nothing left."""
    assert found["error"] == "UnsupportedAudioError", found
    assert found["busy_s"] < MAX_S
    assert found["own_mib"] + found["helpers_mib"] <= MAX_MIB
    assert list(directory.iterdir()) == []


def test_the_bombs_are_bombs(planted: dict[str, Path]) -> None:
    for name, bomb in BOMBS.items():
        assert planted[name].stat().st_size <= 210_000
        assert bomb.hours > 0.4
        assert bomb.decoded_bytes > 1 << 30


@pytest.mark.parametrize("verb", ["standardize", "iter_audio"])
@pytest.mark.parametrize(
    ("name", "cap"),
    [
        *((name, cap) for name in ("flac-8000", "flac-44100", "opus") for cap in CAPS),
        # Ten minutes of this take five seconds.
        ("flac-192000-8", "bytes"),
    ],
)
def test_a_bomb_stops_at_the_cap(
    planted: dict[str, Path], tmp_path: Path, name: str, cap: str, verb: str
) -> None:
    found = run(verb, planted[name], tmp_path / "out.wav", CAPS[cap])

    check(found, tmp_path)
    if verb == "iter_audio":
        # Nothing beyond the cap was given, and nearly all before it was.
        bomb = BOMBS[name]
        most = {"seconds": 600 * bomb.rate, "bytes": MAX_BYTES // 4 // bomb.channels}
        held = 10 * bomb.rate + 2 * FLAC_BLOCK
        assert most[cap] - held <= found["frames"] <= most[cap]


@pytest.mark.parametrize("name", ["flac-44100", "opus"])
def test_isolated_a_bomb_stops_as_well(
    planted: dict[str, Path], tmp_path: Path, name: str
) -> None:
    options = {"max_duration_s": 600.0, "isolated": True}

    found = run("standardize", planted[name], tmp_path / "out.wav", options)

    assert found["helpers_mib"] > 0
    check(found, tmp_path)


def test_refused_recordings_do_not_pile_up(
    planted: dict[str, Path], tmp_path: Path
) -> None:
    # Ten minutes at 48,000 Hz are 110 MiB. What has been decoded of them hangs on the
    # error, and the error may hang in a cycle.
    options = {"max_duration_s": 600.0}

    found = run("read_audio", planted["opus"], tmp_path / "none", options, times=6)

    check(found, tmp_path)


@pytest.mark.parametrize(
    ("rate", "channels"),
    [(1, 1), (655_350, 8), (0xFFFFFFFF, 8)],
    ids=["1 Hz", "655,350 Hz", "2^32-1 Hz"],
)
def test_a_rate_that_is_none_is_refused_at_once(
    tmp_path: Path, rate: int, channels: int
) -> None:
    # At 16,000 Hz a second of 1 Hz would be 16,000 times as long.
    source = tmp_path / "in.wav"
    source.write_bytes(riff(chunk(b"fmt ", form(rate=rate, channels=channels)), DATA))
    out = tmp_path / "out"
    out.mkdir()

    took_s: list[float] = []
    # A busy machine may take longer, but hardly three times.
    while len(took_s) < 3 and min(took_s, default=1.0) >= 1.0:
        found = run("standardize", source, out / "out.wav", {})
        check(found, out)
        assert f"{rate} Hz" in found["message"]
        took_s.append(found["took_s"])

    assert min(took_s) < 1.0


@pytest.mark.stress
@pytest.mark.parametrize("isolated", [False, True], ids=["direct", "isolated"])
@pytest.mark.parametrize("name", BOMBS)
def test_what_a_bomb_costs(
    planted: dict[str, Path],
    tmp_path: Path,
    name: str,
    *,
    isolated: bool,
    stress_report: Report,
) -> None:
    bomb = BOMBS[name]
    options = {"max_duration_s": 1_200.0, "isolated": isolated}

    found = run("standardize", planted[name], tmp_path / "out.wav", options)

    stress_report(
        f"{name} of {planted[name].stat().st_size:,} bytes, {bomb.hours:.1f} h of "
        f"silence, cap 20 min{', isolated' if isolated else ''}",
        f"stopped after {found['took_s']:.1f} s, {found['own_mib']:.0f} MiB, helper "
        f"{found['helpers_mib']:.0f} MiB",
    )
    check(found, tmp_path)
