from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from voicepipe.errors import SettingsError
from voicepipe.servers.claim import FolderClaim


if TYPE_CHECKING:
    from pathlib import Path


HOLD = """
import sys
from voicepipe.servers.claim import FolderClaim
with FolderClaim(sys.argv[1]):
    print("mine", flush=True)
    sys.stdin.read()
"""


def test_one_process_at_a_time_has_a_folder(tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, tmp_path],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"mine\n"
        with (
            pytest.raises(SettingsError, match="another process"),
            FolderClaim(tmp_path),
        ):
            pass
        holder.kill()
    with FolderClaim(tmp_path):
        pass
    with FolderClaim(tmp_path):
        pass


def test_a_folder_that_is_missing_is_told(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), FolderClaim(tmp_path / "none"):
        pass
