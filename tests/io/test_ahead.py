from __future__ import annotations

import itertools
import threading
import time
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from voicepipe.io.ahead import ahead


if TYPE_CHECKING:
    from collections.abc import Iterator


def workers() -> list[threading.Thread]:
    return [t for t in threading.enumerate() if t.name == "voicepipe ahead"]


@given(st.integers(0, 30), st.integers(1, 5), st.integers(0, 5))
def test_all_items_come_in_their_order(count: int, depth: int, alone: int) -> None:
    items = ahead(iter(range(count)), depth=depth, alone=alone)

    assert list(items) == list(range(count))
    assert workers() == []


def test_none_is_an_item() -> None:
    assert list(ahead(iter([None] * 9))) == [None] * 9


def test_a_short_recording_needs_no_thread() -> None:
    items = ahead(iter(range(9)), alone=4)

    first = [next(items) for _ in range(4)]

    assert first == [0, 1, 2, 3]
    assert workers() == []
    assert next(items) == 4
    assert len(workers()) == 1
    items.close()
    assert workers() == []


def test_an_error_comes_after_what_was_made_before_it() -> None:
    def broken() -> Iterator[int]:
        yield from range(7)
        raise OSError("gone")

    given: list[int] = []
    with pytest.raises(OSError, match="gone"):
        given.extend(ahead(broken()))

    assert given == list(range(7))
    assert workers() == []


def test_work_runs_ahead_but_not_without_bound() -> None:
    made: list[int] = []

    def count() -> Iterator[int]:
        for item in itertools.count():
            made.append(item)
            yield item

    items = ahead(count(), depth=3, alone=0)
    next(items)
    until = time.monotonic() + 60
    while len(made) < 4 and time.monotonic() < until:
        time.sleep(0.001)
    time.sleep(0.05)

    assert made == [0, 1, 2, 3]
    items.close()


def test_closing_waits_for_the_item_that_is_being_made() -> None:
    inside = threading.Event()
    left: list[bool] = []

    def slow() -> Iterator[int]:
        yield 0
        inside.set()
        time.sleep(0.1)
        left.append(True)
        yield 1

    items = ahead(slow(), depth=2, alone=0)
    next(items)
    assert inside.wait(60)
    items.close()

    assert left == [True]
    assert workers() == []
