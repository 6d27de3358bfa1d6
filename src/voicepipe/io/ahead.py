"""Work done ahead of whoever needs it, in a thread of its own."""

from __future__ import annotations

import threading
from collections import deque
from typing import TYPE_CHECKING, Generic, TypeVar


if TYPE_CHECKING:
    from collections.abc import Generator, Iterator


T = TypeVar("T")


def ahead(
    items: Iterator[T], *, depth: int = 4, alone: int = 4
) -> Generator[T, None, None]:
    """
    Give the items of an iterator that runs ahead in another thread.

    Decoding a recording and resampling it both release the interpreter's lock, so that
    they can go on side by side. Closing the generator ends the thread and
    waits for it, so that whatever the iterator uses can be closed then.

    Args:
        items: Makes the items; run in one thread at a time.
        depth: Most items waiting.
        alone: Items to make without a thread first: a short recording needs none.

    Raises:
        Exception: What the iterator raised, after all that it gave before.
    """
    for _ in range(alone):
        try:
            item = next(items)
        except StopIteration:
            return
        yield item
    line = _Line(items, depth)
    line.start()
    try:
        while (made := line.next()) is not None:
            yield made[0]
    finally:
        line.stop()


class _Line(threading.Thread, Generic[T]):
    """The thread, and the items that wait."""

    def __init__(self, items: Iterator[T], depth: int) -> None:
        super().__init__(name="voicepipe ahead", daemon=True)
        self._items = items
        self._depth = depth
        self._changed = threading.Condition()
        self._waiting: deque[tuple[T]] = deque()
        self._ended = False
        self._stopped = False
        self._error: BaseException | None = None

    def run(self) -> None:
        """Make the items until there are no more or none are wanted."""
        try:
            for item in self._items:
                with self._changed:
                    self._waiting.append((item,))
                    self._changed.notify()
                    while len(self._waiting) >= self._depth and not self._stopped:
                        self._changed.wait()
                    if self._stopped:
                        return
        except BaseException as exc:  # noqa: BLE001 - raised where the items are taken
            self._error = exc
        finally:
            with self._changed:
                self._ended = True
                self._changed.notify()

    def next(self) -> tuple[T] | None:
        """Wait for the next item; ``None`` at the end."""
        with self._changed:
            while not self._waiting and not self._ended:
                self._changed.wait()
            if self._waiting:
                item = self._waiting.popleft()
                self._changed.notify()
                return item
        if self._error is not None:
            raise self._error
        return None

    def stop(self) -> None:
        """End the thread after the item that it is making."""
        with self._changed:
            self._stopped = True
            self._changed.notify()
        self.join()
