"""Standardize a file and print the most memory that it took, MiB."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import anyio

from voicepipe import standardize


anyio.run(standardize, *sys.argv[1:])
status = Path("/proc/self/status").read_text("ascii")
print(int(re.findall(r"VmHWM:\s+(\d+) kB", status)[0]) / 1024)
