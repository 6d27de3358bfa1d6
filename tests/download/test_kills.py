"""Killed at any moment: a file is absent or whole, and the next call goes on."""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs
import pytest
from downloading import names
from fault_answers import MIB, Serve, wav_of
from open_watch import Watch


if TYPE_CHECKING:
    from collections.abc import Iterator

    from fault_server import FaultServer
    from stress_report import Report


SIZE = 8 * MIB
WAV = wav_of(SIZE)
SHA = hashlib.sha256(WAV).hexdigest()

CHILD = Path(__file__).parents[1] / "download_child.py"


class Children:
    """Downloads in other processes."""

    def __init__(self, host: str, told: Path) -> None:
        self._told = told
        self._options = {"allow_hosts": [host], "read_s": 60, "total_s": 100}
        self._process = subprocess.Popen(
            [sys.executable, str(CHILD)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def begin(self, url: str, path: Path, die: str | None = None) -> int:
        """Begin a download, and give its process."""
        self._told.unlink(missing_ok=True)
        job = {
            "url": url,
            "path": str(path),
            "options": self._options,
            "told": str(self._told),
            "die": die,
        }
        assert self._process.stdin
        self._process.stdin.write(json.dumps(job) + "\n")
        self._process.stdin.flush()
        return self._line()

    def end(self) -> int:
        """Wait for its end, and give its exit status."""
        return self._line()

    @property
    def told(self) -> dict[str, Any] | None:
        """What the download came to; ``None`` where nothing is told yet."""
        with contextlib.suppress(FileNotFoundError, ValueError):
            return dict(json.loads(self._told.read_text("utf-8")))
        return None

    def _line(self) -> int:
        assert self._process.stdout
        return int(self._process.stdout.readline())

    def close(self) -> None:
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.close()
        self._process.wait(60)
        self._process.stdout.close()


@pytest.fixture
def children(
    server: FaultServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Children]:
    """Give a process that begins others."""
    children = Children(server.host, tmp_path_factory.mktemp("told") / "told")
    yield children
    children.close()


@contextlib.contextmanager
def only_whole(path: Path) -> Iterator[list[int]]:
    """Watch a name; give the sizes that were seen under it and are not the whole."""
    stop = threading.Event()
    wrong: list[int] = []

    def watch() -> None:
        while not stop.wait(0.0005):
            with contextlib.suppress(FileNotFoundError):
                size = path.stat().st_size
                if size != SIZE:
                    wrong.append(size)

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield wrong
    finally:
        stop.set()
        thread.join()


def part_bytes(folder: Path) -> int:
    """Give how many bytes are in an unfinished file."""
    return sum(part.stat().st_size for part in folder.glob("*.part"))


@attrs.define
class Count:
    """What many kills came to."""

    killed: int = 0
    files: int = 0
    most_again: int = 0


def kill_at(
    server: FaultServer, children: Children, url: str, path: Path, place: int
) -> bool:
    """Kill a download when so many bytes were sent; tell whether it came to that."""
    name = url.removeprefix(server.url(""))
    before = server.sent(name)
    pid = children.begin(url, path)
    until = time.monotonic() + 60
    while server.sent(name) - before < place and time.monotonic() < until:
        # It may end by itself, where less than that is missing.
        if children.told is not None:
            break
        time.sleep(0.0005)
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)
    return children.end() == signal.SIGKILL


def run(
    server: FaultServer, children: Children, folder: Path, kills: int, seed: int
) -> Count:
    """Kill downloads at random places, and bring each to its end after some kills."""
    chance = random.Random(seed)
    count = Count()
    while count.killed < kills:
        path = folder / f"{count.files}.wav"
        name = f"/{count.files}.wav"
        url = server.on(name, Serve(body=WAV, rate=24 * MIB, piece=32_768))
        with only_whole(path) as wrong:
            for _ in range(min(4, kills - count.killed)):
                place = chance.choice([0, 1, chance.randrange(SIZE // 2), SIZE])
                if not kill_at(server, children, url, path, place):
                    break
                count.killed += 1
                assert len(list(folder.glob("*.part"))) <= 1
            children.begin(url, path)
            assert children.end() == 0
            found = children.told
        assert found is not None
        assert found.get("sha256") == SHA, found
        assert hashlib.sha256(path.read_bytes()).hexdigest() == SHA
        assert wrong == []
        assert names(folder) == {path.name}
        for one, after in itertools.pairwise(server.asked(name)):
            again = one.begin + one.sent - after.begin
            # After a kill behind the rename the whole is fetched for the next call.
            if one.begin + one.sent < SIZE:
                count.most_again = max(count.most_again, again)
        path.unlink()
        count.files += 1
    return count


def test_a_killed_download_is_absent_or_whole_and_goes_on(
    server: FaultServer, children: Children, tmp_path: Path
) -> None:
    count = run(server, children, tmp_path, 20, seed=5)

    assert count.killed >= 20
    assert count.most_again <= MIB


@pytest.mark.stress
def test_two_hundred_killed_downloads(
    server: FaultServer, children: Children, tmp_path: Path, stress_report: Report
) -> None:
    count = run(server, children, tmp_path, 200, seed=6)

    stress_report(
        "downloads of 8 MiB killed (SIGKILL) at random places",
        f"{count.killed} kills, {count.files} files, all whole in the end, never a "
        f"part under the name; at most {count.most_again >> 10} KiB fetched again",
    )
    assert count.killed >= 200
    assert count.most_again <= MIB


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_kill_at_the_rename_leaves_the_whole(
    when: str, server: FaultServer, children: Children, tmp_path: Path
) -> None:
    path = tmp_path / "a.wav"
    url = server.on("/a.wav", Serve(body=WAV))

    children.begin(url, path, die=when)
    assert children.end() == signal.SIGKILL
    assert path.exists() == (when == "after")
    if when == "after":
        assert path.read_bytes() == WAV
    children.begin(url, path)
    assert children.end() == 0

    assert children.told is not None
    assert children.told["sha256"] == SHA
    assert path.read_bytes() == WAV
    assert names(tmp_path) == {"a.wav"}
    if when == "before":
        assert server.asked("/a.wav")[-1].sent <= 1


def test_the_lock_of_a_dead_process_holds_nobody_up(
    server: FaultServer, children: Children, tmp_path: Path
) -> None:
    path = tmp_path / "a.wav"
    stall = Serve(body=WAV, cut=4 * MIB, stall=True)
    url = server.on("/a.wav", stall, Serve(body=WAV))
    pid = children.begin(url, path)
    until = time.monotonic() + 60
    while part_bytes(tmp_path) < 3 * MIB and time.monotonic() < until:
        time.sleep(0.005)
    os.kill(pid, signal.SIGKILL)
    assert children.end() == signal.SIGKILL

    begin = time.monotonic()
    children.begin(url, path)
    assert children.end() == 0

    # Who waits for it goes on until all of the time is over.
    assert time.monotonic() - begin < 50
    found = children.told
    assert found is not None
    assert (found["sha256"], found["reused"]) == (SHA, False)
    assert found["bytes_resumed"] >= 3 * MIB


def test_of_two_processes_one_downloads_and_one_waits(
    server: FaultServer, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    aside = tmp_path_factory.mktemp("told")
    path = tmp_path / "a.wav"
    known = threading.Event()
    url = server.on("/a.wav", Serve(body=WAV, gate=known, gate_at=4 * MIB))
    first = Children(server.host, aside / "first")
    second = Children(server.host, aside / "second")
    try:
        with only_whole(path) as wrong:
            first.begin(url, path)
            while not (state := list(tmp_path.glob("*.json"))):
                time.sleep(0.001)
            # The first one writes it, and only the other one opens it.
            watch = Watch(state[0])
            second.begin(url, path)
            while not watch.opened():
                time.sleep(0.001)
            watch.close()
            known.set()
            assert [first.end(), second.end()] == [0, 0]
        assert first.told is not None
        assert second.told is not None
        assert (first.told["sha256"], first.told["reused"]) == (SHA, False)
        assert (second.told["sha256"], second.told["reused"]) == (SHA, True)
    finally:
        first.close()
        second.close()

    assert wrong == []
    assert path.read_bytes() == WAV
    assert len(server.asked("/a.wav")) == 1
    assert server.sent("/a.wav", least=SIZE) == SIZE
