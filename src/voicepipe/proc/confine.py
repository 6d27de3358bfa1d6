"""The limits of a helper process, set by itself before it does any work."""

from __future__ import annotations

import contextlib
import ctypes
import math
import signal
import sys
import time


if sys.platform != "win32":
    import resource


# From <linux/prctl.h>.
_PR_SET_DUMPABLE = 4
_PR_SET_NO_NEW_PRIVS = 38

# From <linux/capability.h>: what root keeps, which is to read recordings of others.
_CAPABILITY_VERSION_3 = 0x20080522
_KEPT_CAPABILITIES = 1 << 1 | 1 << 2  # CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH

# The clock that the limit goes by, of this process (CPUCLOCK_PROF of <linux/
# posix-timers.h>). It counts ticks, and runs away from the exact one.
_TICKS_CLOCK = -8

# Thirty years; more than that is no limit, and some systems cannot count it.
_MAX_CPU_S = 1e9


def confine(*, memory_bytes: int, open_files: int) -> None:
    """
    Limit this process for good: nothing that runs in it can take the limits back.

    Address space and open files as given; no file can be made to grow, and there are
    no core dumps. On Linux it also loses root's powers, which include raising limits,
    gains none through the programs it starts, and cannot be read by its siblings.
    Limits that are lower already stay as they are.

    Args:
        memory_bytes: Address space.
        open_files: Open files.
    """
    # It is not worth a try to keep what was compiled.
    sys.dont_write_bytecode = True
    if sys.platform == "win32":
        return

    # Writing fails with EFBIG instead; a signal would end the process.
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    # One that the caller ignores stays ignored in its children.
    signal.signal(signal.SIGXCPU, signal.SIG_DFL)
    _set(resource.RLIMIT_CORE, 0)
    _set(resource.RLIMIT_FSIZE, 0)
    _set(resource.RLIMIT_NOFILE, open_files)
    if sys.platform == "linux":
        _set(resource.RLIMIT_AS, memory_bytes)
        libc = ctypes.CDLL(None)
        header = (ctypes.c_uint32 * 2)(_CAPABILITY_VERSION_3, 0)
        held = (ctypes.c_uint32 * 6)()
        libc.capget(header, held)
        kept = (ctypes.c_uint32 * 6)(*(at & _KEPT_CAPABILITIES for at in held[:2]))
        libc.capset(header, kept)
        libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
        libc.prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)
    else:
        # macOS refuses a limit below what its libraries have mapped already.
        with contextlib.suppress(OSError, ValueError):
            _set(resource.RLIMIT_AS, memory_bytes)


def allow_processor_time(seconds: float) -> None:
    """
    Let this process compute for so long from now; SIGXCPU ends it then.

    The system counts whole seconds since the process began, so that it may become up to
    a second more. Only the soft limit is set, because the next caller raises it again.

    Args:
        seconds: Processor time of all threads together.
    """
    if sys.platform == "win32":
        return

    soft = math.ceil(_used_s() + min(seconds, _MAX_CPU_S))
    _, hard = resource.getrlimit(resource.RLIMIT_CPU)
    if hard != resource.RLIM_INFINITY:
        soft = min(soft, hard)
    resource.setrlimit(resource.RLIMIT_CPU, (soft, hard))


def _used_s() -> float:
    """Give the processor time that this process has used, as its limit counts it."""
    used_s = time.process_time()
    if sys.platform == "linux":
        with contextlib.suppress(OSError):
            used_s = max(used_s, time.clock_gettime(_TICKS_CLOCK))
    return used_s


def _set(which: int, most: int) -> None:
    _, hard = resource.getrlimit(which)
    if hard != resource.RLIM_INFINITY:
        most = min(most, hard)
    resource.setrlimit(which, (most, most))
