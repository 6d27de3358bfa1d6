"""The jobs backend, whose recordings are deleted while they are being asked for."""

from __future__ import annotations

import functools
import itertools
import shutil
from typing import TYPE_CHECKING, Any

import pytest
from jobs_backend_vanishing import VanishingServer


if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    import httpx


pytestmark = pytest.mark.timeout(1_200)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[VanishingServer]:
    with VanishingServer(
        tmp_path_factory.mktemp("vanishing"), VOICEPIPE_WORKERS="0"
    ) as server:
        yield server
        server.check_log()


@pytest.fixture(scope="module")
def redacting(tmp_path_factory: pytest.TempPathFactory) -> Iterator[VanishingServer]:
    with VanishingServer(
        tmp_path_factory.mktemp("redacting"),
        VOICEPIPE_WORKERS="0",
        VOICEPIPE_REDACT="true",
    ) as server:
        yield server
        server.check_log()


def uploaded(server: VanishingServer) -> tuple[str, Path]:
    """Upload a recording; give its job's route, and its path."""
    job: dict[str, Any] = server.upload().json()
    return f"/api/jobs/{job['id']}", server.folder / job["audio_path"]


def peaks_of(recording: Path) -> Path:
    return recording.with_name(f"{recording.stem}.peaks.json")


def check_deleted_at_each_look(
    server: VanishingServer,
    prepare: Callable[[str, Path], object],
    ask: Callable[[str], httpx.Response],
    at_least: int,
) -> None:
    """Delete a job at the first look at its files, at the second, and so on."""
    for looks in itertools.count(1):
        path, recording = uploaded(server)
        prepare(path, recording)

        def delete(path: str = path) -> None:
            server.http.delete(path).raise_for_status()

        answer, reached = server.race(looks, functools.partial(ask, path), delete)
        if not reached:
            assert answer.is_success
            assert looks > at_least
            delete()
            return
        assert answer.status_code == 404, (looks, answer.text)
        assert server.files() == []


@pytest.mark.parametrize("range_header", ["", "bytes=0-99", "bytes=0-9,100-"])
def test_a_recording_that_is_deleted_before_it_is_sent_is_not_there(
    server: VanishingServer, range_header: str
) -> None:
    headers = {"range": range_header} if range_header else {}

    check_deleted_at_each_look(
        server,
        lambda *_: None,
        lambda path: server.http.get(f"{path}/audio", headers=headers),
        at_least=3,
    )


def test_a_silenced_recording_that_is_deleted_before_it_is_sent_is_not_there(
    redacting: VanishingServer,
) -> None:
    def silence(_: str, recording: Path) -> None:
        silenced = recording.with_name(f"{recording.stem}.redacted.wav")
        shutil.copy(recording, silenced)

    check_deleted_at_each_look(
        redacting,
        silence,
        lambda path: redacting.http.get(f"{path}/audio"),
        at_least=2,
    )


@pytest.mark.parametrize("drawn", [False, True])
def test_a_recording_that_is_deleted_before_it_is_drawn_is_not_there(
    server: VanishingServer,
    drawn: bool,  # noqa: FBT001
) -> None:
    def draw(path: str, recording: Path) -> None:
        if drawn:
            server.http.get(f"{path}/waveform").raise_for_status()
            assert peaks_of(recording).exists()

    check_deleted_at_each_look(
        server, draw, lambda path: server.http.get(f"{path}/waveform"), at_least=3
    )


def test_a_drawing_that_goes_while_it_is_looked_for_is_made_again(
    server: VanishingServer,
) -> None:
    path, recording = uploaded(server)
    first = server.http.get(f"{path}/waveform")
    looks, reached = 0, True
    while reached:
        looks += 1
        answer, reached = server.race(
            looks,
            lambda: server.http.get(f"{path}/waveform"),
            lambda: peaks_of(recording).unlink(missing_ok=True),
        )
        assert answer.status_code == 200, (looks, answer.text)
        assert answer.content == first.content
        assert peaks_of(recording).exists()
    assert looks > 3
    server.http.delete(path)
