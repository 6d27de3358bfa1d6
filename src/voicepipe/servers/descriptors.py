"""How many sockets and files a process may have open."""

from __future__ import annotations

import contextlib
import logging


_log = logging.getLogger(__name__)

# For files, databases, pipes and what libraries hold, besides the connections.
_OTHERS = 256


def allow_connections(count: int) -> None:
    """
    Raise this process's own limit of open files for so many connections.

    Many systems begin at 1,024 and let each process raise that. Where this one may not
    go as far, it goes as far as it may, and a warning is logged. On Windows there is
    no such limit.
    """
    try:
        import resource  # noqa: PLC0415 - not on every platform
    except ImportError:
        return
    wanted = count + _OTHERS
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return
    may = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (may, hard))
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < wanted:
        _log.warning("only %d files may be open; wanted are %d", soft, wanted)
