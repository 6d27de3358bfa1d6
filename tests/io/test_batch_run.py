"""Batches against a real server: what is done, left, told, and done again."""

from __future__ import annotations

import asyncio  # noqa: TID251 - what cancels from outside anyio is tested
import json
import logging
import os
import shutil
import time
from collections import Counter
from typing import TYPE_CHECKING

import anyio
import pytest
from batch_calls import (
    batch,
    entries,
    lasting,
    serve,
    statuses,
    table,
    wavs,
    write_list,
)
from fault_server import a_server  # noqa: F401 - a fixture

from voicepipe.errors import BatchError, DiskFullError
from voicepipe.io.batch.bar import batch_progress_bar
from voicepipe.io.batch.run import _held
from voicepipe.io.batch.values import BatchProgress


if TYPE_CHECKING:
    import contextlib
    from collections.abc import Callable
    from contextlib import AbstractAsyncContextManager
    from pathlib import Path
    from typing import Any

    from fault_server import FaultServer

    Measure = Callable[[], AbstractAsyncContextManager[Any]]


def some(server: FaultServer, count: int, **how: Any) -> list[tuple[str, str]]:
    """Serve some recordings, and give the rows of a list of them."""
    return [(f"c{i}", serve(server, f"/{i}.wav", 500 + i, **how)) for i in range(count)]


async def test_a_list_is_done_and_everything_is_told(
    server: FaultServer, tmp_path: Path
) -> None:
    one, two = (serve(server, f"/{n}.wav", n) for n in (400, 800))
    text = (
        "conversation_id,audio_url_agent,audio_url_customer,team,status,+x\n"
        f"c1,{one}?key=1,{two},=1+1,x,\n"
        f"c2,,{two},-5,,\n"
        f"c3,{server.url('/none')},,@a,,\n"
        f"../x,{one},,,,\n"
        f"C1,{one},,,,\n"
        f"c4,{one}\n"
        f"c2,,{two},other,,\n"
    )
    listing, folder = tmp_path / "calls.csv", tmp_path / "new" / "wavs"
    listing.write_text(text)
    told: list[BatchProgress] = []

    summary = await batch(server, listing, folder, progress=told.append)

    assert summary.rows == 7
    assert (summary.done, summary.skipped, summary.failed) == (3, 0, 4)
    assert (summary.pending, summary.duplicates) == (0, 1)
    assert summary.causes == {
        "BadRow": 1,
        "HttpStatusError": 1,
        "InvalidIdError": 1,
        "NameCollision": 1,
    }
    assert str(summary).splitlines()[:2] == [
        "7 rows: 3 done, 0 skipped, 4 failed",
        "  1 x BadRow",
    ]
    assert "  1 listed twice, counted once" in str(summary)
    assert told[-1] == BatchProgress(done=3, failed=4, total=7)
    assert told[0].total is None
    found = wavs(folder)
    assert {name: len(content) for name, content in found.items()} == {
        "c1_agent.wav": 880,
        "c1_customer.wav": 1_680,
        "c2_customer.wav": 1_680,
    }
    about = entries(folder)
    assert [entry["row"] for entry in about] == [2, 2, 3, 4, 5, 6, 7]
    first = about[0]
    assert first["url"] == one
    assert first["path"] == "c1_agent.wav"
    assert (first["frames"], first["rate"], first["duration_s"]) == (400, 8_000, 0.05)
    assert (first["etag"], first["content_type"]) == ('"one"', "audio/wav")
    assert first["wav_size"] == len(found["c1_agent.wav"])
    assert first["fetched_at"].endswith("+00:00")
    assert first["av_version"]
    assert first["metadata"] == {"team": "=1+1", "status": "x", "+x": ""}
    assert about[3]["path"] is None
    assert about[3]["error_class"] == "HttpStatusError"
    rows = table(folder)
    assert [row["team"] for row in rows[:4]] == ["'=1+1", "'=1+1", "'-5", "'@a"]
    assert [row["metadata_status"] for row in rows[:2]] == ["x", "x"]
    assert "'+x" in rows[0]
    assert [row["status"] for row in rows] == ["done"] * 3 + ["failed"] * 4
    for row, entry in zip(rows, about, strict=True):
        for name, value in entry.items():
            if name != "metadata":
                text = value if isinstance(value, str) else json.dumps(value)
                assert row[name] == ("" if value is None else text)


async def test_a_second_run_asks_for_what_is_missing_failed_or_changed(
    server: FaultServer, tmp_path: Path
) -> None:
    rows = some(server, 6)
    rows[5] = ("c5", server.url("/later.wav"))
    listing = write_list(tmp_path / "list.csv", rows)
    folder = tmp_path / "wavs"
    await batch(server, listing, folder)
    before = lasting(folder)
    (folder / "c1_speaker.wav").unlink()
    (folder / "c2_speaker.wav").write_bytes(
        bytes((folder / "c2_speaker.wav").stat().st_size)
    )
    cut = folder / "c3_speaker.wav"
    time_before = cut.stat().st_mtime_ns
    os.truncate(cut, 200)
    os.utime(cut, ns=(time_before, time_before))
    os.utime(folder / "c4_speaker.wav")
    serve(server, "/later.wav", 700)
    server.requests.clear()

    summary = await batch(server, listing, folder)

    asked = Counter(seen.target for seen in server.requests)
    assert asked == Counter(["/1.wav", "/2.wav", "/3.wav", "/later.wav"])
    assert (summary.done, summary.skipped, summary.failed) == (4, 2, 0)
    assert lasting(folder)[:5] == before[:5]
    assert len(wavs(folder)) == 6


async def test_a_file_is_compared_by_its_content_once_where_its_time_has_changed(
    server: FaultServer, tmp_path: Path
) -> None:
    listing = write_list(tmp_path / "list.csv", some(server, 1))
    folder = tmp_path / "wavs"
    await batch(server, listing, folder)
    path = folder / "c0_speaker.wav"
    content = bytearray(path.read_bytes())
    os.utime(path, ns=(1, 1))
    assert (await batch(server, listing, folder)).skipped == 1
    # The new time is known now, so what stands there under it is believed ...
    content[-1] ^= 1
    path.write_bytes(content)
    os.utime(path, ns=(1, 1))
    assert (await batch(server, listing, folder)).skipped == 1

    # ... unless it is to be verified.
    assert (await batch(server, listing, folder, verify=True)).done == 1
    assert (await batch(server, listing, folder, verify=True)).skipped == 1


async def test_a_link_in_the_place_of_a_file_is_replaced(
    server: FaultServer, tmp_path: Path
) -> None:
    listing = write_list(tmp_path / "list.csv", some(server, 1))
    folder = tmp_path / "wavs"
    await batch(server, listing, folder)
    path = folder / "c0_speaker.wav"
    path.rename(tmp_path / "moved.wav")
    path.symlink_to(tmp_path / "moved.wav")

    assert (await batch(server, listing, folder)).done == 1
    assert not path.is_symlink()


async def test_another_rate_is_another_file(
    server: FaultServer, tmp_path: Path
) -> None:
    listing = write_list(tmp_path / "list.csv", some(server, 1))
    await batch(server, listing, tmp_path / "wavs")

    assert (await batch(server, listing, tmp_path / "wavs", rate=16_000)).done == 1
    assert entries(tmp_path / "wavs")[0]["frames"] == 1_000


async def test_what_left_the_list_stays_and_is_not_fetched_when_it_comes_back(
    server: FaultServer, tmp_path: Path
) -> None:
    rows = some(server, 3)
    listing = write_list(tmp_path / "list.csv", rows)
    folder = tmp_path / "wavs"
    await batch(server, listing, folder)
    write_list(listing, rows[2:])
    summary = await batch(server, listing, folder)
    assert (summary.rows, summary.skipped) == (1, 1)
    assert statuses(folder) == {"c2_speaker": "done"}
    assert len(wavs(folder)) == 3

    write_list(listing, rows[::-1])
    summary = await batch(server, listing, folder)

    assert (summary.done, summary.skipped) == (0, 3)
    assert [e["conversation_id"] for e in entries(folder)] == ["c2", "c1", "c0"]
    assert len(server.requests) == 3


async def test_a_changed_url_that_fails_is_not_told_to_be_done(
    server: FaultServer, tmp_path: Path
) -> None:
    rows = some(server, 1)
    listing = write_list(tmp_path / "list.csv", rows)
    folder = tmp_path / "wavs"
    await batch(server, listing, folder)
    write_list(listing, [("c0", server.url("/none.wav"))])
    await batch(server, listing, folder)
    assert statuses(folder) == {"c0_speaker": "HttpStatusError"}
    assert entries(folder)[0]["path"] is None

    write_list(listing, rows)

    assert (await batch(server, listing, folder)).done == 1


async def test_a_changed_query_is_a_change_unless_it_is_to_be_ignored(
    server: FaultServer, tmp_path: Path
) -> None:
    [(name, url)] = some(server, 1)
    listing, folder = tmp_path / "list.csv", tmp_path / "wavs"
    counts = []
    for query, ignore in (("1", False), ("2", False), ("3", True), ("4", True)):
        write_list(listing, [(name, f"{url}?signature={query}")])
        summary = await batch(server, listing, folder, ignore_query=ignore)
        counts.append(summary.done)

    assert counts == [1, 1, 1, 0]


async def test_a_failed_row_can_be_left(server: FaultServer, tmp_path: Path) -> None:
    listing = write_list(tmp_path / "list.csv", [("c0", server.url("/none"))])
    folder = tmp_path / "wavs"
    for retry, requests in ((True, 1), (False, 1), (True, 2)):
        summary = await batch(server, listing, folder, retry_failed=retry)
        assert summary.causes == {"HttpStatusError": 1}
        assert len(server.requests) == requests
    assert statuses(folder) == {"c0_speaker": "HttpStatusError"}


async def test_one_row_can_be_tried(server: FaultServer, tmp_path: Path) -> None:
    urls = [serve(server, f"/{i}.wav", 500 + i) for i in range(6)]
    text = (
        "conversation_id,audio_url_agent,audio_url_customer\n"
        "../bad,x,\n"
        f"c1,{urls[0]},{urls[1]}\nc2,{urls[2]},{urls[3]}\nc3,{urls[4]},{urls[5]}\n"
    )
    listing, folder = tmp_path / "list.csv", tmp_path / "wavs"
    listing.write_text(text)
    told: list[BatchProgress] = []

    first = await batch(server, listing, folder, limit=1, progress=told.append)

    assert set(wavs(folder)) == {"c1_agent.wav", "c1_customer.wav"}
    assert (first.done, first.failed, first.pending) == (2, 1, 4)
    assert "4 left for later" in str(first)
    assert told[-1] == BatchProgress(done=2, failed=1, total=3)
    assert [e["status"] for e in entries(folder)][-2:] == ["pending", "pending"]
    assert entries(folder)[-1]["wav_sha256"] is None
    second = await batch(server, listing, folder, limit=1)
    assert (second.done, second.skipped, second.pending) == (2, 2, 2)
    assert len(server.requests) == 4
    assert (await batch(server, listing, folder)).done == 2


async def test_nothing_is_told_of_a_file_that_is_lost_and_left_for_later(
    server: FaultServer, tmp_path: Path
) -> None:
    rows = some(server, 2)
    listing = write_list(tmp_path / "list.csv", rows)
    folder = tmp_path / "wavs"
    await batch(server, listing, folder)
    write_list(listing, [rows[0], ("c9", rows[1][1]), rows[1]])
    (folder / "c1_speaker.wav").unlink()

    await batch(server, listing, folder, limit=1)

    assert list(statuses(folder).values()) == ["done", "done", "pending"]
    assert {entries(folder)[2][name] for name in ("path", "wav_sha256")} == {None}


async def test_json_lines_and_parquet_make_the_same_files_as_a_table(
    server: FaultServer, tmp_path: Path
) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    rows = some(server, 3)
    names, urls = zip(*rows, strict=True)
    table = {"conversation_id": names, "audio_url": urls}
    pq.write_table(pa.table(table), tmp_path / "list.parquet")
    lines = [json.dumps(dict(zip(table, row, strict=True))) for row in rows]
    (tmp_path / "list.jsonl").write_text("\n".join(lines))
    write_list(tmp_path / "list.csv", rows)

    made = []
    for form in ("csv", "jsonl", "parquet"):
        await batch(server, tmp_path / f"list.{form}", tmp_path / form)
        made.append(wavs(tmp_path / form))

    assert made[0] == made[1] == made[2]
    assert len(made[0]) == 3


async def test_an_empty_list_is_done_at_once(
    server: FaultServer, tmp_path: Path
) -> None:
    listing = write_list(tmp_path / "list.csv", [])
    folder = tmp_path / "wavs"

    summary = await batch(server, listing, folder)

    assert (summary.rows, summary.done, summary.failed) == (0, 0, 0)
    assert entries(folder) == []
    assert table(folder) == []


async def test_a_list_that_cannot_be_used_changes_nothing(
    server: FaultServer, tmp_path: Path
) -> None:
    rows = some(server, 3)
    listing = write_list(tmp_path / "list.csv", rows)
    folder = tmp_path / "wavs"
    await batch(server, listing, folder)
    before = (folder / "manifest.csv").read_bytes()
    bad = tmp_path / "bad.csv"
    bad.write_bytes(listing.read_bytes() + b"\xff\n")

    with pytest.raises(BatchError, match="UTF-8"):
        await batch(server, bad, folder, rate=16_000)

    assert (folder / "manifest.csv").read_bytes() == before
    assert len(server.requests) == 3
    assert (await batch(server, listing, folder)).skipped == 3


async def test_a_list_that_would_be_overwritten_is_refused(
    server: FaultServer, tmp_path: Path
) -> None:
    listing = write_list(tmp_path / "manifest.csv", some(server, 1))
    before = listing.read_bytes()
    (tmp_path / "here").symlink_to(tmp_path)

    for folder in (tmp_path, tmp_path / "here", tmp_path / "here" / ".." / "."):
        if folder.resolve() == tmp_path:
            with pytest.raises(BatchError, match="overwritten"):
                await batch(server, listing, folder)

    assert listing.read_bytes() == before
    assert len(list(tmp_path.iterdir())) == 2


async def test_a_list_that_changes_while_it_is_read_is_told(
    server: FaultServer, tmp_path: Path
) -> None:
    rows = some(server, 3)
    listing = write_list(tmp_path / "list.csv", rows)
    changes = {
        "another row": listing.read_text().replace("c2", "cX"),
        "less": listing.read_text()[:-20],
        "nothing": "conversation_id,audio_url\n",
    }
    for name, text in changes.items():
        write_list(listing, rows)

        def change(event: BatchProgress, text: str = text) -> None:
            if event.total is not None and not event.done:
                listing.write_text(text)

        with pytest.raises(BatchError, match="changed") as error:
            await batch(server, listing, tmp_path / name, progress=change)
        assert error.value.retryable
        assert len(entries(tmp_path / name)) == 3


async def test_a_list_that_is_replaced_meanwhile_is_read_as_it_was(
    server: FaultServer, tmp_path: Path
) -> None:
    rows = some(server, 3)
    listing = write_list(tmp_path / "list.csv", rows)

    def replace(_: BatchProgress) -> None:
        write_list(tmp_path / "new.csv", rows[:1]).replace(listing)

    summary = await batch(server, listing, tmp_path / "wavs", progress=replace)

    assert summary.done == 3


SECRET = "S3CRETcanary"


async def test_no_secret_of_a_url_is_ever_kept(
    server: FaultServer, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    good = serve(server, "/good.wav", 500)
    with_user = good.replace("http://", f"http://user:{SECRET}@")
    urls = [
        f"{good}?key={SECRET}",
        f"{good}#{SECRET}",
        with_user,
        f"{server.url('/none.wav')}?key={SECRET}",
        f"http://{SECRET}@10.0.0.1/x?{SECRET}",
        f"http://[{SECRET}",
        f"ftp://host/{SECRET}",
        f"no URL {SECRET}",
    ]
    rows = [(f"c{i}", url) for i, url in enumerate(urls)]
    listing = write_list(tmp_path / "list.csv", rows)
    with listing.open("a") as file:
        file.write(f"shifted,{good}?a=1,{SECRET}\n{good}?{SECRET},c1\n")
        file.write(f'quoted,"{good}?{SECRET}"x\n')
    folder = tmp_path / "wavs"

    told = [str(await batch(server, listing, folder)) for _ in range(2)]
    kept = b""
    for path in folder.iterdir():
        kept += path.name.encode() + path.read_bytes()

    assert sum(SECRET in seen.target for seen in server.requests) >= 2
    assert len(wavs(folder)) == 3
    assert SECRET.encode() not in kept
    assert SECRET not in caplog.text + "".join(told)


async def test_a_cancelled_run_keeps_what_is_done_and_tells_of_it(
    server: FaultServer, tmp_path: Path
) -> None:
    rows = some(server, 5)
    held = serve(server, "/held.wav", 500, cut=10, stall=True)
    listing = write_list(tmp_path / "list.csv", [*rows[:3], ("held", held), *rows[3:]])
    folder = tmp_path / "wavs"
    scope = anyio.CancelScope()

    def cancel(event: BatchProgress) -> None:
        if event.done == 3:
            scope.cancel()

    with scope:
        await batch(server, listing, folder, connections=2, progress=cancel)

    assert scope.cancelled_caught
    found = statuses(folder)
    # A file that was finished in that very moment may be there and not known.
    done = {f"{name}.wav" for name, status in found.items() if status == "done"}
    assert len(done) == 3
    assert done <= wavs(folder).keys()
    assert found["held_speaker"] == "pending"
    assert len(table(folder)) == 6
    serve(server, "/held.wav", 900)
    summary = await batch(server, listing, folder)
    assert (summary.done, summary.skipped) == (3, 3)


async def test_a_run_that_is_cancelled_while_the_list_is_read_changes_no_manifest(
    server: FaultServer, tmp_path: Path
) -> None:
    rows = some(server, 2)
    listing = write_list(tmp_path / "list.csv", rows)
    folder = tmp_path / "wavs"
    await batch(server, listing, folder)
    before = (folder / "manifest.jsonl").read_bytes()
    write_list(listing, [(f"d{i}", "http://10.0.0.1/") for i in range(20_000)])
    scope = anyio.CancelScope()

    def cancel(event: BatchProgress) -> None:
        assert event.total is None
        scope.cancel()

    with scope:
        await batch(server, listing, folder, progress=cancel)

    assert scope.cancelled_caught
    assert (folder / "manifest.jsonl").read_bytes() == before
    write_list(listing, rows)
    assert (await batch(server, listing, folder)).skipped == 2


@pytest.mark.parametrize("after_s", [0.0, 0.01, 0.05, 0.2, 0.6])
def test_a_task_that_is_cancelled_from_outside_leaves_the_folder_free(
    after_s: float, server: FaultServer, tmp_path: Path
) -> None:
    rows = some(server, 8, rate=2_000.0)
    # Reading the list takes a while, too.
    rows += [(f"d{i}", "http://10.0.0.1/") for i in range(500)]
    listing = write_list(tmp_path / "list.csv", rows)
    folder = tmp_path / "wavs"

    async def cancel_and_run() -> None:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(after_s):
                await batch(server, listing, folder)
        write_list(listing, rows[:8])
        summary = await batch(server, listing, folder)
        assert (summary.done + summary.skipped, summary.failed) == (8, 0)

    asyncio.run(cancel_and_run())

    assert len(wavs(folder)) == 8


def test_what_is_being_opened_when_its_task_is_cancelled_is_closed() -> None:
    told = []

    def opened(stack: contextlib.ExitStack) -> None:
        time.sleep(0.3)
        stack.callback(told.append, "closed")
        told.append("opened")

    async def cancel() -> None:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05), _held(opened):
                pass

    asyncio.run(cancel())

    assert told == ["opened", "closed"]


async def test_an_error_of_the_callers_is_raised_and_what_is_done_is_kept(
    server: FaultServer, tmp_path: Path
) -> None:
    listing = write_list(tmp_path / "list.csv", some(server, 4))
    folder = tmp_path / "wavs"

    def fail(event: BatchProgress) -> None:
        if event.done == 2:
            raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        await batch(server, listing, folder, connections=1, progress=fail)

    assert list(statuses(folder).values()).count("done") == 2
    assert (await batch(server, listing, folder)).done == 2


async def test_two_batches_in_one_folder_do_not_meet(
    server: FaultServer, tmp_path: Path
) -> None:
    held = serve(server, "/held.wav", 500, cut=10, stall=True)
    listing = write_list(tmp_path / "list.csv", [("held", held)])
    other = write_list(tmp_path / "other.csv", some(server, 1))
    folder = tmp_path / "wavs"
    begun = anyio.Event()

    def note(event: BatchProgress) -> None:
        if event.total is not None:
            begun.set()

    async with anyio.create_task_group() as group:
        group.start_soon(lambda: batch(server, listing, folder, progress=note))
        await begun.wait()
        with pytest.raises(BatchError, match="another batch") as error:
            await batch(server, other, folder)
        assert error.value.retryable
        group.cancel_scope.cancel()
    assert (await batch(server, other, folder)).done == 1


DISK_BYTES = 3 << 20


@pytest.fixture
def small_disk(small_disk: Callable[[int], Path]) -> Path:
    """Give a file system with room for 1 MiB."""
    return small_disk(DISK_BYTES)


async def test_a_full_disk_ends_the_batch_and_it_goes_on_when_there_is_room(
    server: FaultServer, tmp_path: Path, small_disk: Path
) -> None:
    url = serve(server, "/long.wav", 60_000)
    rows = [(f"c{i}", f"{url}?{i}") for i in range(1_500)]
    listing = write_list(tmp_path / "list.csv", rows)

    with pytest.raises(DiskFullError):
        await batch(server, listing, small_disk, connections=2)

    asked = len(server.requests)
    done = len(wavs(small_disk))
    # A handful may be under way when the first one finds the disk full.
    assert 4 <= done <= 25
    assert asked <= done + 8
    again = ["mount", "-o", f"remount,size={32 << 20}", str(small_disk)]
    await anyio.run_process(again)
    write_list(listing, rows[:60])
    summary = await batch(server, listing, small_disk, connections=2)
    assert (summary.done + summary.skipped, summary.failed) == (60, 0)
    assert summary.skipped >= done - 4
    assert len(wavs(small_disk)) == 60
    assert set(statuses(small_disk).values()) == {"done"}


async def test_a_disk_without_room_for_a_ledger_is_told(
    server: FaultServer, tmp_path: Path, small_disk: Path
) -> None:
    with (small_disk / "filling").open("wb", buffering=0) as file:
        while True:
            try:
                file.write(bytes(4_096))
            except OSError:
                break
    listing = write_list(tmp_path / "list.csv", some(server, 1))

    with pytest.raises(DiskFullError):
        await batch(server, listing, small_disk)

    assert server.requests == []
    assert set(wavs(small_disk)) == set()


async def test_a_full_disk_is_told_while_the_list_goes_into_the_ledger(
    server: FaultServer, tmp_path: Path, small_disk: Path
) -> None:
    rows = [(f"c{i}", "http://10.0.0.1/") for i in range(20_000)]
    listing = write_list(tmp_path / "list.csv", rows)

    with pytest.raises(DiskFullError):
        await batch(server, listing, small_disk)

    assert not (small_disk / "manifest.csv").exists()
    shutil.rmtree(small_disk, ignore_errors=True)


async def test_the_event_loop_goes_on_while_a_long_list_is_read(
    server: FaultServer, tmp_path: Path, loop_lag: Measure
) -> None:
    rows = [(f"c{i}", "http://10.0.0.1/") for i in range(1_000)]
    rows += [("no/id", "x")] * 5_000
    listing = write_list(tmp_path / "list.csv", rows)

    longest = []
    # On a busy machine a thread can lose its core while it has the interpreter's lock.
    while len(longest) < 4 and min(longest, default=1.0) >= 0.05:
        async with loop_lag() as lag:
            summary = await batch(server, listing, tmp_path / "wavs")
        longest.append(lag.longest_s)

    assert summary.causes == {"BlockedUrlError": 1_000, "InvalidIdError": 5_000}
    assert min(longest) < 0.05


def test_a_bar_shows_how_far_a_batch_is(capsys: pytest.CaptureFixture[str]) -> None:
    with batch_progress_bar(description="calls.csv") as show:
        show(BatchProgress(skipped=1))
        show(BatchProgress(skipped=2, failed=1, total=10))
        show(BatchProgress(skipped=2, failed=1, done=6, total=10))

    text = capsys.readouterr().err
    assert "calls.csv:  90%" in text
    assert "9/10" in text
    assert "done=6, skipped=2, failed=1" in text or "failed=1, skipped=2" in text
