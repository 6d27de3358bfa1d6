"""What the client is made of, each part on its own."""

from __future__ import annotations

import json
import math
from collections import deque
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
)

from voicepipe import Audio
from voicepipe.errors import StreamLostError, StreamRefusedError
from voicepipe.io.streaming.backoff import Backoff
from voicepipe.io.streaming.endpoint import Endpoint
from voicepipe.io.streaming.messages import (
    Complaint,
    Completed,
    Failed,
    Taken,
    read_message,
)
from voicepipe.io.streaming.pace import Pace
from voicepipe.io.streaming.sources import audio_chunks, file_chunks, recording_s
from voicepipe.io.streaming.unacked import MOST_CHUNKS, Unacked
from voicepipe.io.streaming.values import StreamOptions


if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


class Ledger(RuleBasedStateMachine):
    """A server that takes, refuses and forgets nothing, on lines that break."""

    def __init__(self) -> None:
        super().__init__()
        self.line: deque[bytes] = deque()
        self.answers: deque[tuple[str, int]] = deque()
        self.server = bytearray()
        self.position = 0
        self.wanted = bytearray()
        self.count = 0

    @initialize(base=st.integers(0, 5))
    def begin(self, base: int) -> None:
        self.server += bytes(base)
        self.wanted += bytes(base)
        self.unacked = Unacked(base)
        self.position = base

    @rule(size=st.integers(1, 4))
    def add(self, size: int) -> None:
        self.count += 1
        chunk = bytes([self.count % 256]) * size
        self.wanted += chunk
        self.unacked.add(chunk)

    @precondition(lambda self: self.unacked.ready)
    @rule()
    def send(self) -> None:
        self.line.append(self.unacked.take())

    @precondition(lambda self: self.line)
    @rule()
    def receive(self) -> None:
        chunk = self.line.popleft()
        self.server += chunk[max(len(self.server) - self.position, 0) :]
        self.position += len(chunk)
        self.answers.append(("ok", len(self.server)))

    @precondition(lambda self: self.line and len(self.server) == self.position)
    @rule()
    def refuse(self) -> None:
        chunk = self.line.popleft()
        at = self.position
        for answer, _ in self.answers:
            assert answer in {"ok", "no"}
        del self.wanted[at : at + len(chunk)]
        self.answers.append(("no", len(chunk)))

    @precondition(lambda self: self.answers)
    @rule()
    def answer(self) -> None:
        kind, number = self.answers.popleft()
        if kind == "ok":
            assert self.unacked.accept(number) == 0
        else:
            assert self.unacked.refuse() == number

    # An answer that says no and is lost leaves nobody knowing; it is not lost here.
    @precondition(lambda self: all(kind == "ok" for kind, _ in self.answers))
    @rule()
    def break_line(self) -> None:
        self.line.clear()
        self.answers.clear()
        self.position = self.unacked.offset
        self.unacked.rejoin(len(self.server))

    @invariant()
    def nothing_is_lost_and_nothing_comes_twice(self) -> None:
        assert self.wanted.startswith(self.server)
        assert self.unacked.offset <= len(self.server)
        assert self.unacked.size >= 0

    def teardown(self) -> None:
        if hasattr(self, "unacked"):
            while self.unacked.ready or self.line or self.answers:
                if self.unacked.ready:
                    self.send()
                if self.line:
                    self.receive()
                if self.answers:
                    self.answer()
            assert self.server == self.wanted
            assert self.unacked.size == 0
            assert self.unacked.chunks == 0


TestLedger = Ledger.TestCase
TestLedger.settings = settings(
    max_examples=150,
    stateful_step_count=40,
    suppress_health_check=list(HealthCheck),
)


def sent(*sizes: int) -> Unacked:
    unacked = Unacked()
    for size in sizes:
        unacked.add(b"x" * size)
        unacked.take()
    return unacked


@pytest.mark.parametrize("says", [0, 4, 6, 100])
def test_counts_that_do_not_agree_are_told(says: int) -> None:
    with pytest.raises(ValueError, match="other bytes"):
        sent(5, 1).accept(says)


def test_answers_to_nothing_are_told() -> None:
    for answer in ("refuse", "put_aside"):
        with pytest.raises(ValueError, match="not sent"):
            getattr(Unacked(), answer)()
    with pytest.raises(ValueError, match="not sent"):
        Unacked().accept(0)


@pytest.mark.parametrize("says", [0, 5, 8])
def test_a_server_may_have_any_part_of_what_was_sent(says: int) -> None:
    unacked = sent(5, 3)
    unacked.add(b"waits")
    unacked.rejoin(says)

    assert [unacked.take() for _ in range(3)] == [b"xxxxx", b"xxx", b"waits"]
    assert not unacked.ready


def test_a_server_cannot_have_what_was_never_sent() -> None:
    unacked = sent(5)
    unacked.add(b"waits")

    with pytest.raises(ValueError, match="somebody else"):
        unacked.rejoin(6)


def test_a_server_must_have_what_it_acknowledged() -> None:
    unacked = sent(5)
    unacked.accept(5)

    with pytest.raises(ValueError, match="lost 1 bytes"):
        unacked.rejoin(4)


def test_what_is_put_aside_goes_first_again() -> None:
    unacked = sent(5, 3)
    unacked.add(b"waits")
    unacked.put_aside()
    assert not unacked.ready
    assert not unacked.held_up
    unacked.put_aside()
    assert unacked.held_up

    unacked.rejoin(0)

    assert [unacked.take() for _ in range(3)] == [b"xxxxx", b"xxx", b"waits"]
    assert unacked.accept(5) == 0


def test_what_was_overtaken_is_lost() -> None:
    unacked = sent(5, 3, 1)
    unacked.put_aside()

    assert unacked.accept(3) == 1
    assert unacked.accept(4) == 0
    assert (unacked.offset, unacked.size, unacked.chunks) == (4, 0, 0)


def test_who_was_overtaken_unseen_is_told() -> None:
    unacked = sent(5, 3)
    unacked.put_aside()

    with pytest.raises(ValueError, match="not others before"):
        unacked.rejoin(3)


def test_room_is_counted_in_bytes_and_chunks() -> None:
    unacked = sent(5)

    assert unacked.has_room(5, 10)
    assert not unacked.has_room(6, 10)
    assert Unacked().has_room(1_000, 10)
    many = sent(*[1] * MOST_CHUNKS)
    assert not many.has_room(1, 1 << 20)


STATE: dict[str, Any] = {
    "message": "m",
    "session_id": "s-1",
    "chunk_count": 2,
    "bytes_received": 3,
}


@pytest.mark.parametrize(
    ("fields", "kind"),
    [
        ({"status": "active"}, Taken),
        ({"status": "error", "error": "busy", "detail": "d"}, Failed),
        ({"status": "completed", "duration_seconds": 2}, Completed),
    ],
)
def test_what_a_server_says_is_read(fields: dict[str, Any], kind: type) -> None:
    message = read_message(json.dumps({**STATE, **fields}))

    assert type(message) is kind
    assert isinstance(message, Taken)
    assert (message.chunk_count, message.bytes_received) == (2, 3)
    if isinstance(message, Failed):
        assert (message.error, message.message) == ("busy", "d")
    if isinstance(message, Completed):
        assert (message.duration_s, message.file_path, message.reason) == (
            2.0,
            None,
            "closed",
        )


def test_a_gap_is_read_with_its_offset() -> None:
    text = '{"error": "Offset gap", "expected_offset": 7, "session_id": "s"}'

    assert read_message(text) == Complaint(error="Offset gap", expected=7)


def test_texts_are_shown_short_and_on_one_line() -> None:
    message = read_message(json.dumps({"error": "a\n\x1b[31mb" + "c" * 1_000}))

    assert isinstance(message, Complaint)
    assert message.error.startswith("a [31mbccc")
    assert len(message.error) == 200


@settings(suppress_health_check=list(HealthCheck))
@given(
    st.one_of(
        st.text(),
        st.dictionaries(
            st.sampled_from([*STATE, "status", "error", "detail", "duration_seconds"]),
            st.one_of(
                st.none(),
                st.integers(),
                st.text(max_size=5),
                st.sampled_from(["active", "error", "completed"]),
                st.lists(st.integers(), max_size=2),
                st.just(10**400),
                st.floats(),
            ),
        ).map(json.dumps),
    )
)
def test_no_message_of_a_server_breaks_the_client(text: str) -> None:
    try:
        message = read_message(text)
    except ValueError as exc:
        assert len(str(exc)) < 100  # noqa: PT017 - it may be raised or not
        return
    if isinstance(message, Taken):
        assert message.bytes_received >= 0


@pytest.mark.parametrize(
    ("url", "wanted"),
    [
        ("ws://h", "ws://h/api/ws/audio?a=1"),
        ("http://h/", "ws://h/api/ws/audio?a=1"),
        ("WSS://H:443/p/", "wss://h/p/api/ws/audio?a=1"),
        ("https://h:8/p?t=%20x", "wss://h:8/p/api/ws/audio?t=%20x&a=1"),
        ("ws://[::1]:9", "ws://[::1]:9/api/ws/audio?a=1"),
    ],
)
def test_a_servers_url_may_have_many_forms(url: str, wanted: str) -> None:
    assert Endpoint(url, StreamOptions()).new_session({"a": 1}) == wanted


def test_an_endpoint_shows_neither_user_nor_query() -> None:
    endpoint = Endpoint("wss://ann:pw12345@h:1/p?token=abc%2Fdef", StreamOptions())

    assert str(endpoint) == "wss://h:1/p"
    assert endpoint.hide("abc/def abc%2Fdef YW5uOnB3MTIzNDU=") == "*** *** ***"


class Clock:
    """Time that passes only when somebody waits."""

    def __init__(self) -> None:
        self.now = 100.0

    def current_time(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.now += seconds


async def test_pieces_go_when_a_live_source_would_have_made_them() -> None:
    clock = Clock()
    pace = Pace(2.0, clock=lambda: clock.now, sleep=clock.sleep)
    went = []
    for sound_s in (0.1, 0.2, 0.3, 0.4, 0.5):
        await pace.wait_for(sound_s)
        went.append(clock.now)
        if sound_s == 0.2:
            clock.now += 0.12  # the line is held up, for more than two pieces

    # 0.05 s apart; what was late is caught up.
    assert went == pytest.approx([100.05, 100.1, 100.22, 100.22, 100.25])


@pytest.mark.parametrize("speed", [0.0, -1.0, math.nan, math.inf])
def test_a_pace_must_be_one(speed: float) -> None:
    with pytest.raises(ValueError, match="speed"):
        Pace(speed)


@pytest.mark.parametrize("kind", ["wav", "flac", "mp3-plain", "aac"])
async def test_a_recordings_length_is_found(
    recording: Callable[[str, int], Path], kind: str
) -> None:
    assert await recording_s(recording(kind, 8_000)) == pytest.approx(8.0, abs=0.3)


@pytest.mark.parametrize("begin", [0, 1, 44, 100_000])
async def test_a_files_chunks_are_the_file_and_have_its_time(
    recording: Callable[[str, int], Path], begin: int
) -> None:
    path = recording("wav", 8_000)
    data = path.read_bytes()
    found = [
        item
        async for item in file_chunks(path, begin=begin, length_s=len(data) / 16_000)
    ]

    assert b"".join(chunk for chunk, _ in found) == data[begin:]
    assert {len(chunk) for chunk, _ in found[:-1]} == {1_600}
    assert [sound_s for _, sound_s in found][:2] == pytest.approx([0.1, 0.2])
    assert found[-1][1] == pytest.approx((len(data) - begin) / 16_000)


async def test_without_times_a_files_chunks_are_large(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_bytes(bytes(150_000))
    found = [item async for item in file_chunks(path, begin=0, length_s=None)]

    assert [(len(chunk), sound_s) for chunk, sound_s in found] == [
        (65_536, 0.0),
        (65_536, 0.0),
        (18_928, 0.0),
    ]


def test_sound_has_its_time_in_chunks() -> None:
    audio = Audio(samples=np.zeros((1_900, 1)), rate=8_000)
    found = list(audio_chunks(audio))

    assert [len(chunk) for chunk, _ in found] == [80 + 1_600, 1_600, 600]
    assert [sound_s for _, sound_s in found] == pytest.approx([0.1, 0.2, 0.2375])


class Failing:
    """Fails so often, then does not; remembers when."""

    def __init__(
        self, clock: Clock, times: int, kind: type[Exception] = StreamLostError
    ) -> None:
        self.clock = clock
        self.times = times
        self.kind = kind
        self.calls: list[float] = []

    async def __call__(self) -> None:
        self.calls.append(self.clock.now)
        if len(self.calls) <= self.times:
            raise self.kind("no")


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """Give the time in which waits between two tries are counted."""
    clock = Clock()
    monkeypatch.setattr("voicepipe.io.streaming.backoff.anyio", clock)
    return clock


async def test_losses_are_tried_again_after_longer_and_longer_waits(
    clock: Clock,
) -> None:
    call = Failing(clock, 9)
    await Backoff(60.0).run(call)

    waits = np.diff(call.calls)
    longest = np.array([0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 5.0, 5.0, 5.0])
    assert (waits >= longest / 2 - 1e-9).all()
    assert (waits <= longest + 1e-9).all()


async def test_refusals_are_not_tried_again(clock: Clock) -> None:
    call = Failing(clock, 1, StreamRefusedError)
    with pytest.raises(StreamRefusedError):
        await Backoff(20.0).run(call)

    assert len(call.calls) == 1


async def test_no_wait_is_begun_that_would_be_too_long(clock: Clock) -> None:
    backoff = Backoff(0.3)
    begun = clock.now
    with pytest.raises(StreamLostError):
        await backoff.run(Failing(clock, 100))

    assert 0.0 < clock.now - begun <= 0.3
    assert backoff.left_s() < 0.3
    backoff.progressed()
    assert backoff.left_s() == 0.3
