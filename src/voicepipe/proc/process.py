"""One helper process: its start, the lines to it, and its end."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import threading
from typing import IO, TYPE_CHECKING, Any, cast

from voicepipe.errors import ChildCrashedError
from voicepipe.proc.wire import read_bytes, read_text, write_message


if TYPE_CHECKING:
    import io

    from voicepipe.proc.limits import ChildLimits
    from voicepipe.proc.wire import Message


# The caller's import path goes along, so that a helper finds what the caller found.
_START = (
    "import json, sys; sys.path[:], limits = json.loads(sys.argv[1]); "
    "from voicepipe.proc.child import serve; serve(limits)"
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

# A helper that has closed its line is usually on its way out.
_GRACE_S = 1.0

# What Linux gives anyway; macOS gives 8 KiB, and a switch of processes for each.
_BUFFER_BYTES = 1 << 18


class ChildProcess:
    """
    One helper process; started by the first message to it.

    One thread talks to it at a time. ``kill`` is for any thread, also meanwhile.

    Args:
        limits: What it may use; ``None`` for a helper that is trusted.
    """

    def __init__(self, limits: ChildLimits | None) -> None:
        """Start nothing yet."""
        self._limits = limits
        self._talking = threading.RLock()  # held while the lines are in use
        self._killed = threading.Event()
        self._state = threading.Lock()  # guards the line; never held for long
        self._line: _Line | None = None

    @property
    def gone(self) -> bool:
        """Whether the process has been killed, or found dead."""
        return self._killed.is_set()

    def write(self, message: Message) -> None:
        """
        Send a message.

        Raises:
            ChildCrashedError: If the process is dead, or dies before it has read all.
            OSError: If it cannot be started.
        """
        with self._talking:
            line = self._started()
            try:
                write_message(line.calls, message)
            except (OSError, ValueError) as exc:
                raise self._dead() from exc

    def read(self) -> tuple[Any, bytes]:
        """
        Wait for a message.

        Returns:
            What JSON held, and the payload.

        Raises:
            ChildCrashedError: If the process is dead, dies, or writes what is none; it
                is killed then.
        """
        with self._talking:
            line = self._started()
            try:
                text, size = read_text(line.replies, limited=self._limits is not None)
                return text, read_bytes(line.replies, size)
            except (EOFError, OSError) as exc:
                raise self._dead() from exc
            except ValueError as exc:
                raise self.refused(exc) from exc

    def refused(self, why: Exception) -> ChildCrashedError:
        """End a process that has said what it should not, and make the error."""
        self.reap()
        # The exit status would be that of our own signal.
        return ChildCrashedError(f"the helper process answered with {why}")

    def kill(self) -> None:
        """Kill the process, without waiting for anything."""
        with self._state:
            self._killed.set()
            if self._line is not None:
                self._line.cut()

    def reap(self) -> int | None:
        """
        Kill the process, wait for its end and give back what it held.

        Returns:
            Its exit status; ``None`` if it was never started.
        """
        self.kill()
        # Whoever was talking to it has come to his end with the process.
        with self._talking:
            line = self._line
            if line is None:
                return None
            returncode = line.process.wait()
            with self._state:
                line.close()
            return returncode

    def stop(self) -> None:
        """Let the process end by itself, now that its input does."""
        with self._talking:
            if self._line is not None:
                with self._state:
                    self._line.close()
                with contextlib.suppress(subprocess.TimeoutExpired):
                    self._line.process.wait(_GRACE_S)
        self.reap()

    def waits(self) -> bool:
        """Whether the process is alive and has said nothing that was not asked."""
        with self._talking:
            line = self._line
            return line is not None and not self.gone and line.quiet()

    def _dead(self) -> ChildCrashedError:
        killed = self.gone
        if not killed and self._line is not None:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._line.process.wait(_GRACE_S)
        returncode = self.reap()
        end = "was killed" if killed else f"died with exit status {returncode}"
        return ChildCrashedError(f"the helper process {end}", returncode=returncode)

    def _started(self) -> _Line:
        if self._line is None and not self.gone:
            line = _Line(self._limits)
            with self._state:
                self._line = line
        if self._line is None or self.gone:  # it may be killed while it starts
            raise self._dead()
        return self._line


class _Line:
    """
    A running process and the two streams to it.

    They are a pair of sockets where there are such for processes: reading and writing
    can be ended from our side, even where the process has handed the other end on to
    children of its own.
    """

    def __init__(self, limits: ChildLimits | None) -> None:
        if not sys.executable:
            raise ChildCrashedError("this interpreter does not know its path")
        self._limited = limits is not None
        self._owner = os.getpid()
        self._socket: socket.socket | None = None
        self.process: subprocess.Popen[bytes]
        if os.name == "posix":
            self._socket, theirs = socket.socketpair()
            with theirs, contextlib.ExitStack() as stack:
                stack.callback(self._socket.close)
                for end in (self._socket, theirs):
                    end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _BUFFER_BYTES)
                self.process = _popen(limits, theirs.fileno())
                stack.pop_all()
            self.calls: IO[bytes] = self._socket.makefile("wb")
            self.replies: io.BufferedReader = self._socket.makefile("rb")
        else:
            self.process = _popen(limits, subprocess.PIPE)
            self.calls = cast("IO[bytes]", self.process.stdin)
            self.replies = cast("io.BufferedReader", self.process.stdout)

    def cut(self) -> None:
        """Kill the process, and end reading and writing in any thread."""
        if self._owner != os.getpid():
            return  # it belongs to the process that this one was forked from
        if self.process.returncode is None:
            self._kill()
        if self._socket is not None:
            with contextlib.suppress(OSError):
                self._socket.shutdown(socket.SHUT_RDWR)

    def quiet(self) -> bool:
        """Whether the process is alive and there is nothing to read."""
        if self.process.poll() is not None:
            return False
        if self._socket is None:
            return True
        try:
            self._socket.settimeout(0.0)
            silent = not self.replies.peek(1)
            self._socket.settimeout(None)
        except OSError:
            return False
        return silent

    def close(self) -> None:
        """Close our ends."""
        for stream in (self.calls, self.replies, self._socket):
            if stream is not None:
                # Closing flushes what a dead process will never read.
                with contextlib.suppress(OSError):
                    stream.close()

    def _kill(self) -> None:
        if os.name == "posix" and self._limited:
            # It leads a group: what it has started goes with it.
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self.process.pid, signal.SIGKILL)
        self.process.kill()


def _popen(limits: ChildLimits | None, lines: int) -> subprocess.Popen[bytes]:
    environment = {k: v for k, v in os.environ.items() if k.upper() in _ENVIRONMENT}
    # Helpers work side by side; none of them needs threads of its own.
    environment |= {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    confined: dict[str, float] | None = None
    if limits is not None:
        confined = {
            "memory_bytes": limits.memory_bytes,
            "open_files": limits.open_files,
            "idle_s": limits.idle_s,
        }
        # glibc would reserve 64 MiB of address space for each thread.
        environment["MALLOC_ARENA_MAX"] = "2"
        # And give each large array back to the system, only to ask for the next: that
        # takes a third of the time of a short recording.
        environment["MALLOC_MMAP_THRESHOLD_"] = str(1 << 25)
        environment["MALLOC_TRIM_THRESHOLD_"] = str(1 << 27)
    return subprocess.Popen(  # noqa: S603 - this interpreter
        # -P: the caller's directory is on the path only if the caller's path has it.
        [sys.executable, "-P", "-c", _START, json.dumps([sys.path, confined])],
        stdin=lines,
        stdout=lines,
        # The caller's terminal, and its log, are not for a decoder to write to.
        stderr=None if limits is None else subprocess.DEVNULL,
        start_new_session=limits is not None,
        env=environment,
    )
