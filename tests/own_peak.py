"""The most memory that this process has had."""

from __future__ import annotations

import re
import sys
from pathlib import Path


def peak_bytes() -> int:
    status = Path("/proc/self/status")
    if status.exists():
        # Not getrusage: its peak counts what the process had been before exec.
        return 1024 * int(re.findall(r"VmHWM:\s+(\d+) kB", status.read_text())[0])
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else 1024 * peak
