"""Who may write a live session, what of a chunk counts, and what is over when."""

from __future__ import annotations

import attrs
import pytest

from voicepipe.errors import (
    CaptureError,
    ChunkTooLargeError,
    OffsetGapError,
    SessionBusyError,
    SessionClosedError,
    SessionFullError,
    TooManyConnectionsError,
    TooManySessionsError,
)
from voicepipe.stream.sessions.registry import Sessions
from voicepipe.stream.sessions.session import Connection, Session, SessionLimits


LIMITS = SessionLimits(
    max_sessions=2,
    max_connections=2,
    max_chunk_bytes=1_000,
    max_duration_s=100.0,
    idle_s=10.0,
)


def begun(
    limits: SessionLimits = LIMITS, *, rate: int = 8_000
) -> tuple[Sessions, Session, Connection]:
    sessions = Sessions(limits)
    session = sessions.create("a", rate, 0.0)
    return sessions, session, sessions.join(session, 0.0)


def write(
    sessions: Sessions, connection: Connection, size: int, *, now: float = 0.0
) -> int:
    """Give how many bytes of a chunk counted."""
    chunk = sessions.begin(connection, size, now)
    sessions.accept(chunk, (chunk.size - chunk.skip) // 2)
    return chunk.size - chunk.skip


def test_chunks_and_their_bytes_and_frames_are_counted() -> None:
    sessions, session, connection = begun()

    write(sessions, connection, 100)
    write(sessions, connection, 60)

    assert (session.chunks, session.received, session.frames) == (2, 160, 80)
    assert session.sequence == 2


def test_a_refused_chunk_leaves_no_trace() -> None:
    sessions, session, connection = begun()
    before = session.counters(0.0)

    sessions.refuse(sessions.begin(connection, 100, 0.0))

    assert session.counters(0.0) == before
    assert session.writer is None


def test_an_empty_chunk_does_not_count() -> None:
    sessions, session, connection = begun()

    assert write(sessions, connection, 0) == 0

    assert session.chunks == 0


def test_more_sessions_than_allowed_are_refused() -> None:
    sessions, _, _ = begun()
    sessions.create("b", 8_000, 0.0)

    with pytest.raises(TooManySessionsError) as told:
        sessions.create("c", 8_000, 0.0)

    assert told.value.retryable
    assert set(sessions.active) == {"a", "b"}


def test_a_session_that_ends_makes_room() -> None:
    sessions, session, _ = begun()
    sessions.create("b", 8_000, 0.0)

    sessions.finish(session, "completed", 0.0)

    sessions.create("c", 8_000, 0.0)


def test_an_active_session_is_not_begun_again() -> None:
    sessions, session, _ = begun()

    with pytest.raises(ValueError, match="is active"):
        sessions.resume("a", session.counters(0.0), 0.0)


def test_more_connections_than_allowed_are_refused() -> None:
    sessions, session, first = begun()
    sessions.join(session, 0.0)

    with pytest.raises(TooManyConnectionsError):
        sessions.join(session, 0.0)

    sessions.leave(first, 0.0)
    sessions.join(session, 0.0)


def test_a_long_chunk_is_refused_and_tells_the_limit() -> None:
    sessions, _, connection = begun()

    write(sessions, connection, 1_000)
    with pytest.raises(ChunkTooLargeError) as told:
        sessions.check(connection, 1_001)

    assert told.value.limit == 1_000


def test_another_connection_is_refused_while_one_writes() -> None:
    sessions, session, first = begun()
    second = sessions.join(session, 0.0)
    write(sessions, first, 10)

    with pytest.raises(SessionBusyError):
        sessions.begin(second, 10, 0.0)

    sessions.leave(first, 0.0)
    write(sessions, second, 10)
    assert session.received == 20


def test_a_chunk_that_is_under_way_keeps_others_off() -> None:
    sessions, session, first = begun()
    second = sessions.join(session, 0.0)
    chunk = sessions.begin(first, 10, 0.0)

    with pytest.raises(SessionBusyError):
        sessions.check(second, 10)

    sessions.refuse(chunk)
    write(sessions, second, 10)


def test_a_chunk_whose_connection_left_still_counts_and_nobody_writes_then() -> None:
    sessions, session, first = begun()
    second = sessions.join(session, 0.0)
    chunk = sessions.begin(first, 10, 0.0)
    sessions.leave(first, 0.0)

    sessions.accept(chunk, 5)

    assert session.received == 10
    assert session.writer is None
    write(sessions, second, 10)


def test_only_one_chunk_of_a_session_is_under_way() -> None:
    sessions, session, connection = begun()
    sessions.begin(connection, 10, 0.0)

    with pytest.raises(ValueError, match="under way"):
        sessions.begin(connection, 10, 0.0)
    with pytest.raises(ValueError, match="under way"):
        sessions.join(session, 0.0, offset=0)


def test_who_joins_with_an_offset_takes_over() -> None:
    sessions, session, first = begun()
    write(sessions, first, 10)

    second = sessions.join(session, 0.0, offset=10)

    with pytest.raises(SessionBusyError):
        sessions.begin(first, 10, 0.0)
    assert write(sessions, second, 10) == 10


@pytest.mark.parametrize("cut", [1, 7, 30, 100])
def test_bytes_that_the_session_has_are_dropped(cut: int) -> None:
    sessions, session, first = begun()
    write(sessions, first, 60)
    second = sessions.join(session, 0.0, offset=20)

    left, counted = 100, 0
    while left:
        counted += write(sessions, second, min(cut, left))
        left -= min(cut, left)

    assert counted == 60
    assert session.received == 120


def test_a_chunk_that_is_known_whole_does_not_count() -> None:
    sessions, session, first = begun()
    write(sessions, first, 60)
    second = sessions.join(session, 0.0, offset=20)

    chunk = sessions.begin(second, 40, 0.0)

    assert chunk.is_known
    sessions.accept(chunk, 0)
    assert (session.chunks, session.received) == (1, 60)


def test_a_gap_is_refused_with_the_offset_that_is_expected() -> None:
    sessions, session, first = begun()
    write(sessions, first, 60)

    with pytest.raises(OffsetGapError) as told:
        sessions.join(session, 0.0, offset=61)

    assert told.value.expected == 60
    assert len(session.connections) == 1
    with pytest.raises(ValueError, match="offset"):
        sessions.join(session, 0.0, offset=-1)


def test_a_new_connection_begins_until_a_chunk_of_it_counts() -> None:
    sessions, session, first = begun()

    assert not sessions.begin(first, 10, 0.0).begins
    sessions.accept(session.chunk, 5)  # type: ignore[arg-type]
    sessions.leave(first, 0.0)
    second = sessions.join(session, 0.0)
    refused = sessions.begin(second, 10, 0.0)
    sessions.refuse(refused)
    accepted = sessions.begin(second, 10, 0.0)
    sessions.accept(accepted, 5)

    assert refused.begins
    assert accepted.begins
    assert not sessions.begin(second, 10, 0.0).begins


def test_the_chunk_that_reaches_the_longest_duration_is_cut_there() -> None:
    sessions, session, connection = begun(attrs.evolve(LIMITS, max_duration_s=1.0))

    kept = sessions.accept(sessions.begin(connection, 1_000, 0.0), 7_000)
    last = sessions.accept(sessions.begin(connection, 1_000, 0.0), 7_000)

    assert (kept, last) == (7_000, 1_000)
    assert session.is_full
    with pytest.raises(SessionFullError):
        sessions.begin(connection, 10, 0.0)
    with pytest.raises(SessionFullError):
        sessions.join(session, 0.0)
    assert sessions.expire(0.0).full == [session]


def test_a_full_session_is_not_gone_on_with() -> None:
    sessions, session, connection = begun(attrs.evolve(LIMITS, max_duration_s=1.0))
    sessions.accept(sessions.begin(connection, 1_000, 0.0), 8_000)
    sessions.finish(session, "stopped", 0.0)

    with pytest.raises(SessionFullError):
        sessions.resume("a", session.counters(0.0), 0.0)


def test_a_completed_session_takes_nothing() -> None:
    sessions, session, connection = begun()
    write(sessions, connection, 10)

    assert sessions.finish(session, "completed", 0.0) == [connection]

    assert connection.ending == "completed"
    with pytest.raises(SessionClosedError):
        sessions.begin(connection, 10, 0.0)
    with pytest.raises(SessionClosedError):
        sessions.join(session, 0.0)


def test_a_parked_session_is_gone_on_with_where_it_was() -> None:
    sessions, session, connection = begun()
    write(sessions, connection, 10)
    sessions.finish(session, "idle", 5.0)

    again = sessions.resume("a", session.counters(5.0), 100.0)
    write(sessions, sessions.join(again, 100.0, offset=10), 10)

    assert (again.chunks, again.received, again.sequence) == (2, 20, 2)
    assert again.active_s(101.0) == 6.0
    with pytest.raises(CaptureError, match="idle"):
        sessions.begin(connection, 10, 100.0)


def test_who_left_writes_no_more_and_leaving_again_is_harmless() -> None:
    sessions, session, connection = begun()
    sessions.leave(connection, 0.0)
    sessions.leave(connection, 1.0)

    with pytest.raises(CaptureError, match="left"):
        sessions.begin(connection, 10, 0.0)
    assert session.left_at == 0.0


def test_an_idle_connection_is_ended_and_its_session_parked_at_once() -> None:
    sessions, session, connection = begun()
    write(sessions, connection, 10, now=5.0)

    assert sessions.expire(14.9) == ([], [], [])
    expired = sessions.expire(15.0)

    assert expired == ([connection], [session], [])
    assert connection.ending == "idle"


def test_a_session_that_was_left_is_parked_after_a_while() -> None:
    sessions, session, connection = begun()
    sessions.leave(connection, 5.0)

    assert not sessions.expire(14.9).parked
    assert sessions.expire(15.0).parked == [session]


def test_a_connection_whose_owner_waits_is_not_idle() -> None:
    sessions, _, connection = begun()
    connection.calls = 1

    assert not sessions.expire(50.0).connections
    connection.calls = 0
    assert sessions.expire(50.0).connections == [connection]


def test_another_connection_keeps_the_session_when_one_is_idle() -> None:
    sessions, session, first = begun()
    second = sessions.join(session, 0.0)
    write(sessions, second, 10, now=8.0)

    expired = sessions.expire(12.0)

    assert expired == ([first], [], [])
    assert session.connections == [second]


def test_a_session_that_is_active_for_too_long_is_full() -> None:
    sessions, session, connection = begun(attrs.evolve(LIMITS, max_duration_s=30.0))
    for now in range(0, 30, 5):
        write(sessions, connection, 10, now=now)
        assert not sessions.expire(now).full

    assert sessions.expire(30.0).full == [session]
