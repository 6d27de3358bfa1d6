"""A model that is not on this machine is downloaded: from a server that has it."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import anyio
import anyio.to_thread
import pytest
from fault_answers import Serve, hang_up, reset, status
from model_hub import (
    FILE,
    INFO,
    MODEL,
    REVISION,
    STORE,
    WEIGHTS,
    ModelHub,
    a_hub,  # noqa: F401 - a fixture
    about,
    as_json,
)
from tiny_whisper.speech import TRAINED, phrase

from voicepipe.asr.whisper.find import NEEDED, model_folder
from voicepipe.asr.whisper.options import WhisperSetup
from voicepipe.asr.whisper.transcriber import WhisperTranscriber
from voicepipe.errors import ModelUnavailableError
from voicepipe.types import Audio


if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from fault_server import Exchange


OWN = "owner/tiny-ct2"


async def find(root: Path, model: str = OWN) -> Path:
    setup = WhisperSetup(download_root=root)
    return await model_folder(model, f"whisper:{model}", setup)


def files_of(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.mark.parametrize(
    ("model", "repository"),
    [(OWN, OWN), ("tiny", "Systran/faster-whisper-tiny")],
)
async def test_a_model_is_downloaded_once(
    hub: ModelHub, tmp_path: Path, model: str, repository: str
) -> None:
    hub.give(repository)

    folder = await find(tmp_path, model)

    assert files_of(folder) == files_of(MODEL)
    assert not hub.asked(FILE.format(repository, "README.md"))
    before = len(hub.requests)
    assert await find(tmp_path, model) == folder
    assert len(hub.requests) == before


@pytest.mark.parametrize("fault", [hang_up, reset], ids=["closed", "reset"])
async def test_a_connection_that_breaks_is_not_the_end(
    hub: ModelHub, tmp_path: Path, fault: Callable[[Exchange], None]
) -> None:
    hub.give(OWN)
    hub.on(INFO.format(OWN), fault, as_json(about(OWN)))

    assert files_of(await find(tmp_path)) == files_of(MODEL)
    assert len(hub.asked(INFO.format(OWN))) == 2


async def test_a_downloaded_model_hears_what_its_folder_hears(
    hub: ModelHub, tmp_path: Path
) -> None:
    hub.give(OWN)
    sound = Audio(samples=phrase(TRAINED[0], "one two three").samples, rate=16_000)
    engine = WhisperTranscriber(OWN, setup=WhisperSetup(download_root=tmp_path))

    told = await engine.transcribe(sound)

    assert told.text == "one two three"
    assert hub.store.asked(STORE)


@pytest.mark.parametrize(
    ("answer", "told", "retryable"),
    [
        (status(404, "X-Error-Code: RepoNotFound"), "not there", False),
        (status(401, "X-Error-Code: RepoNotFound"), "not there", False),
        (status(403, "X-Error-Code: GatedRepo"), "not for you", False),
        (status(429), "429", True),
        (status(500), "500", True),
        (hang_up, "not give it", True),
    ],
)
async def test_a_model_that_is_not_given_is_told(
    hub: ModelHub,
    tmp_path: Path,
    answer: Callable[..., None],
    told: str,
    retryable: bool,  # noqa: FBT001
) -> None:
    hub.on(INFO.format(OWN), answer)
    hub.on(REVISION.format(OWN), answer)

    with pytest.raises(ModelUnavailableError, match=told) as caught:
        await find(tmp_path)

    assert caught.value.retryable is retryable
    assert len(hub.asked(INFO.format(OWN))) == (2 if answer is hang_up else 1)
    assert f"hf download {OWN} --local-dir" in str(caught.value)


@pytest.mark.parametrize("lacks", NEEDED)
async def test_a_repository_that_is_no_model_is_told(
    hub: ModelHub, tmp_path: Path, lacks: str
) -> None:
    hub.give(OWN, without=lacks)

    with pytest.raises(ModelUnavailableError, match=f"has no {lacks}") as caught:
        await find(tmp_path)

    assert not caught.value.retryable


async def test_a_download_that_broke_off_is_told_and_done_again(
    hub: ModelHub, tmp_path: Path
) -> None:
    hub.give(OWN)
    hub.store.on(STORE, status(403))

    with pytest.raises(ModelUnavailableError, match="403") as caught:
        await find(tmp_path)
    assert caught.value.retryable
    setup = WhisperSetup(download_root=tmp_path, offline=True)
    with pytest.raises(ModelUnavailableError, match="offline=True"):
        await model_folder(OWN, "whisper:own", setup)

    hub.give(OWN)
    assert files_of(await find(tmp_path)) == files_of(MODEL)


async def test_a_download_that_is_cut_goes_on(hub: ModelHub, tmp_path: Path) -> None:
    hub.give(OWN)
    weights = WEIGHTS.read_bytes()
    hub.store.on(STORE, Serve(body=weights, cut=1_000_000), Serve(body=weights))

    assert files_of(await find(tmp_path)) == files_of(MODEL)
    assert len(hub.store.asked(STORE)) == 2


async def test_a_cancelled_download_serves_the_next_call(
    hub: ModelHub, tmp_path: Path
) -> None:
    hub.give(OWN)
    gate = threading.Event()
    asked_for = threading.Event()
    serve = Serve(body=WEIGHTS.read_bytes(), gate=gate, gate_at=1_000_000)

    def slowly(exchange: Exchange) -> None:
        asked_for.set()
        serve(exchange)

    hub.store.on(STORE, slowly)

    async with anyio.create_task_group() as group:
        group.start_soon(find, tmp_path)
        await anyio.to_thread.run_sync(asked_for.wait, 60)
        group.cancel_scope.cancel()
    gate.set()

    assert files_of(await find(tmp_path)) == files_of(MODEL)
    assert len(hub.store.asked(STORE)) == 1


@pytest.mark.filterwarnings("ignore:Not enough free disk space")
async def test_a_full_disk_is_told(
    hub: ModelHub, small_disk: Callable[[int], Path]
) -> None:
    hub.give(OWN)
    root = small_disk(1_000_000)

    with pytest.raises(ModelUnavailableError, match="cannot be written") as caught:
        await find(root)

    assert str(root) in str(caught.value)
    assert "No space left" in str(caught.value)
    assert not caught.value.retryable
