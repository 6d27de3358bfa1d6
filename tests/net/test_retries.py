from __future__ import annotations

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st

from voicepipe.errors import (
    BlockedUrlError,
    ConnectionFailedError,
    HttpStatusError,
    VoicepipeError,
)
from voicepipe.net.retries import Patience, retry_after_s


DATE = "Sat, 21 Nov 2026 12:00:00 GMT"


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("2", 2.0),
        (" 0 ", 0.0),
        ("86400", 86_400.0),
        ("Sat, 21 Nov 2026 12:00:07 GMT", 7.0),
        ("Saturday, 21-Nov-26 12:00:07 GMT", 7.0),
        ("Sat, 21 Nov 2026 11:00:00 GMT", 0.0),
        ("-5", None),
        ("1.5", None),
        ("soon", None),
        ("", None),
        (None, None),
        ("Sat, 99 Nov 2026 12:00:07 GMT", None),
        ("٣", None),  # a digit, but not of ASCII
    ],
)
def test_retry_after_is_read_in_both_forms(
    value: str | None, seconds: float | None
) -> None:
    assert retry_after_s(value, DATE) == seconds


def test_without_the_servers_clock_a_date_is_compared_with_ours() -> None:
    soon = format_datetime(datetime.now(UTC) + timedelta(hours=1), usegmt=True)

    seconds = retry_after_s(soon)

    assert seconds is not None
    assert 3_500 < seconds <= 3_600


@given(st.text(max_size=40), st.text(max_size=40))
def test_no_text_of_a_header_raises(value: str, date: str) -> None:
    seconds = retry_after_s(value, date)

    assert seconds is None or seconds >= 0


class Failing:
    """Fails as told, one error for each call, then succeeds; remembers when."""

    def __init__(self, *errors: VoicepipeError) -> None:
        self.errors = list(errors)
        self.calls: list[float] = []

    async def __call__(self) -> str:
        self.calls.append(anyio.current_time())
        if self.errors:
            raise self.errors.pop(0)
        return "done"


def patience(
    *, attempts: int = 3, within_s: float = 60.0, not_ready_s: float = 0.0
) -> Patience:
    return Patience(
        attempts=attempts,
        deadline=anyio.current_time() + within_s,
        not_ready_s=not_ready_s,
    )


async def waits(error: VoicepipeError, at_most_s: float) -> list[float]:
    """
    Give the waits between two attempts, seconds: one, or up to three.

    A busy machine may make one longer, but hardly three.
    """
    found: list[float] = []
    while len(found) < 3 and min(found, default=at_most_s) >= at_most_s:
        call = Failing(error)
        assert await patience().run(call) == "done"
        first, second = call.calls
        found.append(second - first)
    return found


async def test_what_may_pass_is_tried_again() -> None:
    found = await waits(ConnectionFailedError("one"), 1.1)

    assert min(found) >= 0.5
    assert min(found) < 1.1


async def test_what_will_not_pass_is_not() -> None:
    call = Failing(BlockedUrlError("no"))

    with pytest.raises(BlockedUrlError):
        await patience().run(call)
    assert len(call.calls) == 1


async def test_attempts_in_a_row_are_bounded() -> None:
    call = Failing(*(ConnectionFailedError(str(n)) for n in range(9)))

    with pytest.raises(ConnectionFailedError, match="1"):
        await patience(attempts=2).run(call)
    assert len(call.calls) == 2


async def test_progress_begins_the_count_anew() -> None:
    tries = patience(attempts=2)
    failing = Failing(*(ConnectionFailedError(str(n)) for n in range(3)))

    async def call() -> str:
        tries.progressed()
        return await failing()

    assert await tries.run(call) == "done"
    assert len(failing.calls) == 4


async def test_a_server_that_asks_to_wait_is_obeyed() -> None:
    busy = HttpStatusError("busy", status=429, retry_after=1.2)

    found = await waits(busy, 1.6)

    assert min(found) >= 1.2
    assert min(found) < 1.6


async def test_a_wait_beyond_the_deadline_is_not_begun() -> None:
    call = Failing(HttpStatusError("busy", status=503, retry_after=86_400.0))

    with pytest.raises(HttpStatusError) as caught:
        await patience().run(call)

    assert caught.value.retry_after == 86_400.0
    assert len(call.calls) == 1


async def test_a_recording_that_is_not_there_yet_is_waited_for_if_asked() -> None:
    missing = HttpStatusError("none", status=404)

    with pytest.raises(HttpStatusError):
        await patience().run(Failing(missing))
    assert await patience(not_ready_s=30.0).run(Failing(missing)) == "done"


async def test_waiting_for_it_ends() -> None:
    call = Failing(*(HttpStatusError("none", status=404) for _ in range(9)))

    with pytest.raises(HttpStatusError):
        await patience(not_ready_s=0.8).run(call)
    assert 1 <= len(call.calls) <= 2
