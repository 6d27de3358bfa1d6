"""The caller's side: a kept pool of helper processes."""

from __future__ import annotations

import contextlib
import os
import threading
import weakref
from typing import TYPE_CHECKING, Any

import anyio
import anyio.to_thread
from anyio.lowlevel import RunVar

from voicepipe.errors import ChildCrashedError
from voicepipe.proc.failure import rebuilt
from voicepipe.proc.process import ChildProcess
from voicepipe.proc.wire import packed


if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

    from _typeshed import ReadableBuffer

    from voicepipe.proc.limits import ChildLimits


class ChildPool:
    """
    Runs functions in helper processes that are started when needed and then kept.

    A helper is this interpreter with nothing of the caller's main module, so that it
    works in notebooks and in scripts without a main guard. Helpers end with the pool,
    and with the caller's process, however that ends. One pool may serve several event
    loops and threads; ``size`` bounds the calls of each loop. A forked process starts
    helpers of its own.

    Args:
        size: Most helpers at work at once for each event loop; at least 1.
        limits: What each helper may use, set before it imports what it is to run.
            ``None``: the helpers are trusted, and have no limits.

    Raises:
        ValueError: If the size is less than 1.
    """

    def __init__(self, size: int, limits: ChildLimits | None = None) -> None:
        """Start nothing yet."""
        if size < 1:
            msg = f"size must be at least 1, not {size}"
            raise ValueError(msg)
        self._size = size
        self._limits = limits
        self._limiter: RunVar[anyio.CapacityLimiter] = RunVar("limiter")
        self._lock = threading.Lock()
        self._pid = os.getpid()
        self._idle: list[ChildProcess] = []
        self._finalizer = weakref.finalize(self, _stop_all, self._idle)

    async def call(
        self, function: str, arguments: Mapping[str, object], payload: bytes = b""
    ) -> Any:
        """
        Run a function in a helper and give its value.

        Args:
            function: ``"module:name"``; it takes the payload and the arguments by name.
            arguments: Anything that JSON can hold.
            payload: Raw bytes.

        Returns:
            What the function gave, through JSON.

        Raises:
            VoicepipeError: If the function raised one; the same, with its attributes.
            ChildCrashedError: If the helper died.
            OSError: If the function raised one, and so with ``MemoryError``,
                ``TypeError`` and ``ValueError``.
            RuntimeError: If the function raised anything else; name and message of it.

        Cancellation: the helper is killed at once; the next call starts a fresh one.
        """

        def ask(helper: Helper) -> Any:
            try:
                return helper.exchange(function, arguments, payload)[0]
            finally:
                # One call is a whole conversation, also one that ends with an error.
                helper.keep()

        async with self.lend() as helper:
            return await anyio.to_thread.run_sync(
                ask,
                helper,
                abandon_on_cancel=True,
                limiter=anyio.CapacityLimiter(1),
            )

    @contextlib.asynccontextmanager
    async def lend(self) -> AsyncIterator[Helper]:
        """
        Lend a helper for a conversation of several calls.

        It is kept for the next one if the block is left without an error, or after
        ``Helper.keep``; and if the helper is alive, and everything that was asked has
        been answered. Otherwise it is killed, which also ends a call that another
        thread is waiting for. The block may be left in another task than the one that
        entered it.

        Yields:
            The helper; its process is started by the first call.

        Cancellation: while waiting for a free helper, nothing has happened; inside the
        block, the helper is killed at once.
        """
        limiter = self._limiter.get(None)
        if limiter is None:
            limiter = anyio.CapacityLimiter(self._size)
            self._limiter.set(limiter)
        borrower = object()  # not the task: another one may leave the block
        await limiter.acquire_on_behalf_of(borrower)
        try:
            child = self._take()
            helper = Helper(child, self._limits)
            try:
                yield helper
                helper.keep()
            finally:
                if helper.ended():
                    self._give_back(child)
                else:
                    with anyio.CancelScope(shield=True):
                        await anyio.to_thread.run_sync(
                            child.reap, limiter=anyio.CapacityLimiter(1)
                        )
        finally:
            limiter.release_on_behalf_of(borrower)

    def close(self) -> None:
        """Stop the helpers that wait for work; the pool stays usable."""
        with self._lock:
            idle, self._idle[:] = list(self._idle), []
        _stop_all(idle)

    def _take(self) -> ChildProcess:
        with self._lock:
            if self._pid != os.getpid():
                # After a fork the helpers, and the other ends of their lines, still
                # belong to the parent.
                self._pid = os.getpid()
                self._idle.clear()
            while self._idle:
                child = self._idle.pop()
                if child.waits():
                    return child
                child.reap()  # killed meanwhile, by whomever
            return ChildProcess(self._limits)

    def _give_back(self, child: ChildProcess) -> None:
        with self._lock:
            self._idle.append(child)


class Helper:
    """
    A helper process, lent for one conversation; ``ChildPool.lend`` gives it.

    The calls block and are made by one thread at a time, one after the other: the next
    one is sent when the last has been answered. What a helper with limits gives is to
    be distrusted: any value that JSON can hold, any payload up to 64 MiB.
    """

    def __init__(self, child: ChildProcess, limits: ChildLimits | None) -> None:
        """Take the process over."""
        self._child = child
        self._limits = limits
        self._budget: dict[str, float] = {}
        self.renew()
        self._lock = threading.Lock()  # guards the three below
        self._asked = False
        self._clean = True
        self._over = False

    def exchange(
        self,
        function: str,
        arguments: Mapping[str, object],
        payload: ReadableBuffer = b"",
    ) -> tuple[Any, bytes]:
        """Send a call and wait for its answer; see ``send`` and ``receive``."""
        self.send(function, arguments, payload)
        return self.receive()

    def send(
        self,
        function: str,
        arguments: Mapping[str, object],
        payload: ReadableBuffer = b"",
    ) -> None:
        """
        Send a call; the helper begins with it while the caller does something else.

        Args:
            function: ``"module:name"``; it takes the payload and the arguments by name.
            arguments: Anything that JSON can hold.
            payload: Any contiguous buffer, of any length; it is not copied. A helper
                without the memory for it answers with ``MemoryError``.

        Raises:
            ChildCrashedError: If the helper is dead, or the loan is over.
            OSError: If the process cannot be started.
            RuntimeError: If the last call has not been answered.
            TypeError: If JSON cannot hold the arguments.
            ValueError: As above.
        """
        call = {"function": function, "arguments": dict(arguments), **self._budget}
        message = packed(call, payload)
        with self._lock:
            self._check_lent()
            if self._asked and not self._child.gone:
                raise RuntimeError("the last call has not been answered")
            self._asked, self._clean = True, False
        # The budget is for the whole loan: the first call sets it, but for ``renew``.
        self._budget = {}
        self._child.write(message)

    def receive(self) -> tuple[Any, bytes]:
        """
        Wait for the answer to the last call.

        Returns:
            What the function gave, through JSON, and the payload of its ``Reply``.

        Raises:
            VoicepipeError: If the function raised one; the same, with its attributes.
            ChildCrashedError: If the helper died, was killed, or answered nonsense.
            OSError: If the function raised one, and so with ``MemoryError``,
                ``TypeError`` and ``ValueError``.
            RuntimeError: If the function raised anything else; name and message of it.
                Or if nothing was asked.
        """
        with self._lock:
            self._check_lent()
            if not self._asked and not self._child.gone:
                raise RuntimeError("nothing was asked")
        reply, payload = self._child.read()
        try:
            value, error = _outcome(reply)
        except ValueError as exc:
            raise self._child.refused(exc) from exc
        with self._lock:
            self._asked = False
        if error is not None:
            raise error
        return value, payload

    def kill(self) -> None:
        """
        Kill the helper at once; for any thread, and for an event loop.

        A thread that waits for an answer gets ``ChildCrashedError``. Does nothing when
        the loan is over.
        """
        with self._lock:
            if not self._over:
                self._child.kill()

    def keep(self) -> None:
        """
        Say that the helper is fit for the next loan, whatever comes now.

        For a conversation that has come to its end although an error leaves the block,
        such as one that the helper has told. Another call takes it back. Does nothing
        while a call is not answered.
        """
        with self._lock:
            self._clean = not self._asked

    def renew(self) -> None:
        """Allow the whole processor time once more, from the next call on."""
        limits = self._limits
        self._budget = {} if limits is None else {"cpu_s": limits.cpu_s}

    def ended(self) -> bool:
        """End the loan, and say whether the process may be kept; for the pool."""
        with self._lock:
            self._over = True
            return self._clean and self._child.waits()

    def _check_lent(self) -> None:
        if self._over:
            raise ChildCrashedError("the loan of this helper is over")


def _outcome(reply: object) -> tuple[Any, Exception | None]:
    match reply:
        case {"error": failure}:
            return None, rebuilt(failure)
        case {"value": value}:
            return value, None
    raise ValueError("neither value nor error")


def _stop_all(children: list[ChildProcess]) -> None:
    for child in children:
        child.stop()
