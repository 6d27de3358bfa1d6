"""Write many lines to a shared log: folder, name, number of lines, bytes, backups."""

from __future__ import annotations

import logging
import sys

from voicepipe.servers.logs import Rotation, setup_logging


folder, name, count, max_bytes, backups = sys.argv[1:]
setup_logging(
    folder,
    "shared.log",
    rotation=Rotation(max_bytes=int(max_bytes), backups=int(backups)),
)
for number in range(int(count)):
    logging.getLogger("many").info("%s-%d %s", name, number, "x" * (number % 97))
