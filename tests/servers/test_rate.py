from __future__ import annotations

from typing import TYPE_CHECKING

import hypothesis.strategies as st
import pytest
from hypothesis import given

from voicepipe.servers.protect import protect
from voicepipe.servers.rate import RateLimit, TokenBuckets
from voicepipe.servers.settings import ServerSettings


if TYPE_CHECKING:
    from collections.abc import Callable

    from voicepipe.servers.asgi import App


class Clock:
    """A clock that is set by hand."""

    now: float = 1_000.0

    def __call__(self) -> float:
        return self.now


def test_a_bucket_empties_and_fills_again() -> None:
    clock = Clock()
    buckets = TokenBuckets(6, clock=clock)

    assert [buckets.take("a") for _ in range(7)] == [0.0] * 6 + [pytest.approx(10.0)]
    clock.now += 9.0
    assert buckets.take("a") == pytest.approx(1.0)
    clock.now += 1.001
    assert buckets.take("a") == 0.0
    assert buckets.take("a") == pytest.approx(10.0, abs=0.01)
    assert buckets.take("b") == 0.0


def test_a_bucket_holds_no_more_than_a_minute() -> None:
    clock = Clock()
    buckets = TokenBuckets(6, clock=clock)
    buckets.take("a")
    clock.now += 1e6

    assert sum(buckets.take("a") == 0.0 for _ in range(20)) == 6


@given(
    st.integers(1, 1_000),
    st.lists(st.floats(0.0, 30.0, allow_subnormal=False), max_size=200),
)
def test_in_no_time_there_are_more_than_the_limit_and_what_came_since(
    limit: int, pauses: list[float]
) -> None:
    clock = Clock()
    buckets = TokenBuckets(limit, clock=clock)
    passed, began = 0, clock.now
    for pause in pauses:
        clock.now += pause
        wait_s = buckets.take("a")
        passed += not wait_s
        assert 0.0 <= wait_s <= 60.0 / limit + 1e-6
    assert passed <= limit + (clock.now - began) * limit / 60.0 + 1e-6


def test_the_buckets_of_many_names_take_bounded_memory() -> None:
    buckets = TokenBuckets(1, max_names=100)
    buckets.take("first")
    for number in range(1_000):
        buckets.take(f"other {number}")
        assert buckets.take("first") > 0.0

    assert len(buckets) == 100


def test_the_name_that_was_not_seen_for_longest_is_forgotten() -> None:
    buckets = TokenBuckets(1, max_names=2)
    for name in ("a", "b", "a", "c"):
        buckets.take(name)

    assert buckets.take("a") > 0.0
    assert buckets.take("c") > 0.0
    assert buckets.take("b") == 0.0


def test_too_many_requests_are_told_when_to_come_again(
    serving: Callable[..., int],
    app: App,
    ask: Callable[..., object],
    ask_ws: Callable[..., int],
) -> None:
    port = serving(protect(app, ServerSettings(rate_limit=3)))
    statuses = [ask(port).status for _ in range(3)]
    answer = ask(port)

    assert statuses == [200] * 3
    assert answer.status == 429
    assert 1 <= int(answer.headers["retry-after"]) <= 20
    assert ask_ws(port, "/ws") == 429


def test_the_key_and_each_peer_without_it_are_counted_apart(
    serving: Callable[..., int], app: App, ask: Callable[..., object]
) -> None:
    port = serving(protect(app, ServerSettings(api_key="k", rate_limit=2)))

    def statuses(*headers: str) -> list[int]:
        return [ask(port, "/data", *headers).status for _ in range(3)]

    assert statuses("Authorization: Bearer k") == [200, 200, 429]
    # Whoever guesses keys has one bucket for all of them.
    assert statuses("Authorization: Bearer x") == [401, 401, 429]
    assert statuses("Authorization: Bearer y") == [429, 429, 429]
    assert statuses("X-Forwarded-For: 192.0.2.1") == [401, 401, 429]
    assert statuses("X-Forwarded-For: 192.0.2.2") == [401, 401, 429]


def test_an_ipv6_network_is_one_peer(
    serving: Callable[..., int], app: App, ask: Callable[..., object]
) -> None:
    port = serving(protect(app, ServerSettings(api_key="k", rate_limit=2)))

    def status(peer: str) -> int:
        return ask(port, "/data", f"X-Forwarded-For: {peer}").status

    assert [status(f"2001:db8::{n}") for n in range(3)] == [401, 401, 429]
    assert status("2001:db8:0:1::1") == 401
    assert status("not:an:address") == 401


async def test_the_clock_is_the_callers(app: App) -> None:
    clock = Clock()
    limit = RateLimit(app, ServerSettings(rate_limit=1), clock=clock)
    statuses = []

    async def receive() -> dict[str, object]:
        return {"type": "http.request", "body": b""}

    async def send(message: dict[str, object]) -> None:
        if "status" in message:
            statuses.append(message["status"])

    scope = {"type": "http", "path": "/", "headers": [], "client": ("::1", 1)}
    for pause in (0.0, 1.0, 60.0):
        clock.now += pause
        await limit(scope, receive, send)

    assert statuses == [200, 429, 200]


def test_no_limit_is_none(
    serving: Callable[..., int], app: App, ask: Callable[..., object]
) -> None:
    port = serving(protect(app, ServerSettings(rate_limit=0)))

    assert {ask(port).status for _ in range(30)} == {200}
