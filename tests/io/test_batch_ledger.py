"""The ledger's file: whose it is, which version, whether it is whole, who has it."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from voicepipe.errors import BatchError, DiskFullError
from voicepipe.io.batch.entries import Entries, Entry
from voicepipe.io.batch.ledger import LEDGER_NAME, Ledger, Result
from voicepipe.io.batch.listing import Listing
from voicepipe.io.batch.plan import Plan
from voicepipe.io.batch.rows import Row
from voicepipe.io.batch.values import BatchOptions


if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


HOLD = """
import sys
from pathlib import Path
from voicepipe.io.batch.ledger import Ledger
with Ledger(Path(sys.argv[1])) as ledger:
    ledger.begin_list()
    print("held", flush=True)
    sys.stdin.read()
"""


MARKED = bytes(60) + b"\0\0\0\1" + bytes(4) + b"vpba" + bytes(28)
"""A ledger's marks at their places, in a file that is no database."""


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.glob(f"{LEDGER_NAME}*")}


def test_a_ledger_keeps_what_it_is_told(tmp_path: Path) -> None:
    failed = Result("a.wav", b"1", None, cause="X", error="it is so")
    with Ledger(tmp_path) as ledger:
        ledger.record(2, "a.wav", failed)
    with Ledger(tmp_path) as ledger:
        assert ledger.results(["a.wav", "b.wav"]) == {"a.wav": failed}

    assert {p.name for p in tmp_path.iterdir()} == {
        LEDGER_NAME,
        ".voicepipe-batch.lock",
    }


def test_a_folder_has_one_ledger_open_at_a_time(tmp_path: Path) -> None:
    with Ledger(tmp_path):
        for _ in range(2):
            with pytest.raises(BatchError, match="another batch") as error:
                Ledger(tmp_path)
            assert error.value.retryable
    with Ledger(tmp_path):
        pass


def test_sqlite_itself_keeps_others_out_where_there_are_no_other_locks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("voicepipe.io.batch.lock._lock", lambda _: None)
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    with process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"held\n"
        with pytest.raises(BatchError, match="another batch") as error:
            Ledger(tmp_path)
        assert error.value.retryable
        process.kill()


def test_a_killed_process_holds_nothing_and_a_living_one_does(tmp_path: Path) -> None:
    for _ in range(3):
        process = subprocess.Popen(
            [sys.executable, "-c", HOLD, str(tmp_path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        with process:
            assert process.stdout is not None
            assert process.stdout.readline() == b"held\n"
            with pytest.raises(BatchError, match="another batch"):
                Ledger(tmp_path)
            process.kill()
        with Ledger(tmp_path):
            pass


def test_who_is_refused_takes_nothing_away_from_who_has_it(tmp_path: Path) -> None:
    """Closing a file ends the process's own locks on it: SQLite's are such."""
    with Ledger(tmp_path):
        with pytest.raises(BatchError, match="another batch"):
            Ledger(tmp_path)
        other = subprocess.run(
            [sys.executable, "-c", HOLD, str(tmp_path)],
            check=False,
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
        )

    assert "BatchError: another batch" in other.stderr
    assert other.stdout == ""


def foreign_database(path: Path, pragma: str = "") -> None:
    with closing(sqlite3.connect(path)) as made:
        made.executescript(f"CREATE TABLE listing (a); {pragma}")


def test_what_is_not_a_ledger_is_left_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / LEDGER_NAME
    for content in (b"", b"hello", b"SQLite format 3\0", bytes(4_096), MARKED):
        path.write_bytes(content)
        with pytest.raises(BatchError, match="not a ledger"):
            Ledger(tmp_path)
        assert contents(tmp_path) == {LEDGER_NAME: content}


@pytest.mark.parametrize("marks", ["", "PRAGMA user_version = 1"])
def test_a_foreign_database_is_left_as_it_is(tmp_path: Path, marks: str) -> None:
    foreign_database(tmp_path / LEDGER_NAME, marks)
    before = contents(tmp_path)

    with pytest.raises(BatchError, match="not a ledger") as error:
        Ledger(tmp_path)

    assert not error.value.retryable
    assert contents(tmp_path) == before


def test_a_foreign_database_that_needs_recovery_gets_none(tmp_path: Path) -> None:
    dying = """
import os, sqlite3, sys
made = sqlite3.connect(sys.argv[1])
made.execute("PRAGMA journal_mode = WAL")
made.execute("CREATE TABLE t (a)")
made.commit()
os._exit(1)
"""
    subprocess.run(
        [sys.executable, "-c", dying, str(tmp_path / LEDGER_NAME)], check=False
    )
    before = contents(tmp_path)
    assert len(before) == 3

    with pytest.raises(BatchError, match="not a ledger"):
        Ledger(tmp_path)

    assert contents(tmp_path) == before


def test_a_newer_ledger_is_left_as_it_is(tmp_path: Path) -> None:
    with Ledger(tmp_path):
        pass
    with closing(sqlite3.connect(tmp_path / LEDGER_NAME)) as changed:
        changed.execute("PRAGMA user_version = 2")
    before = contents(tmp_path)

    with pytest.raises(BatchError, match="schema version 2"):
        Ledger(tmp_path)

    assert contents(tmp_path) == before


def test_a_damaged_ledger_is_told(tmp_path: Path) -> None:
    with Ledger(tmp_path):
        pass
    path = tmp_path / LEDGER_NAME
    content = path.read_bytes()
    path.write_bytes(content[:100] + b"\xff" * (len(content) - 100))

    with pytest.raises(BatchError, match="fetched again"), Ledger(tmp_path) as ledger:
        ledger.begin_list()


def test_what_is_left_of_a_removed_ledger_is_not_taken_for_this_one(
    tmp_path: Path,
) -> None:
    """SQLite would replay a journal that it finds beside a new database."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    with process:
        assert process.stdout is not None
        process.stdout.readline()
        process.kill()
    assert (tmp_path / f"{LEDGER_NAME}-wal").exists()
    (tmp_path / f"{LEDGER_NAME}-wal").write_bytes(b"\xff" * 40_000)
    (tmp_path / f"{LEDGER_NAME}-journal").write_bytes(b"\xff" * 40_000)
    (tmp_path / LEDGER_NAME).unlink()

    with Ledger(tmp_path) as ledger:
        assert ledger.results(["a.wav"]) == {}
    assert contents(tmp_path).keys() == {LEDGER_NAME}


def test_a_folder_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        Ledger(tmp_path / "none")


@pytest.mark.parametrize(("limit", "expected"), [(None, 1_400), (3, 6), (300, 600)])
def test_all_that_is_to_be_done_is_given_once_and_in_order(
    limit: int | None, expected: int, tmp_path: Path
) -> None:
    path = tmp_path / "list.csv"
    lines = [f"c{i},http://h.example/a{i},http://h.example/b{i}" for i in range(700)]
    header = "conversation_id,audio_url_agent,audio_url_customer"
    path.write_text("\n".join([header, *lines]))
    options = BatchOptions()
    with Listing(path, None) as listing, Ledger(tmp_path) as ledger:
        plan = Plan(listing, ledger, Entries(options), tmp_path, options=options)
        assert list(plan.enlist())[-1].rows == 700
        until, count = (None, 1_400) if limit is None else ledger.first_rows(limit)
        found = [e.recording.filename for e in plan.todo(until) if e and e.recording]

    assert count == expected
    names = [f"c{i}_{side}.wav" for i in range(700) for side in ("agent", "customer")]
    assert found == names[:expected]


def test_what_fails_half_way_is_taken_back(tmp_path: Path) -> None:
    entries = Entries(BatchOptions())
    row = {"conversation_id": "c1", "audio_url": "https://a.example/"}

    def broken() -> Iterator[tuple[Entry, str]]:
        for entry in entries.of(Row(2, row)):
            yield entry, "pending"
        raise KeyError

    with Ledger(tmp_path) as ledger:
        with pytest.raises(KeyError):
            ledger.enlist(broken())
        assert ledger.counts() == {}


def test_a_full_disk_is_told_by_its_type(tmp_path: Path) -> None:
    with Ledger(tmp_path) as ledger:
        connection = ledger._database._connection
        # The next page would be one more than there may be: SQLite says "full".
        pages = connection.execute("PRAGMA page_count").fetchone()[0]
        connection.execute(f"PRAGMA max_page_count = {pages}")
        big = Result("a.wav", b"1", None, cause="X", error="y" * 100_000)
        with pytest.raises(DiskFullError) as error:
            ledger.record(2, "a.wav", big)
        assert error.value.filename == str(tmp_path / LEDGER_NAME)
        assert ledger.results(["a.wav"]) == {}
        connection.execute("PRAGMA max_page_count = 100000")
        ledger.record(2, "a.wav", big)
        assert ledger.results(["a.wav"]) == {"a.wav": big}
