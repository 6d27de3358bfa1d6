from __future__ import annotations

import os
import time
from pathlib import Path

import anyio
import pytest
from downloading import until

from voicepipe.servers.retention import keep_for_days


DAY_S = 86_400.0


def stored(path: Path, days: float) -> Path:
    """Make a file that was last changed so many days ago."""
    path.write_bytes(b"a recording")
    changed(path, days)
    return path


def changed(path: Path, days: float) -> None:
    at = time.time() - days * DAY_S
    os.utime(path, (at, at))


async def once(folder: Path, days: float, pattern: str = "*.wav") -> None:
    """Let it look once: it would look again in an hour."""
    with anyio.move_on_after(60) as scope:
        async with anyio.create_task_group() as group:
            group.start_soon(lambda: keep_for_days(folder, days, pattern=pattern))
            await anyio.wait_all_tasks_blocked()
            # What its thread has begun is waited for.
            group.cancel_scope.cancel()
    assert not scope.cancelled_caught


def left(folder: Path) -> set[str]:
    return {path.name for path in folder.rglob("*")}


async def test_old_files_are_deleted_and_new_ones_stay(tmp_path: Path) -> None:
    stored(tmp_path / "old.wav", 7.01)
    stored(tmp_path / "older.wav", 400)
    stored(tmp_path / "young.wav", 6.99)
    stored(tmp_path / "new.wav", 0)
    stored(tmp_path / "tomorrow.wav", -1)

    await once(tmp_path, 7)

    assert left(tmp_path) == {"young.wav", "new.wav", "tomorrow.wav"}


async def test_parts_of_a_day_count(tmp_path: Path) -> None:
    stored(tmp_path / "old.wav", 0.3)
    stored(tmp_path / "new.wav", 0.2)

    await once(tmp_path, 0.25)

    assert left(tmp_path) == {"new.wav"}


@pytest.mark.parametrize(
    ("pattern", "gone"),
    [("*.wav", "a.wav"), ("*.json", "a.json"), ("b*", "b.txt")],
)
async def test_only_files_of_the_pattern_are_deleted(
    tmp_path: Path, pattern: str, gone: str
) -> None:
    everything = {"a.wav", "a.json", "b.txt", ".voicepipe-1.part"}
    (tmp_path / "below").mkdir()
    stored(tmp_path / "below" / "deep.wav", 100)
    for name in everything:
        stored(tmp_path / name, 100)

    await once(tmp_path, 1, pattern)

    assert left(tmp_path) == (everything | {"below", "deep.wav"}) - {gone}


async def test_files_are_deleted_by_default_if_they_are_wavs(tmp_path: Path) -> None:
    stored(tmp_path / "a.wav", 100)
    stored(tmp_path / "a.db", 100)

    async with anyio.create_task_group() as group:
        group.start_soon(keep_for_days, tmp_path, 1)
        await anyio.wait_all_tasks_blocked()
        # What its thread has begun is waited for.
        group.cancel_scope.cancel()

    assert left(tmp_path) == {"a.db"}


async def test_a_folder_of_that_name_stays(tmp_path: Path) -> None:
    for name, inside in (("empty.wav", None), ("full.wav", "inside.wav")):
        (tmp_path / name).mkdir()
        if inside:
            stored(tmp_path / name / inside, 100)
        changed(tmp_path / name, 100)
    stored(tmp_path / "old.wav", 100)

    await once(tmp_path, 1)

    assert left(tmp_path) == {"empty.wav", "full.wav", "inside.wav"}


async def test_a_link_goes_and_what_it_leads_to_stays(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    kept = stored(tmp_path / "kept.wav", 100)
    (folder / "link.wav").symlink_to(kept)
    (folder / "broken.wav").symlink_to(tmp_path / "nothing")

    await once(folder, 1)

    assert kept.exists()
    assert left(folder) == {"broken.wav"}


async def test_a_missing_folder_may_come_later(tmp_path: Path) -> None:
    folder = tmp_path / "later"

    async with anyio.create_task_group() as group:
        group.start_soon(lambda: keep_for_days(folder, 1, every_s=0.01))
        await anyio.sleep(0.05)
        folder.mkdir()
        path = stored(folder / "a.wav", 2)
        await until(lambda: not path.exists())
        group.cancel_scope.cancel()


async def test_it_looks_again_and_again(tmp_path: Path) -> None:
    async with anyio.create_task_group() as group:
        group.start_soon(lambda: keep_for_days(tmp_path, 1, every_s=0.01))
        for _ in range(3):
            stored(tmp_path / "a.wav", 2)
            await until(lambda: left(tmp_path) == set())
        group.cancel_scope.cancel()


async def test_it_waits_between_two_looks(tmp_path: Path) -> None:
    first = stored(tmp_path / "a.wav", 2)

    async with anyio.create_task_group() as group:
        group.start_soon(lambda: keep_for_days(tmp_path, 1, every_s=3_600))
        await until(lambda: not first.exists())
        stored(tmp_path / "b.wav", 2)
        await anyio.sleep(0.1)
        group.cancel_scope.cancel()

    assert left(tmp_path) == {"b.wav"}


@pytest.mark.parametrize("days", [0, 0.0, -1])
async def test_any_age_is_allowed_with_no_days(tmp_path: Path, days: float) -> None:
    stored(tmp_path / "old.wav", 10_000)

    with anyio.fail_after(60):
        await keep_for_days(tmp_path, days)

    assert left(tmp_path) == {"old.wav"}


async def test_it_goes_on_after_a_file_that_has_gone_already(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another process may be at it, too."""
    for index in range(10):
        stored(tmp_path / f"{index}.wav", 2)
    real = Path.unlink
    raced: list[str] = []

    def unlink(path: Path, *, missing_ok: bool = False) -> None:
        if path.suffix == ".wav" and len(raced) < 3:
            raced.append(path.name)
            real(path)
        real(path, missing_ok=missing_ok)

    monkeypatch.setattr(Path, "unlink", unlink)
    await once(tmp_path, 1)

    assert len(raced) == 3
    assert left(tmp_path) == set()


async def test_several_may_do_it_side_by_side(tmp_path: Path) -> None:
    for index in range(300):
        stored(tmp_path / f"{index}.wav", 2)

    async with anyio.create_task_group() as group:
        for _ in range(8):
            group.start_soon(lambda: keep_for_days(tmp_path, 1, every_s=0.01))
        await until(lambda: left(tmp_path) == set())
        await anyio.sleep(0.05)
        group.cancel_scope.cancel()


async def test_what_was_deleted_is_counted_in_the_log(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", logger="voicepipe")
    for name in ("secret-1.wav", "secret-2.wav"):
        stored(tmp_path / name, 2)

    await once(tmp_path, 1)
    await once(tmp_path, 1)

    assert [record.getMessage() for record in caplog.records] == [
        "deleted 2 files older than 1 days"
    ]
