"""The law of live sessions: what is recorded is what was accepted, each byte once."""

from __future__ import annotations

import random

import attrs
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    invariant,
    precondition,
    rule,
)

from voicepipe.errors import CaptureError
from voicepipe.stream.sessions.registry import Sessions
from voicepipe.stream.sessions.session import (
    Chunk,
    Connection,
    Counters,
    Session,
    SessionLimits,
)


LIMITS = SessionLimits(
    max_sessions=3,
    max_connections=3,
    max_chunk_bytes=40,
    max_duration_s=60.0,
    idle_s=10.0,
)

# Bytes that make a frame are two; so few that sessions become full.
RATE = 2


@attrs.define(eq=False)
class Told:
    """What a test knows of one session, by its own reckoning."""

    name: str
    accepted: bytearray = attrs.field(factory=bytearray)
    chunks: int = 0
    # What a recorder does: the journal's records, with the numbers that they had.
    journal: list[tuple[int, int, bytes]] = attrs.field(factory=list)
    state: Counters | None = None
    status: str = "active"

    def recorded(self) -> bytes:
        """Put the journal together, as recovery does."""
        found = bytearray()
        for number, (sequence, offset, data) in enumerate(self.journal):
            assert (sequence, offset) == (number, len(found))
            found += data
        return bytes(found)


@attrs.define(eq=False)
class Client:
    """A connection, with what its client has told and sent."""

    told: Told
    connection: Connection
    # Where its next byte stands; None: at the end.
    position: int | None


class Recording(RuleBasedStateMachine):
    """Several sessions and connections, failing disks and dying processes."""

    clients = Bundle("clients")

    def __init__(self) -> None:
        super().__init__()
        self.sessions = Sessions(LIMITS)
        self.now = 0.0
        self.told: dict[str, Told] = {}
        self.under_way: list[tuple[Client, Chunk, bytes]] = []
        self.random = random.Random(1)

    def live(self, told: Told) -> Session:
        return self.sessions.active[told.name]

    @rule(target=clients)
    def create(self) -> Client | None:
        name = f"session {len(self.told)}"
        try:
            session = self.sessions.create(name, RATE, self.now)
        except CaptureError:
            assert len(self.sessions.active) == LIMITS.max_sessions
            return None
        told = self.told[name] = Told(name, state=session.counters(self.now))
        return Client(told, self.sessions.join(session, self.now), None)

    @precondition(lambda self: self.told)
    @rule(target=clients, data=st.data())
    def join(self, data: st.DataObject) -> Client | None:
        told = data.draw(st.sampled_from(list(self.told.values())))
        size = len(told.accepted)
        behind = data.draw(st.none() | st.integers(-3, 30))
        offset = None if behind is None else max(0, size - behind)
        if any(client.told is told for client, _, _ in self.under_way):
            return None
        try:
            if told.status == "interrupted":
                assert told.state is not None
                self.sessions.resume(told.name, told.state, self.now)
                told.status = "active"
            if told.status != "active":
                return None
            connection = self.sessions.join(self.live(told), self.now, offset=offset)
        except CaptureError:
            session = self.sessions.active.get(told.name)
            assert (
                session is None
                or len(session.connections) == LIMITS.max_connections
                or session.is_full
                or (offset is not None and offset > size)
            )
            return None
        assert offset is None or offset <= size
        assert connection.joined_at == size
        return Client(told, connection, offset)

    @rule(client=clients, sizes=st.lists(st.integers(1, 40), max_size=5))
    def send(self, client: Client | None, sizes: list[int]) -> None:
        """Send some chunks, one after the other."""
        for size in sizes:
            before = len(self.under_way)
            self.begin_one(client, size)
            if len(self.under_way) > before:
                self.end_one(self.under_way[-1], succeeds=True)

    @rule(client=clients, size=st.integers(0, 45))
    def begin(self, client: Client | None, size: int) -> None:
        self.begin_one(client, size)

    def begin_one(self, client: Client | None, size: int) -> None:
        if client is None or self.is_dead(client) or self.is_busy(client):
            return
        told, position = client.told, client.position
        data = self.random.randbytes(size)
        if position is not None:
            # The same stream again, as far as it is known.
            data = (bytes(told.accepted[position:]) + data)[:size]
        try:
            chunk = self.sessions.begin(client.connection, size, self.now)
        except CaptureError:
            assert self.may_refuse(client, size)
            return
        expected = 0 if position is None else min(size, len(told.accepted) - position)
        assert chunk.skip == expected
        self.under_way.append((client, chunk, data))

    def is_dead(self, client: Client) -> bool:
        """Tell whether it was connected to a process that has died."""
        session = client.connection.session
        return session.ending is None and session not in self.sessions.active.values()

    def is_busy(self, client: Client) -> bool:
        return any(one.told is client.told for one, _, _ in self.under_way)

    def may_refuse(self, client: Client, size: int) -> bool:
        session = client.connection.session
        return (
            size > LIMITS.max_chunk_bytes
            or client.connection.ending is not None
            or session.is_full
            or session.writer not in {None, client.connection}
        )

    @precondition(lambda self: self.under_way)
    @rule(data=st.data(), succeeds=st.booleans())
    def end(self, data: st.DataObject, succeeds: bool) -> None:  # noqa: FBT001
        self.end_one(data.draw(st.sampled_from(self.under_way)), succeeds=succeeds)

    def end_one(self, entry: tuple[Client, Chunk, bytes], *, succeeds: bool) -> None:
        self.under_way.remove(entry)
        client, chunk, sent = entry
        if succeeds:
            self.write(client, chunk, sent)
            kept = self.sessions.accept(chunk, (chunk.size - chunk.skip) // 2)
            assert kept <= (chunk.size - chunk.skip) // 2
            self.count(client, chunk, sent)
        else:
            self.sessions.refuse(chunk)

    def write(self, client: Client, chunk: Chunk, sent: bytes) -> None:
        """Put a chunk into the journal, as a recorder does."""
        session = client.connection.session
        if not chunk.is_known:
            record = (session.sequence, session.received, sent[chunk.skip :])
            client.told.journal.append(record)

    def count(self, client: Client, chunk: Chunk, sent: bytes) -> None:
        """Count it, as its client does."""
        told = client.told
        new = sent
        if client.position is not None:
            new = sent[max(0, len(told.accepted) - client.position) :]
            client.position += len(sent)
        told.accepted += new
        told.chunks += bool(new)

    @rule(client=consumes(clients))
    def leave(self, client: Client | None) -> None:
        if client is not None and not self.is_dead(client):
            self.sessions.leave(client.connection, self.now)

    @rule(seconds=st.floats(0.0, 12.0))
    def wait(self, seconds: float) -> None:
        self.now += seconds
        # A connection is not idle while its chunk is under way.
        for client, _, _ in self.under_way:
            client.connection.calls = 1
        expired = self.sessions.expire(self.now)
        for client, _, _ in self.under_way:
            client.connection.calls = 0
            assert client.connection not in expired.connections
        for session in expired.parked:
            if session.chunk is None:
                self.finish(self.told[session.session_id], "idle")
        for session in expired.full:
            if session.chunk is None:
                self.finish(self.told[session.session_id], "full")

    @precondition(lambda self: self.sessions.active)
    @rule(data=st.data())
    def close(self, data: st.DataObject) -> None:
        name = data.draw(st.sampled_from(list(self.sessions.active)))
        if self.sessions.active[name].chunk is None:
            self.finish(self.told[name], "completed")

    def finish(self, told: Told, ending: str) -> None:
        session = self.live(told)
        told.state = session.counters(self.now)
        self.sessions.finish(session, ending, self.now)  # type: ignore[arg-type]
        told.status = "interrupted" if ending == "idle" else "completed"
        assert not session.connections

    @rule(written=st.booleans())
    def die(self, written: bool) -> None:  # noqa: FBT001
        """Lose all but the journal, in which the last chunks are or are not."""
        if written:
            for client, chunk, sent in self.under_way:
                self.write(client, chunk, sent)
                self.count(client, chunk, sent)
        self.under_way.clear()
        self.sessions = Sessions(LIMITS)
        for told in self.told.values():
            if told.status != "active":
                continue
            told.status = "interrupted"
            assert told.state is not None
            most = told.state.max_frames
            told.state = attrs.evolve(
                told.state,
                chunks=len(told.journal),
                sequence=len(told.journal),
                received=sum(len(data) for _, _, data in told.journal),
                frames=min(most, sum(len(data) // 2 for _, _, data in told.journal)),
            )

    @invariant()
    def recorded_is_what_was_accepted(self) -> None:
        for told in self.told.values():
            assert told.recorded() == bytes(told.accepted)

    @invariant()
    def counted_is_what_was_accepted(self) -> None:
        for name, session in self.sessions.active.items():
            told = self.told[name]
            assert session.received == len(told.accepted)
            assert session.chunks == told.chunks

    @invariant()
    def limits_hold(self) -> None:
        assert len(self.sessions.active) <= LIMITS.max_sessions
        for session in self.sessions.active.values():
            assert len(session.connections) <= LIMITS.max_connections
            assert session.writer is None or session.writer in session.connections
            assert session.frames <= session.max_frames


TestRecording = Recording.TestCase
TestRecording.settings = settings(max_examples=200, stateful_step_count=60)
