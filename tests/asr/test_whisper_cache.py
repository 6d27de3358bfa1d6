"""What is said of a model whose folder, or the cache, is there and cannot be read."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from fault_answers import hang_up
from fault_server import FaultServer
from model_hub import INFO

from voicepipe.asr.whisper.find import model_folder
from voicepipe.asr.whisper.options import WhisperSetup
from voicepipe.errors import ModelUnavailableError


if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


# Engines take their time on a busy machine.

MODEL = Path(__file__).parents[1] / "tiny_whisper" / "model"
COMMIT = "0" * 40
TINY, LARGE = "Systran/faster-whisper-tiny", "Systran/faster-whisper-large-v3"
NOBODY = 65_534


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[FaultServer]:
    """Give what would be asked over the network; it hangs up on who asks."""
    from huggingface_hub import constants

    with FaultServer() as server:
        for repository in (TINY, LARGE):
            server.on(INFO.format(repository), hang_up)
        monkeypatch.setattr(constants, "ENDPOINT", server.url(""))
        # A busy machine may take long until it asks.
        monkeypatch.setattr("voicepipe.asr.whisper.find.PROBE_S", 60.0)
        yield server


@pytest.fixture
def root() -> Iterator[Path]:
    """Give a cache with a model in a folder that others may enter."""
    with tempfile.TemporaryDirectory(prefix="voicepipe-") as temporary:
        base = Path(temporary)
        base.chmod(0o755)
        root = base / "hub"
        (cached(root) / "refs").mkdir(parents=True)
        (cached(root) / "refs" / "main").write_text(COMMIT)
        shutil.copytree(MODEL, snapshot(root))
        yield root
        for path in (root, cached(root), snapshot(root).parent, snapshot(root)):
            if path.is_dir() and not path.is_symlink():
                path.chmod(0o755)


def cached(root: Path) -> Path:
    return root / "models--Systran--faster-whisper-tiny"


def snapshot(root: Path) -> Path:
    return cached(root) / "snapshots" / COMMIT


@contextlib.contextmanager
def as_nobody() -> Iterator[None]:
    """Have no more rights than others, also where root runs the tests."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)


async def find(root: Path) -> Path:
    return await model_folder("tiny", "whisper:tiny", WhisperSetup(download_root=root))


def replaced_by_a_file(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    path.write_bytes(b"no folder")


def replaced_by_a_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def linked_in_a_circle(path: Path) -> None:
    path.unlink()
    path.symlink_to(path.name)


def of_zeros(path: Path) -> None:
    path.write_bytes(bytes(40))


def of_no_text(path: Path) -> None:
    path.write_bytes(b"\xff" * 40)


@pytest.mark.parametrize(
    ("place", "broken"),
    [
        (lambda root: root, replaced_by_a_file),
        (cached, replaced_by_a_file),
        (lambda root: cached(root) / "refs", replaced_by_a_file),
        (lambda root: cached(root) / "refs" / "main", replaced_by_a_folder),
        (lambda root: cached(root) / "refs" / "main", linked_in_a_circle),
        (lambda root: cached(root) / "refs" / "main", of_zeros),
        (lambda root: cached(root) / "refs" / "main", of_no_text),
        (lambda root: cached(root) / "snapshots", replaced_by_a_file),
        (snapshot, replaced_by_a_file),
        (lambda root: snapshot(root) / "model.bin", linked_in_a_circle),
    ],
)
async def test_a_broken_cache_is_told_at_once(
    hub: FaultServer,
    root: Path,
    place: Callable[[Path], Path],
    broken: Callable[[Path], None],
) -> None:
    broken(place(root))

    with pytest.raises(ModelUnavailableError, match="cannot be read") as caught:
        await find(root)

    assert str(cached(root)) in str(caught.value)
    assert (caught.value.model, caught.value.retryable) == ("whisper:tiny", False)
    assert not hub.connects


@pytest.mark.parametrize(
    "place",
    [
        lambda root: root,
        cached,
        lambda root: cached(root) / "refs",
        lambda root: cached(root) / "refs" / "main",
        lambda root: cached(root) / "snapshots",
        snapshot,
    ],
)
async def test_a_cache_that_may_not_be_read_is_told_at_once(
    hub: FaultServer, root: Path, place: Callable[[Path], Path]
) -> None:
    assert await find(root) == snapshot(root)  # and all is imported
    if os.geteuid() == 0:
        for path in [root, *root.rglob("*")]:
            os.chown(path, NOBODY, -1)
    mode = place(root).stat().st_mode
    place(root).chmod(0)

    with as_nobody():
        with pytest.raises(ModelUnavailableError, match="PermissionError") as caught:
            await find(root)
        place(root).chmod(mode)
        assert await find(root) == snapshot(root)

    assert str(cached(root)) in str(caught.value)
    assert not caught.value.retryable
    assert not hub.connects


def no_root(root: Path) -> None:
    shutil.rmtree(root)


def no_model(root: Path) -> None:
    shutil.rmtree(cached(root))


def no_ref(root: Path) -> None:
    (cached(root) / "refs" / "main").unlink()


def no_snapshot(root: Path) -> None:
    shutil.rmtree(snapshot(root))


def no_weights(root: Path) -> None:
    (snapshot(root) / "model.bin").unlink()


def no_blob(root: Path) -> None:
    no_weights(root)
    (snapshot(root) / "model.bin").symlink_to("../../blobs/away")


def no_vocabulary(root: Path) -> None:
    (snapshot(root) / "vocabulary.json").unlink()


AWAY = [no_root, no_model, no_ref, no_snapshot, no_weights, no_blob, no_vocabulary]


@pytest.mark.parametrize("away", AWAY)
async def test_what_is_not_in_the_cache_is_asked_for(
    hub: FaultServer, root: Path, away: Callable[[Path], None]
) -> None:
    away(root)

    with pytest.raises(ModelUnavailableError, match="not on this machine") as caught:
        await find(root)

    assert caught.value.retryable
    assert hub.asked(INFO.format(TINY))


@pytest.mark.parametrize("away", AWAY)
async def test_what_is_not_in_the_cache_is_not_asked_for_offline(
    hub: FaultServer, root: Path, away: Callable[[Path], None]
) -> None:
    away(root)

    setup = WhisperSetup(download_root=root, offline=True)
    with pytest.raises(ModelUnavailableError, match="offline=True") as caught:
        await model_folder("tiny", "whisper:tiny", setup)

    assert not caught.value.retryable
    assert not hub.connects


async def test_large_v3_without_the_file_that_says_its_bands_is_not_whole(
    hub: FaultServer, tmp_path: Path
) -> None:
    large = tmp_path / "models--Systran--faster-whisper-large-v3"
    folder = large / "snapshots" / COMMIT
    shutil.copytree(MODEL, folder)
    (large / "refs").mkdir()
    (large / "refs" / "main").write_text(COMMIT)

    async def find_large(*, offline: bool = False) -> Path:
        setup = WhisperSetup(download_root=tmp_path, offline=offline)
        return await model_folder("large-v3", "whisper:large-v3", setup)

    assert await find_large() == folder
    assert not hub.connects
    (folder / "preprocessor_config.json").unlink()
    with pytest.raises(ModelUnavailableError, match="lacks preprocessor_config"):
        await find_large(offline=True)
    assert not hub.connects
    with pytest.raises(ModelUnavailableError, match="not on this machine"):
        await find_large()
    assert hub.asked(INFO.format(LARGE))


async def test_a_smaller_model_is_whole_without_that_file(
    hub: FaultServer, root: Path
) -> None:
    (snapshot(root) / "preprocessor_config.json").unlink()

    assert await find(root) == snapshot(root)
    assert not hub.connects


async def test_a_folder_that_may_not_be_read_is_told(root: Path) -> None:
    folder = snapshot(root)
    assert await find(root) == folder
    folder.chmod(0)

    for model in (folder, str(folder)):
        with (
            as_nobody(),
            pytest.raises(ModelUnavailableError, match="PermissionError") as caught,
        ):
            await model_folder(model, "whisper:own", WhisperSetup())
        assert repr(str(folder)) in str(caught.value)


@pytest.mark.parametrize("model", ["owner/a--b", "owner/a..b", "owner/name.git"])
async def test_a_name_that_no_model_can_have_is_told_at_once(
    hub: FaultServer, root: Path, model: str
) -> None:
    setup = WhisperSetup(download_root=root)

    with pytest.raises(ModelUnavailableError, match="not on this machine") as caught:
        await model_folder(model, f"whisper:{model}", setup)

    assert not caught.value.retryable
    assert not hub.connects


async def test_a_name_that_no_file_can_have_is_no_folder() -> None:
    with pytest.raises(ModelUnavailableError, match="no model of this name"):
        await model_folder("a\0b", "whisper:a", WhisperSetup())
