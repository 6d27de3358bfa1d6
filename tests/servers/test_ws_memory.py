from __future__ import annotations

import random

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from voicepipe.servers.ws_flood import SlowLane, TinyFrames
from voicepipe.servers.ws_memory import Holding, MessageMemory, WsLimits


LIMITS = WsLimits(memory_bytes=1_000, max_message_bytes=100, stall_s=10.0)


@attrs.define(eq=False)
class Peer:
    """A connection as the memory sees it."""

    memory: MessageMemory
    woken: int = 0
    evicted: int = 0
    size: int = 0
    holding: Holding = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        def wake() -> None:
            self.woken += 1

        def evict() -> None:
            self.evicted += 1

        self.holding = Holding(wake, evict)

    def tell(self, size: int, now: float = 0.0, *, owed: bool = True) -> None:
        self.size = size
        self.memory.tell(self.holding, size, now, owed=owed)

    def ask(self) -> bool:
        return self.memory.ask(self.holding)

    def done(self, now: float = 0.0) -> None:
        self.size = 0
        self.memory.let_go(self.holding, now)


def full(memory: MessageMemory) -> Peer:
    """Give a peer whose messages, which the app has, fill what all share."""
    peer = Peer(memory)
    peer.tell(901, owed=False)
    return peer


def test_all_may_take_more_up_to_the_limit_less_a_message() -> None:
    memory = MessageMemory(LIMITS)
    one, other = Peer(memory), Peer(memory)

    one.tell(500)
    other.tell(400)

    assert memory.used == 900
    assert one.ask()
    assert other.ask()


def test_beyond_it_one_may_finish_and_the_others_wait_their_turn() -> None:
    memory = MessageMemory(LIMITS)
    app = full(memory)
    first, second, third = Peer(memory), Peer(memory), Peer(memory)
    for peer in (first, second, third):
        peer.tell(10)

    assert [first.ask(), second.ask(), third.ask()] == [True, False, False]
    first.tell(100)
    assert first.ask()
    first.done()

    assert (first.woken, second.woken, third.woken) == (0, 1, 0)
    assert [third.ask(), second.ask()] == [False, True]
    app.done()
    assert third.woken == 1


def test_who_goes_gives_its_turn_and_its_memory_back() -> None:
    memory = MessageMemory(LIMITS)
    full(memory)
    first, second, third = Peer(memory), Peer(memory), Peer(memory)
    for peer in (first, second, third):
        peer.tell(10)
        peer.ask()

    second.done()
    first.done()

    assert third.woken == 1
    assert third.ask()
    assert memory.used == 911


@pytest.mark.parametrize("grown", [0, 15_999, 16_384])
def test_who_does_not_go_on_is_closed_where_others_look(grown: int) -> None:
    limits = attrs.evolve(LIMITS, memory_bytes=1 << 20, stall_bytes=16_384)
    memory = MessageMemory(limits)
    peer = Peer(memory)
    peer.tell(1_000, now=0.0)
    peer.tell(1_000 + grown, now=6.0)

    memory.evict_stalled(9.0)
    assert peer.evicted == 0
    memory.evict_stalled(11.0)
    assert peer.evicted == int(grown < 16_384)
    memory.evict_stalled(16.0)
    assert peer.evicted >= 1


def test_who_waits_for_memory_or_for_the_app_is_not_to_blame() -> None:
    memory = MessageMemory(LIMITS)
    app = full(memory)
    first, waiting = Peer(memory), Peer(memory)
    first.tell(10, now=0.0)
    waiting.tell(10, now=0.0)
    first.ask()
    waiting.ask()

    memory.evict_stalled(60.0)

    assert (app.evicted, first.evicted, waiting.evicted) == (0, 1, 0)
    first.done(60.0)
    # It has had no chance before.
    memory.evict_stalled(65.0)
    assert waiting.evicted == 0
    memory.evict_stalled(70.5)
    assert waiting.evicted == 1


def test_looking_again_at_once_costs_nothing() -> None:
    memory = MessageMemory(LIMITS)
    peer = Peer(memory)
    memory.evict_stalled(10.0)
    peer.tell(10, now=0.0)

    memory.evict_stalled(10.5)
    assert peer.evicted == 0
    memory.evict_stalled(12.0)
    assert peer.evicted == 1


@given(st.integers(2, 30), st.integers(0, 2**32))
def test_however_many_begin_all_finish_and_the_limit_holds(
    count: int, seed: int
) -> None:
    rng = random.Random(seed)
    memory = MessageMemory(LIMITS)
    peers = [Peer(memory) for _ in range(count)]
    left = {id(peer): rng.randint(1, 3) for peer in peers}
    for _ in range(200 * count):
        running = [peer for peer in peers if left[id(peer)]]
        if not running:
            break
        peer = rng.choice(running)
        # In any state it may have been woken or not; it may always ask again.
        if peer.size >= 100:
            peer.done()
            left[id(peer)] -= 1
        elif peer.size == 0 or peer.ask():
            peer.tell(peer.size + min(100 - peer.size, rng.randint(1, 60)))
        assert memory.used == sum(p.size for p in peers)
        # What is begun without asking is what the limit does not count.
        assert memory.used <= 1_000 + 60 * count
    assert not any(left.values())
    assert memory.used == 0


def test_a_lane_gives_its_share_of_the_time_to_all_together() -> None:
    lane = SlowLane(0.25)

    assert lane.wait_s(100.0, 0.01) == pytest.approx(0.04)
    assert lane.wait_s(100.0, 0.01) == pytest.approx(0.08)
    assert lane.wait_s(100.08, 0.01) == pytest.approx(0.04)
    assert lane.wait_s(200.0, 0.01) == pytest.approx(0.04)


def test_a_thousand_tiny_frames_at_once_and_five_hundred_a_second_are_free() -> None:
    tiny = TinyFrames(SlowLane(0.25), 0.0)
    for second in range(5):
        for _ in range(500):
            tiny.count()
        assert not tiny.are_too_many or tiny.wait_s(float(second), 0.001) == 0.0
    for _ in range(2_000):
        tiny.count()

    assert tiny.are_too_many
    assert tiny.wait_s(5.0, 0.01) == pytest.approx(0.04)
    # However many they were, it is forgotten within seconds.
    assert tiny.wait_s(8.0, 0.01) == 0.0
    assert not tiny.are_too_many
