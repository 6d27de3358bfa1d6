"""These tests need pyannote.audio; ``nox -s pyannote`` installs it and runs them."""

from __future__ import annotations

import importlib.util


try:
    _HERE = importlib.util.find_spec("pyannote.audio") is not None
except ModuleNotFoundError:
    _HERE = False

collect_ignore_glob = [] if _HERE else ["test_*.py"]
