"""What the kernel says of a file: whether anybody opened it (inotify(7), Linux)."""

from __future__ import annotations

import ctypes
import os
import struct
from typing import TYPE_CHECKING


if TYPE_CHECKING:
    from pathlib import Path


class Watch:
    """Watches one file."""

    IN_ACCESS, IN_OPEN = 0x1, 0x20

    def __init__(self, path: Path) -> None:
        libc = ctypes.CDLL(None, use_errno=True)
        self.queue: int = libc.inotify_init1(os.O_NONBLOCK)
        mask = self.IN_ACCESS | self.IN_OPEN
        assert libc.inotify_add_watch(self.queue, os.fsencode(path), mask) > 0

    def opened(self) -> bool:
        try:
            event = os.read(self.queue, 4096)
        except BlockingIOError:
            return False
        return bool(struct.unpack_from("iIII", event))

    def close(self) -> None:
        os.close(self.queue)
