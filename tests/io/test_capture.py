"""Sessions of live audio: what is acknowledged is recorded, once and in order."""

from __future__ import annotations

import sys
import uuid
from typing import TYPE_CHECKING

import anyio
import attrs
import psutil
import pytest
from capturing import RATE, SPEC, samples_of, sound, until, write_all
from make_audio import encode, signal

from voicepipe.errors import (
    CaptureError,
    ChunkTooLargeError,
    DecoderCrashedError,
    NotAudioError,
    OffsetGapError,
    SessionBusyError,
    SessionClosedError,
    SessionFullError,
    SessionNotFoundError,
    TooManyConnectionsError,
    TooManySessionsError,
)
from voicepipe.io.capture.store import CaptureStore
from voicepipe.io.capture.values import CaptureOptions, ChunkAck, SessionSpec


if TYPE_CHECKING:
    from pathlib import Path


class Clock:
    """A time that goes on when it is told to."""

    now: float = 1_000.0

    def __call__(self) -> float:
        return self.now


@pytest.mark.parametrize("size", [1, 777, 4_096, 300_000])
async def test_a_session_has_what_was_written(tmp_path: Path, size: int) -> None:
    end = 2_000 if size == 1 else 600_000
    async with CaptureStore(tmp_path) as store:
        connection = await store.create(SPEC)
        await write_all(connection, 0, end, size)
        info = await connection.close_session()

    assert info.status == "completed"
    assert info.bytes_received == end
    assert info.chunk_count == -(-end // size)
    assert info.duration == end / 2 / RATE
    assert samples_of(info) == sound(0, end)
    assert info.path == tmp_path / f"{info.session_id}.wav"


async def test_an_acknowledgement_tells_what_the_session_has(tmp_path: Path) -> None:
    async with CaptureStore(tmp_path) as store:
        connection = await store.create(SPEC)
        await connection.write(sound(0, 3_200))

        ack = await connection.write(sound(3_200, 4_800))

        assert ack == ChunkAck(
            session_id=connection.session_id,
            chunk_count=2,
            bytes_received=4_800,
            duration_s=0.15,
        )
        assert connection.info.chunk_count == 2
        assert connection.info.connections == 1


async def test_a_file_grows_while_it_is_recorded(tmp_path: Path) -> None:
    async with CaptureStore(tmp_path) as store:
        connection = await store.create(SPEC)
        await write_all(connection, 0, 64_000, 3_200)

        await until(lambda: samples_size(connection.info.path) == 64_000)
        await until(lambda: store.pending_bytes == 0)


def samples_size(path: Path) -> int:
    return int.from_bytes(path.read_bytes()[76:80], "little")


@pytest.mark.parametrize("kind", ["wav", "flac", "mp3", "aac"])
async def test_files_of_all_kinds_are_recorded(tmp_path: Path, kind: str) -> None:
    data = encode(kind, signal(RATE, 1, 2.0), RATE)
    async with CaptureStore(tmp_path) as store:
        connection = await store.create(SessionSpec(rate=RATE, format=kind))  # type: ignore[arg-type]
        for at in range(0, len(data), 1_000):
            await connection.write(data[at : at + 1_000])
        info = await connection.close_session()

    assert abs(info.duration - 2.0) < 0.15
    assert len(samples_of(info)) == round(info.duration * RATE) * 2


async def test_a_chunk_that_is_no_sound_counts_nothing(tmp_path: Path) -> None:
    async with CaptureStore(tmp_path) as store:
        connection = await store.create(SPEC)

        with pytest.raises(NotAudioError):
            await connection.write(b"<html><body>no sound</body></html>" * 100)

        assert connection.info.bytes_received == 0
        await write_all(connection, 0, 32_000, 3_200)
        info = await connection.close_session()
    assert (info.chunk_count, info.bytes_received) == (10, 32_000)
    assert samples_of(info) == sound(0, 32_000)


async def test_garbage_in_a_compressed_stream_can_be_followed_by_the_stream(
    tmp_path: Path,
) -> None:
    data = encode("flac", signal(RATE, 1, 4.0), RATE)
    async with CaptureStore(tmp_path) as store:
        connection = await store.create(SessionSpec(rate=RATE, format="flac"))
        await connection.write(data[:10_000])
        before = connection.info
        with pytest.raises(ChunkTooLargeError):
            await connection.write(bytes(11 << 20))
        assert connection.info == before
        await connection.write(data[10_000:])
        info = await connection.close_session()
    assert info.duration == 4.0


async def test_a_chunk_that_can_change_is_copied(tmp_path: Path) -> None:
    async with CaptureStore(tmp_path) as store:
        connection = await store.create(SPEC)
        buffer = bytearray(sound(0, 3_200))
        for at in range(0, 32_000, 3_200):
            buffer[:] = sound(at, at + 3_200)
            await connection.write(memoryview(buffer))
        info = await connection.close_session()
    assert samples_of(info) == sound(0, 32_000)


async def test_an_empty_chunk_is_acknowledged_and_does_not_count(
    tmp_path: Path,
) -> None:
    async with CaptureStore(tmp_path) as store:
        connection = await store.create(SPEC)
        assert (await connection.write(b"")).chunk_count == 0


async def test_a_session_goes_on_after_its_connection_has_left(tmp_path: Path) -> None:
    async with CaptureStore(tmp_path) as store:
        first = await store.create(SPEC)
        await first.write(sound(0, 10_001))
        await first.leave()
        await first.leave()
        second = await store.join(first.session_id)
        assert second.offset == 10_001
        await second.write(sound(10_001, 20_000))
        info = await second.close_session()

        with pytest.raises(SessionClosedError):
            await first.write(bytes(10))
    assert samples_of(info) == sound(0, 20_000)


async def test_bytes_that_are_sent_again_count_once(tmp_path: Path) -> None:
    async with CaptureStore(tmp_path) as store:
        first = await store.create(SPEC)
        await write_all(first, 0, 10_000, 999)
        second = await store.join(first.session_id, offset=4_000)
        ack = await second.write(sound(4_000, 7_000))
        assert (ack.chunk_count, ack.bytes_received) == (11, 10_000)
        await write_all(second, 7_000, 20_000, 1_000)

        with pytest.raises(SessionBusyError):
            await first.write(bytes(10))
        info = await second.close_session()
    assert samples_of(info) == sound(0, 20_000)
    assert info.chunk_count == 11 + 10


async def test_a_gap_is_refused(tmp_path: Path) -> None:
    async with CaptureStore(tmp_path) as store:
        first = await store.create(SPEC)
        await first.write(sound(0, 1_000))

        with pytest.raises(OffsetGapError) as told:
            await store.join(first.session_id, offset=1_001)
        with pytest.raises(ValueError, match="offset"):
            await store.join(first.session_id, offset=-1)

        assert told.value.expected == 1_000
        assert first.info.connections == 1


async def test_a_gap_in_a_parked_session_leaves_it_parked(tmp_path: Path) -> None:
    async with CaptureStore(tmp_path) as store:
        session = (await store.create(SPEC)).session_id
    async with CaptureStore(tmp_path) as store:
        with pytest.raises(OffsetGapError):
            await store.join(session, offset=1)
        assert (await store.info(session)).status == "interrupted"
        assert store.active == 0


async def test_limits_of_sessions_and_connections_hold(tmp_path: Path) -> None:
    options = CaptureOptions(max_sessions=2, max_connections=2)
    async with CaptureStore(tmp_path, options) as store:
        first = await store.create(SPEC)
        second = await store.create(SPEC)
        with pytest.raises(TooManySessionsError):
            await store.create(SPEC)
        await store.join(first.session_id)
        with pytest.raises(TooManyConnectionsError):
            await store.join(first.session_id)
        await second.close_session()
        await store.create(SPEC)
        assert store.active == 2


async def test_a_session_that_all_have_left_makes_room_and_can_be_gone_on_with(
    tmp_path: Path,
) -> None:
    async with CaptureStore(tmp_path, CaptureOptions(max_sessions=2)) as store:
        first, second = await store.create(SPEC), await store.create(SPEC)
        await first.write(sound(0, 200))
        await second.leave()
        await first.leave()

        third = await store.create(SPEC)

        assert (await store.info(second.session_id)).status == "interrupted"
        assert (await store.info(first.session_id)).status == "active"
        again = await store.join(second.session_id)
        assert (await store.info(first.session_id)).status == "interrupted"
        with pytest.raises(TooManySessionsError):
            await store.join(first.session_id)
        await third.close_session()
        back = await store.join(first.session_id, offset=200)
        assert (await back.write(sound(200, 400))).bytes_received == 400
        await again.leave()


async def test_all_who_come_at_once_find_the_places_that_were_left(
    tmp_path: Path,
) -> None:
    async with CaptureStore(tmp_path, CaptureOptions(max_sessions=4)) as store:
        left = []
        for _ in range(6):
            connection = await store.create(SPEC)
            await connection.leave()
            left.append(connection.session_id)

        async with anyio.create_task_group() as group:
            for session_id in left[:2]:
                group.start_soon(store.create, SPEC)
                group.start_soon(store.join, session_id)

        assert store.active == 4
        for session_id in left:
            status = "active" if session_id in left[:2] else "interrupted"
            assert (await store.info(session_id)).status == status
        with pytest.raises(TooManySessionsError):
            await store.create(SPEC)


@pytest.mark.parametrize(
    "session_id",
    [
        "",
        "x",
        "../etc/passwd",
        "292511fe-e60e-11f1-85e5-02fc00000001",
        "063BDB1D-98CD-4FB7-AC0E-6A336BB36BB1",
        "a\0b",
    ],
)
async def test_what_is_no_id_is_no_session(tmp_path: Path, session_id: str) -> None:
    async with CaptureStore(tmp_path) as store:
        with pytest.raises(SessionNotFoundError):
            await store.join(session_id)
        with pytest.raises(SessionNotFoundError):
            store.path(session_id)


async def test_an_unknown_id_is_no_session(tmp_path: Path) -> None:
    unknown = str(uuid.uuid4())
    async with CaptureStore(tmp_path) as store:
        for ask in (store.join, store.info, store.close_session, store.delete):
            with pytest.raises(SessionNotFoundError):
                await ask(unknown)
        with pytest.raises(SessionNotFoundError):
            await store.list(before=unknown)


async def test_closing_again_is_harmless_and_the_answer_is_the_same(
    tmp_path: Path,
) -> None:
    async with CaptureStore(tmp_path) as store:
        connection = await store.create(SPEC)
        await connection.write(sound(0, 1_001))
        info = await connection.close_session()

        assert await store.close_session(info.session_id) == info
        assert await store.info(info.session_id) == info
        with pytest.raises(SessionClosedError):
            await store.join(info.session_id)
    # Half a sample was left at the end.
    assert info.dropped_bytes == 1
    assert len(samples_of(info)) == 1_000


async def test_a_parked_session_can_be_closed(tmp_path: Path) -> None:
    async with CaptureStore(tmp_path) as store:
        connection = await store.create(SPEC)
        await connection.write(sound(0, 10_000))
    async with CaptureStore(tmp_path) as store:
        info = await store.close_session(connection.session_id)
        assert store.active == 0
        with pytest.raises(SessionClosedError):
            await store.join(info.session_id)
    assert info.status == "completed"
    assert samples_of(info) == sound(0, 10_000)


async def test_sessions_survive_a_restart_with_all_that_is_known(
    tmp_path: Path,
) -> None:
    spec = SessionSpec(rate=RATE, channels=2, format="flac", user_id="Zoë 👍")
    async with CaptureStore(tmp_path) as store:
        connection = await store.create(spec)
        await connection.write(sound(0, 8_000))
        before = connection.info
        assert before.status == "active"

    async with CaptureStore(tmp_path) as store:
        after = await store.info(connection.session_id)
    assert attrs.evolve(after, updated_at=before.updated_at) == attrs.evolve(
        before, status="interrupted", connections=0
    )
    assert not list(tmp_path.glob(".journal*"))


async def test_sessions_are_listed_page_by_page_newest_first(tmp_path: Path) -> None:
    ids: list[str] = []
    for _ in range(3):
        async with CaptureStore(tmp_path) as store:
            for number in range(4):
                spec = attrs.evolve(SPEC, user_id=f"user {number % 2}")
                ids.insert(0, (await store.create(spec)).session_id)
    async with CaptureStore(tmp_path) as store:
        await store.join(ids[5])
        await store.close_session(ids[7])
        new = (await store.create(SPEC)).session_id

        assert [info.session_id for info in await store.list()] == [new, *ids]
        pages: list[str] = []
        while page := await store.list(limit=4, before=pages[-1] if pages else None):
            assert len(page) <= 4
            pages += [info.session_id for info in page]
        assert pages == [new, *ids]
        for status, wanted in (
            ("active", [new, ids[5]]),
            ("completed", [ids[7]]),
            ("interrupted", [one for one in ids if one not in {ids[5], ids[7]}]),
        ):
            found = await store.list(status=status)  # type: ignore[arg-type]
            assert [info.session_id for info in found] == wanted
        mine = await store.list(user_id="user 1", limit=3)
        assert [info.session_id for info in mine] == ids[0:6:2]


async def test_a_deleted_session_is_gone_with_its_file(tmp_path: Path) -> None:
    async with CaptureStore(tmp_path) as store:
        connection = await store.create(SPEC)
        with pytest.raises(SessionBusyError):
            await store.delete(connection.session_id)
        info = await connection.close_session()
        assert info.path.exists()

        await store.delete(info.session_id)

        assert not info.path.exists()
        assert await store.list() == []


async def test_idle_connections_are_ended_and_their_sessions_parked(
    tmp_path: Path,
) -> None:
    clock = Clock()
    options = CaptureOptions(idle_s=300, max_sessions=1, clock=clock)
    async with CaptureStore(tmp_path, options) as store:
        connection = await store.create(SPEC)
        clock.now += 200
        await connection.write(sound(0, 1_000))
        clock.now += 299
        await store.expire()
        assert connection.end_reason is None
        clock.now += 1
        with anyio.fail_after(60):
            # Without being asked, too.
            assert await connection.wait_ended() == "idle"
        await until(lambda: not store.active)
        with pytest.raises(CaptureError, match="idle"):
            await connection.write(bytes(10))
        assert connection.info.status == "interrupted"

        await store.create(SPEC)
        with pytest.raises(TooManySessionsError):
            await store.join(connection.session_id)


async def test_a_session_that_was_left_is_parked_and_can_be_joined(
    tmp_path: Path,
) -> None:
    clock = Clock()
    async with CaptureStore(tmp_path, CaptureOptions(idle_s=300, clock=clock)) as store:
        connection = await store.create(SPEC)
        await connection.write(sound(0, 1_000))
        await connection.leave()
        clock.now += 299
        await store.expire()
        assert (await store.info(connection.session_id)).status == "active"
        clock.now += 1
        await store.expire()
        assert (await store.info(connection.session_id)).status == "interrupted"

        again = await store.join(connection.session_id, offset=1_000)
        await again.write(sound(1_000, 3_000))
        info = await again.close_session()
    assert samples_of(info) == sound(0, 3_000)


async def test_the_longest_duration_completes_a_session_and_cuts_the_chunk(
    tmp_path: Path,
) -> None:
    options = CaptureOptions(max_duration_s=1.0, clock=Clock())
    async with CaptureStore(tmp_path, options) as store:
        connection = await store.create(SPEC)
        await write_all(connection, 0, 30_000, 5_000)

        ack = await connection.write(sound(30_000, 35_000))

        assert ack.completed
        assert ack.duration_s == 1.0
        assert ack.bytes_received == 35_000
        assert await connection.wait_ended() == "full"
        with pytest.raises(SessionFullError):
            await connection.write(bytes(10))
        with pytest.raises(SessionFullError):
            await store.join(connection.session_id)
        info = await store.info(connection.session_id)
    assert info.status == "completed"
    assert samples_of(info) == sound(0, 32_000)


async def test_a_session_that_is_active_for_too_long_is_completed(
    tmp_path: Path,
) -> None:
    clock = Clock()
    options = CaptureOptions(max_duration_s=3_600, clock=clock)
    async with CaptureStore(tmp_path, options) as store:
        connection = await store.create(SPEC)
        for _ in range(36):
            clock.now += 99
            await connection.write(sound(0, 1_000))
        clock.now += 99
        await store.expire()
        assert await connection.wait_ended() == "full"
        assert connection.info.status == "completed"


async def test_closing_tells_the_other_connections(tmp_path: Path) -> None:
    async with CaptureStore(tmp_path) as store:
        first = await store.create(SPEC)
        second = await store.join(first.session_id)
        await first.close_session()
        assert await second.wait_ended() == "completed"


async def test_a_store_that_closes_ends_its_connections(tmp_path: Path) -> None:
    async with CaptureStore(tmp_path) as store:
        connection = await store.create(SPEC)
    assert connection.end_reason == "stopped"
    assert await connection.wait_ended() == "stopped"
    with pytest.raises(CaptureError):
        await connection.write(bytes(10))
    with pytest.raises(CaptureError, match="not open"):
        await store.create(SPEC)


async def test_an_error_in_the_block_is_raised_as_it_is(tmp_path: Path) -> None:
    async def fail() -> None:
        async with CaptureStore(tmp_path) as store:
            await (await store.create(SPEC)).write(sound(0, 1_000))
            raise KeyError("mine")

    with pytest.raises(KeyError):
        await fail()
    async with CaptureStore(tmp_path) as store:
        (info,) = await store.list()
    assert info.bytes_received == 1_000


async def test_a_second_store_is_refused_the_folder(tmp_path: Path) -> None:
    ask = (
        "import anyio, sys\n"
        "from voicepipe.errors import CaptureError\n"
        "from voicepipe.io.capture.store import CaptureStore\n"
        "async def main():\n"
        "    try:\n"
        "        async with CaptureStore(sys.argv[1]): pass\n"
        "    except CaptureError as exc: print('refused')\n"
        "anyio.run(main)\n"
    )
    async with CaptureStore(tmp_path) as store:
        connection = await store.create(SPEC)
        await connection.write(sound(0, 1_000))
        with pytest.raises(CaptureError, match="another process"):
            async with CaptureStore(tmp_path):
                pass
        told = await anyio.run_process([sys.executable, "-c", ask, str(tmp_path)])
        assert told.stdout == b"refused\n"
        await connection.write(sound(1_000, 2_000))
        info = await connection.close_session()
    assert samples_of(info) == sound(0, 2_000)
    told = await anyio.run_process([sys.executable, "-c", ask, str(tmp_path)])
    assert told.stdout == b""


async def test_a_foreign_database_is_left_as_it_is(tmp_path: Path) -> None:
    foreign = tmp_path / "sessions.sqlite3"
    foreign.write_bytes(b"SQLite format 3\0" + bytes(200))
    with pytest.raises(CaptureError, match="not an index"):
        async with CaptureStore(tmp_path):
            pass
    assert foreign.read_bytes() == b"SQLite format 3\0" + bytes(200)


@pytest.mark.parametrize(
    "wrong",
    [
        {"rate": 3_999},
        {"channels": 3},
        {"format": "ogg"},
        {"user_id": "x" * 257},
        {"user_id": "a\nb"},
    ],
)
def test_a_wrong_session_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        SessionSpec(**wrong)  # type: ignore[arg-type]


async def test_many_sessions_are_recorded_side_by_side(tmp_path: Path) -> None:
    async with CaptureStore(tmp_path) as store:
        connections = [await store.create(SPEC) for _ in range(50)]
        async with anyio.create_task_group() as group:
            for seed, connection in enumerate(connections):
                group.start_soon(write_all, connection, 0, 40_000, 1_000, seed)
        infos = [await connection.close_session() for connection in connections]
    for seed, info in enumerate(infos):
        assert samples_of(info) == sound(0, 40_000, seed)


async def test_writes_at_the_same_time_are_done_one_after_the_other(
    tmp_path: Path,
) -> None:
    async with CaptureStore(tmp_path) as store:
        connection = await store.create(SPEC)
        chunks = [bytes([number]) * 200 for number in range(128, 188)]
        async with anyio.create_task_group() as group:
            for chunk in chunks:
                group.start_soon(connection.write, chunk)
        info = await connection.close_session()
    found = samples_of(info)
    assert sorted(found[at : at + 200] for at in range(0, len(found), 200)) == chunks


@pytest.mark.parametrize("kind", ["flac", "mp3", "aac"])
async def test_helpers_decode_what_the_process_itself_would(
    tmp_path: Path, kind: str
) -> None:
    data = encode(kind, signal(RATE, 1, 3.0), RATE)
    spec = SessionSpec(rate=RATE, format=kind)  # type: ignore[arg-type]
    found = []
    for isolated in (False, True):
        options = CaptureOptions(isolated=isolated)
        async with CaptureStore(tmp_path / str(isolated), options) as store:
            connection = await store.create(spec)
            for at in range(0, len(data), 4_000):
                await connection.write(data[at : at + 4_000])
            found.append(samples_of(await connection.close_session()))
    assert len(found[0]) > 90_000
    assert found[0] == found[1]


async def test_a_helper_that_dies_costs_its_chunk_alone(tmp_path: Path) -> None:
    data = encode("flac", signal(RATE, 1, 6.0), RATE)
    kept = set(psutil.Process().children())
    async with CaptureStore(tmp_path, CaptureOptions(isolated=True)) as store:
        connection = await store.create(SessionSpec(rate=RATE, format="flac"))
        at, died, kills = 0, 0, [20_000, 50_000]
        while at < len(data):
            chunk = data[at : at + 10_000]
            if kills and at == kills[0]:
                kills.pop(0)
                for child in set(psutil.Process().children()) - kept:
                    child.kill()
            try:
                ack = await connection.write(chunk)
            except DecoderCrashedError:
                died += 1
                assert connection.info.bytes_received == at
                continue
            at += len(chunk)
            assert ack.bytes_received == at
        info = await connection.close_session()
    assert died == 2
    assert info.duration == 6.0
