"""The caller's side: a kept pool of helper processes."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import threading
import weakref
from typing import IO, TYPE_CHECKING, Any

import anyio
import anyio.to_thread
from anyio.lowlevel import RunVar

from voicepipe import errors
from voicepipe.errors import ChildCrashedError
from voicepipe.proc.wire import read_message, write_message


if TYPE_CHECKING:
    from collections.abc import Mapping


# The caller's import path goes along, so that a helper finds what the caller found.
_START = (
    "import json, sys; sys.path[:] = json.loads(sys.argv[1]); "
    "from voicepipe.proc.child import serve; serve()"
)

# Everything else stays behind: a helper needs no credentials.
_ENVIRONMENT = frozenset(
    {
        "DYLD_LIBRARY_PATH",
        "HOME",
        "LANG",
        "LC_ALL",
        "LC_CTYPE",
        "LD_LIBRARY_PATH",
        "PATH",
        "SYSTEMROOT",
        "TEMP",
        "TMP",
        "TMPDIR",
    }
)


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

    Raises:
        ValueError: If the size is less than 1.
    """

    def __init__(self, size: int) -> None:
        """Start nothing yet."""
        if size < 1:
            msg = f"size must be at least 1, not {size}"
            raise ValueError(msg)
        self._size = size
        self._limiter: RunVar[anyio.CapacityLimiter] = RunVar("limiter")
        self._lock = threading.Lock()
        self._pid = os.getpid()
        self._idle: list[_Child] = []
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
            RuntimeError: If the function raised anything else; name and message of it.

        Cancellation: the helper is killed at once; the next call starts a fresh one.
        """
        limiter = self._limiter.get(None)
        if limiter is None:
            limiter = anyio.CapacityLimiter(self._size)
            self._limiter.set(limiter)
        async with limiter:
            child = self._take()
            threads = anyio.CapacityLimiter(1)
            try:
                request: dict[str, object]
                request = {"function": function, "arguments": dict(arguments)}
                reply = await anyio.to_thread.run_sync(
                    child.exchange,
                    request,
                    payload,
                    abandon_on_cancel=True,
                    limiter=threads,
                )
            except BaseException:
                with anyio.CancelScope(shield=True):
                    # Ends the exchange too, if it is still waiting for its reply.
                    await anyio.to_thread.run_sync(
                        child.kill, limiter=anyio.CapacityLimiter(1)
                    )
                raise
            self._give_back(child)
        return _value(reply)

    def close(self) -> None:
        """Stop the helpers that wait for work; the pool stays usable."""
        with self._lock:
            idle, self._idle[:] = list(self._idle), []
        _stop_all(idle)

    def _take(self) -> _Child:
        with self._lock:
            if self._pid != os.getpid():
                # After a fork the helpers, and the other ends of their pipes, still
                # belong to the parent.
                self._pid = os.getpid()
                self._idle.clear()
            return self._idle.pop() if self._idle else _Child()

    def _give_back(self, child: _Child) -> None:
        with self._lock:
            self._idle.append(child)


class _Child:
    """One helper process; started by its first exchange."""

    def __init__(self) -> None:
        self._lock = threading.Lock()  # held while the process is started or killed
        self._talking = threading.Lock()  # held while the pipes are in use
        self._killed = False
        self._process: subprocess.Popen[bytes] | None = None

    def exchange(self, call: dict[str, object], payload: bytes) -> dict[str, Any]:
        """Send one call and wait for its reply; runs in a worker thread."""
        process = self._start()
        try:
            with self._talking:
                write_message(_pipe(process.stdin), call, payload)
                reply, _ = read_message(_pipe(process.stdout))
        except (EOFError, OSError, ValueError) as exc:
            returncode = self.kill()
            msg = f"the helper process died with exit status {returncode}"
            raise ChildCrashedError(msg, returncode=returncode) from exc
        return dict(reply)

    def kill(self) -> int | None:
        """Kill the process, wait for its end and give its exit status."""
        with self._lock:
            self._killed = True
            process = self._process
        if process is None:
            return None
        process.kill()
        returncode = process.wait()
        # An exchange that was under way has come to its end with the process.
        with self._talking:
            _close(process)
        return returncode

    def stop(self) -> None:
        """Let the process end by itself, now that its input does."""
        process = self._process
        if process is None:
            return
        _close(process)
        try:
            process.wait(1.0)
        except subprocess.TimeoutExpired:
            self.kill()

    def _start(self) -> subprocess.Popen[bytes]:
        with self._lock:
            if self._killed:
                raise ChildCrashedError("the call was cancelled before it began")
            if self._process is None:
                if not sys.executable:
                    raise ChildCrashedError("this interpreter does not know its path")
                environment = {
                    k: v for k, v in os.environ.items() if k.upper() in _ENVIRONMENT
                }
                # Helpers work side by side; none of them needs threads of its own.
                environment |= {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
                self._process = subprocess.Popen(  # noqa: S603 - this interpreter
                    [sys.executable, "-c", _START, json.dumps(sys.path)],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    env=environment,
                )
            return self._process


def _pipe(pipe: IO[bytes] | None) -> IO[bytes]:
    if pipe is None:
        raise ValueError("the process was started without this pipe")
    return pipe


def _close(process: subprocess.Popen[bytes]) -> None:
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            # Closing flushes what a dead process will never read.
            with contextlib.suppress(OSError):
                pipe.close()


def _stop_all(children: list[_Child]) -> None:
    for child in children:
        child.stop()


def _value(reply: dict[str, Any]) -> Any:
    if "error" not in reply:
        return reply["value"]
    kind = getattr(errors, str(reply["error"]), None)
    if isinstance(kind, type) and issubclass(kind, errors.VoicepipeError):
        error = kind.__new__(kind)
        error.args = (reply["message"],)
        vars(error).update(reply["state"])
        raise error
    raise RuntimeError(f"{reply['error']}: {reply['message']}")
