"""
Downloads in processes of its own, each one a copy of this one that has begun before.

A line on stdin is a JSON object: ``url``, ``path``, ``options``, ``told`` and ``die``,
which may be ``"before"`` or ``"after"`` the file gets its name. The answer is a line
with the process's id, and when it has ended another one with its exit status. What the
download came to is written to the path ``told``.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import sys
from pathlib import Path
from typing import Any

import anyio
import httpcore

from voicepipe.io.download.downloader import Downloader
from voicepipe.io.download.values import DownloadOptions


def die_at_the_rename(target: str, when: str) -> None:
    """Be killed just before, or just after, the file gets its name."""
    replace = Path.replace

    def fatal(self: Path, to: Any) -> Path:
        if str(to) != target:
            return replace(self, to)
        if when == "after":
            replace(self, to)
        os.kill(os.getpid(), signal.SIGKILL)
        return self

    Path.replace = fatal  # type: ignore[assignment]


def narrow_sockets() -> None:
    """Let little be on its way: what was sent and not read counts as lost by a kill."""
    backend: Any = httpcore.AnyIOBackend
    connect = backend.connect_tcp
    options = [(socket.SOL_SOCKET, socket.SO_RCVBUF, 65_536)]

    async def narrow(self: Any, host: str, port: int, limit_s: Any, *_: Any) -> Any:
        return await connect(self, host, port, limit_s, None, options)

    backend.connect_tcp = narrow


async def download(url: str, path: str, options: dict[str, Any]) -> dict[str, Any]:
    async with Downloader(DownloadOptions(**options)) as downloader:
        got = await downloader.fetch(url, Path(path))
    return {
        "sha256": got.sha256,
        "size": got.size,
        "bytes_resumed": got.bytes_resumed,
        "reused": got.reused,
        "attempts": got.attempts,
    }


def child(job: dict[str, Any]) -> None:
    told = {}
    if job.get("die"):
        die_at_the_rename(job["path"], job["die"])
    try:
        told = anyio.run(download, job["url"], job["path"], job["options"])
    except Exception as exc:  # noqa: BLE001
        told = {"error": repr(exc)}
    Path(job["told"]).write_text(json.dumps(told), "utf-8")


def main() -> None:
    narrow_sockets()
    for line in sys.stdin:
        if not (pid := os.fork()):
            child(json.loads(line))
            os._exit(0)
        print(pid, flush=True)
        print(os.waitpid(pid, 0)[1], flush=True)


if __name__ == "__main__":
    main()
