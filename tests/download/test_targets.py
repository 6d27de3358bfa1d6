"""What lies at the target already, who else wants it, and a disk that is full."""

from __future__ import annotations

import hashlib
import os
import shutil
import socket
import stat
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anyio
import attrs
import psutil
import pytest
from downloading import fetch, limits, names, parts, until
from fault_answers import MIB, Serve, big_wav, silence, status, wav_of

from voicepipe.errors import (
    DiskFullError,
    FetchError,
    FetchTimeoutError,
    HttpStatusError,
)
from voicepipe.io.download.downloader import Downloader
from voicepipe.io.download.partial import Partial
from voicepipe.io.download.values import DownloadRequest


if TYPE_CHECKING:
    from collections.abc import Callable

    from fault_server import FaultServer

    from voicepipe.io.download.values import Download


WAV = wav_of(300_000)
OTHER = wav_of(300_000, seed=2)


async def test_a_directory_is_not_replaced(server: FaultServer, tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    path.mkdir()

    with pytest.raises(IsADirectoryError):
        await fetch(limits(server), server.on("/a.wav", Serve(body=WAV)), path)

    assert server.connects == 0
    assert names(tmp_path) == {"a.wav"}


@pytest.mark.parametrize("where", ["file", "directory", "nowhere", "itself"])
async def test_a_link_is_replaced_and_not_followed(
    where: str, server: FaultServer, tmp_path: Path
) -> None:
    path, aside = tmp_path / "a.wav", tmp_path / "aside"
    if where == "file":
        aside.write_bytes(b"of somebody else")
    elif where == "directory":
        aside.mkdir()
    path.symlink_to(path if where == "itself" else aside)

    await fetch(limits(server), server.on("/a.wav", Serve(body=WAV)), path)

    assert not path.is_symlink()
    assert path.read_bytes() == WAV
    if where == "file":
        assert aside.read_bytes() == b"of somebody else"
    if where == "directory":
        assert names(aside) == set()
    assert aside.exists() == (where in {"file", "directory"})


async def test_another_name_of_the_file_keeps_what_it_has(
    server: FaultServer, tmp_path: Path
) -> None:
    path, aside = tmp_path / "a.wav", tmp_path / "aside"
    aside.write_bytes(b"of somebody else")
    os.link(aside, path)

    await fetch(limits(server), server.on("/a.wav", Serve(body=WAV)), path)

    assert path.read_bytes() == WAV
    assert aside.read_bytes() == b"of somebody else"


async def test_a_pipe_is_refused(server: FaultServer, tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    os.mkfifo(path)

    with pytest.raises(OSError, match=r"a\.wav"):
        await fetch(limits(server), server.on("/a.wav", Serve(body=WAV)), path)

    assert stat.S_ISFIFO(path.stat().st_mode)
    assert server.connects == 0
    assert names(tmp_path) == {"a.wav"}


async def test_a_socket_is_refused(server: FaultServer, tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(path))

    with listener, pytest.raises(OSError, match=r"a\.wav"):
        await fetch(limits(server), server.on("/a.wav", Serve(body=WAV)), path)

    assert names(tmp_path) == {"a.wav"}


async def test_a_device_is_refused(server: FaultServer) -> None:
    with pytest.raises(OSError, match="null"):
        await fetch(
            limits(server),
            server.on("/a.wav", Serve(body=WAV)),
            Path("/dev/null"),
        )

    assert server.connects == 0


async def test_a_folder_that_is_missing_is_told(
    server: FaultServer, tmp_path: Path
) -> None:
    path = tmp_path / "missing" / "a.wav"

    with pytest.raises(FileNotFoundError):
        await fetch(limits(server), server.on("/a.wav", Serve(body=WAV)), path)

    assert server.connects == 0


async def test_a_folder_that_goes_away_is_told(
    server: FaultServer, tmp_path: Path
) -> None:
    folder = tmp_path / "going"
    folder.mkdir()
    gone = threading.Event()
    url = server.on("/a.wav", Serve(body=WAV, gate=gone, gate_at=65_536))

    async def remove() -> None:
        await until(lambda: server.sent("/a.wav"))
        while folder.exists():
            shutil.rmtree(folder, ignore_errors=True)
        gone.set()

    async with anyio.create_task_group() as group:
        group.start_soon(remove)
        with pytest.raises(FileNotFoundError):
            await fetch(limits(server), url, folder / "a.wav")


async def test_a_name_as_long_as_names_can_be_is_taken(
    server: FaultServer, tmp_path: Path
) -> None:
    path = tmp_path / ("ü" * 127)
    url = server.on("/a.wav", Serve(body=WAV, cut=100_000), Serve(body=WAV))

    await fetch(limits(server), url, path)

    assert path.read_bytes() == WAV


@pytest.mark.parametrize("name", ["a\nb.wav", "-rf", "a b", "\udc80.wav", ".wav"])
async def test_any_name_is_taken_as_it_is(
    name: str, server: FaultServer, tmp_path: Path
) -> None:
    url = server.on("/a.wav", Serve(body=WAV))

    await fetch(limits(server), url, tmp_path / name)

    assert names(tmp_path) == {name}


async def test_a_file_has_the_usual_permissions(
    server: FaultServer, tmp_path: Path
) -> None:
    before = os.umask(0o027)
    try:
        url = server.on("/a.wav", Serve(body=WAV))
        await fetch(limits(server), url, tmp_path / "a.wav")
    finally:
        os.umask(before)

    assert stat.S_IMODE((tmp_path / "a.wav").stat().st_mode) == 0o640


async def broken_off(server: FaultServer, path: Path) -> str:
    url = server.on("/a.wav", Serve(body=WAV, cut=200_000))
    with pytest.raises(FetchError):
        await fetch(limits(server, attempts=1), url, path)
    server.on("/a.wav", Serve(body=WAV))
    return url


@pytest.mark.parametrize("kind", ["link", "hard link", "pipe", "directory"])
async def test_what_somebody_put_in_the_place_of_the_part_is_not_written_to(
    kind: str, server: FaultServer, tmp_path: Path
) -> None:
    """Its name can be known before; the state beside it says that all is well."""
    folder, victim = tmp_path / "in", tmp_path / "victim"
    folder.mkdir()
    victim.write_bytes(OTHER)
    path = folder / "a.wav"
    url = await broken_off(server, path)
    (part,) = folder.glob("*.part")
    part.unlink()
    if kind == "link":
        part.symlink_to(victim)
    elif kind == "hard link":
        os.link(victim, part)
    elif kind == "pipe":
        os.mkfifo(part)
    else:
        part.mkdir()

    with anyio.fail_after(60):
        with pytest.raises(OSError, match=r"voicepipe|a\.wav"):
            await fetch(limits(server), url, path)

    assert victim.read_bytes() == OTHER
    assert not path.exists()


async def test_who_gives_up_waiting_for_the_lock_takes_nothing_away(
    server: FaultServer, tmp_path: Path
) -> None:
    path = tmp_path / "a.wav"
    given_up = threading.Event()
    served = Serve(body=WAV[:100_000], piece=9_999, gate=given_up, gate_at=50_000)
    url = server.on("/a.wav", served)
    options = attrs.evolve(limits(server), require_audio=False)
    got: list[Download] = []

    async def first() -> None:
        got.append(await fetch(options, url, path))

    async with anyio.create_task_group() as group:
        group.start_soon(first)
        await until(lambda: server.sent("/a.wav"))
        with pytest.raises(TimeoutError), anyio.fail_after(0.2):
            await fetch(options, url, path)
        given_up.set()

    assert path.read_bytes() == WAV[:100_000]
    assert got[0].attempts == 1
    assert names(tmp_path) == {"a.wav"}


async def test_what_somebody_put_in_the_place_of_the_state_is_not_written_to(
    server: FaultServer, tmp_path: Path
) -> None:
    folder, victim = tmp_path / "in", tmp_path / "victim"
    folder.mkdir()
    victim.write_bytes(b"of somebody else")
    path = folder / "a.wav"
    url = await broken_off(server, path)
    (state,) = folder.glob("*.json")
    for one in (state, state.with_suffix(".new")):
        one.unlink(missing_ok=True)
        one.symlink_to(victim)

    await fetch(limits(server), url, path)

    assert path.read_bytes() == WAV
    assert victim.read_bytes() == b"of somebody else"


@pytest.mark.parametrize("told", [True, False], ids=["told", "not told"])
async def test_a_full_disk_is_told_and_given_back(
    server: FaultServer,
    tmp_path: Path,
    small_disk: Callable[[int], Path],
    *,
    told: bool,
) -> None:
    disk = small_disk(4 * MIB)
    url = server.on("/big.wav", big_wav(16 * MIB, tell=told))
    small = server.on("/small.wav", Serve(body=WAV))
    free = psutil.disk_usage(str(disk)).free

    async with Downloader(limits(server)) as downloader:
        with pytest.raises(DiskFullError) as error:
            await downloader.fetch(url, disk / "big.wav")
        assert error.value.filename == str(disk / "big.wav")
        assert names(disk) == set()
        assert psutil.disk_usage(str(disk)).free == free
        await downloader.fetch(small, disk / "small.wav")

    assert (disk / "small.wav").read_bytes() == WAV
    assert len(server.asked("/big.wav")) == 1
    if told:
        # Looked at before: nothing is fetched for nothing.
        assert server.sent("/big.wav") < 8 * MIB


async def test_a_disk_that_fills_up_does_not_hold_up_others(
    server: FaultServer, tmp_path: Path, small_disk: Callable[[int], Path]
) -> None:
    disk = small_disk(MIB)
    full = server.on("/full.wav", big_wav(8 * MIB, tell=False))
    good = server.on("/good.wav", Serve(body=WAV))

    async with (
        Downloader(limits(server)) as downloader,
        anyio.create_task_group() as group,
    ):
        group.start_soon(downloader.fetch, good, tmp_path / "good.wav")
        with pytest.raises(DiskFullError):
            await downloader.fetch(full, disk / "full.wav")

    assert (tmp_path / "good.wav").read_bytes() == WAV
    assert names(disk) == set()


async def together(
    server: FaultServer, url: str, path: Path, count: int, *, shared: bool = True
) -> list[Download]:
    """Download one file to one target by many tasks."""
    found: list[Download] = []

    async def one(downloader: Downloader) -> None:
        found.append(await downloader.fetch(url, path))

    async with (
        Downloader(limits(server)) as first,
        Downloader(limits(server)) as second,
        anyio.create_task_group() as group,
    ):
        for index in range(count):
            group.start_soon(one, first if shared or index % 2 else second)
    return found


@pytest.mark.parametrize("shared", [True, False], ids=["one", "two"])
async def test_of_many_with_one_target_one_downloads_and_the_others_wait(
    server: FaultServer,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    *,
    shared: bool,
) -> None:
    body = wav_of(MIB)
    all_wait = threading.Event()
    waiting: set[Partial] = set()
    real = Partial._read_state

    def read_state(self: Partial) -> dict[str, Any] | None:
        state = real(self)
        if state is not None:
            # Who waits has seen what the one that downloads says of itself.
            waiting.add(self)
        if len(waiting) == 5:
            all_wait.set()
        return state

    monkeypatch.setattr(Partial, "_read_state", read_state)
    url = server.on("/a.wav", Serve(body=body, gate=all_wait, gate_at=MIB // 2))

    found = await together(server, url, tmp_path / "a.wav", 6, shared=shared)

    assert len(server.requests) == 1
    assert sorted(one.reused for one in found) == [False] + [True] * 5
    assert {(one.sha256, one.size, one.url, one.etag) for one in found} == {
        (hashlib.sha256(body).hexdigest(), len(body), url, '"one"')
    }
    assert names(tmp_path) == {"a.wav"}


async def test_a_small_file_with_one_target_is_right_for_all(
    server: FaultServer, tmp_path: Path
) -> None:
    """It may be fetched more than once: it is over before it is told who it is."""
    url = server.on("/a.wav", Serve(body=wav_of(20_000)))

    found = await together(server, url, tmp_path / "a.wav", 6)

    assert len(server.requests) == sum(not one.reused for one in found)
    assert {one.sha256 for one in found} == {hashlib.sha256(wav_of(20_000)).hexdigest()}
    assert names(tmp_path) == {"a.wav"}


async def test_who_waits_goes_on_where_the_other_one_gave_up(
    server: FaultServer, tmp_path: Path
) -> None:
    url = server.on("/a.wav", Serve(body=WAV, cut=200_000, stall=True), Serve(body=WAV))
    path = tmp_path / "a.wav"
    found = []

    async def second(downloader: Downloader) -> None:
        await until(lambda: server.sent("/a.wav") == 200_000)
        found.append(await downloader.fetch(url, path))

    async with (
        Downloader(limits(server)) as downloader,
        anyio.create_task_group() as group,
    ):
        first = downloader.transfer(DownloadRequest(url=url, path=path))

        async def give_up() -> None:
            await until(lambda: first._received == 200_000)
            scope.cancel()

        scope = anyio.CancelScope()
        group.start_soon(second, downloader)
        with scope:
            group.start_soon(give_up)
            async with first:
                pass

    assert path.read_bytes() == WAV
    assert (found[0].reused, found[0].bytes_resumed) == (False, 200_000)
    assert server.sent("/a.wav", least=len(WAV)) == len(WAV)


async def test_who_waits_tries_by_itself_where_the_other_one_failed(
    server: FaultServer, tmp_path: Path
) -> None:
    def late(exchange: object) -> None:
        exchange.sleep(0.3)  # type: ignore[attr-defined]
        status(403)(exchange)  # type: ignore[arg-type]

    url = server.on("/a.wav", late, Serve(body=WAV))
    path = tmp_path / "a.wav"
    errors, found = [], []

    async def one(downloader: Downloader) -> None:
        try:
            found.append(await downloader.fetch(url, path))
        except HttpStatusError as exc:
            errors.append(exc)

    async with (
        Downloader(limits(server)) as downloader,
        anyio.create_task_group() as group,
    ):
        group.start_soon(one, downloader)
        group.start_soon(one, downloader)

    assert (len(errors), len(found)) == (1, 1)
    assert not found[0].reused
    assert path.read_bytes() == WAV
    assert names(tmp_path) == {"a.wav"}


async def test_two_urls_with_one_target_never_mix(
    server: FaultServer, tmp_path: Path
) -> None:
    urls = [
        server.on("/a.wav", Serve(body=WAV, rate=MIB, piece=20_000)),
        server.on("/b.wav", Serve(body=OTHER, rate=MIB, piece=20_000)),
    ]
    path = tmp_path / "x.wav"
    found: list[Download] = []

    async def one(downloader: Downloader, url: str) -> None:
        found.append(await downloader.fetch(url, path))

    async with (
        Downloader(limits(server)) as downloader,
        anyio.create_task_group() as group,
    ):
        for url in urls:
            group.start_soon(one, downloader, url)

    assert [one.reused for one in found] == [False, False]
    assert {one.sha256 for one in found} == {
        hashlib.sha256(body).hexdigest() for body in (WAV, OTHER)
    }
    # The one that came second has the name.
    assert hashlib.sha256(path.read_bytes()).hexdigest() == found[-1].sha256
    assert names(tmp_path) == {"x.wav"}


async def test_a_wait_for_another_one_has_an_end(
    server: FaultServer, tmp_path: Path
) -> None:
    url = server.on("/a.wav", silence)
    path = tmp_path / "a.wav"

    async with (
        Downloader(limits(server, read_s=30)) as first,
        anyio.create_task_group() as group,
    ):
        group.start_soon(first.fetch, url, path)
        await until(lambda: server.requests)
        with pytest.raises(FetchTimeoutError) as told:
            await fetch(limits(server, total_s=0.4), url, path)
        assert told.value.limit == "total"
        group.cancel_scope.cancel()

    assert len(server.requests) == 1
    assert names(tmp_path) == set()


async def test_two_names_in_two_folders_do_not_wait_for_each_other(
    server: FaultServer, tmp_path: Path
) -> None:
    url = server.on("/a.wav", silence, Serve(body=WAV))
    (tmp_path / "one").mkdir()
    (tmp_path / "two").mkdir()

    async with (
        Downloader(limits(server, read_s=30)) as downloader,
        anyio.create_task_group() as group,
    ):
        group.start_soon(downloader.fetch, url, tmp_path / "one" / "a.wav")
        await until(lambda: server.requests)
        got = await downloader.fetch(url, tmp_path / "two" / "a.wav")
        assert not got.reused
        group.cancel_scope.cancel()

    assert parts(tmp_path / "two") == []
