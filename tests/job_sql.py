"""Asks a store's database what is in it, past the store."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from contextlib import closing
from typing import Any


PATIENCE_S = 60.0
"""How long SQLite waits for what others write, seconds."""


def ask(url: str, *statements: str) -> list[tuple[Any, ...]]:
    """Run statements, each a transaction of its own; give the last one's rows."""
    if url.startswith("sqlite:///"):
        path = url.removeprefix("sqlite:///")
        opened = sqlite3.connect(path, timeout=PATIENCE_S, isolation_level=None)
        with closing(opened) as connection:
            return [connection.execute(each).fetchall() for each in statements][-1]
    import psycopg

    found: list[tuple[Any, ...]] = []
    with psycopg.connect(url, autocommit=True) as connection:
        for each in statements:
            cursor = connection.execute(each)
            found = cursor.fetchall() if cursor.description else []
    return found


def start(script: str, *arguments: object) -> subprocess.Popen[str]:
    """Run a script in a process of its own."""
    return subprocess.Popen(
        [sys.executable, "-c", script, *map(str, arguments)],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def release_together(processes: list[subprocess.Popen[str]]) -> None:
    """Let processes go on at the same time, when each has said that it is ready."""
    for process in processes:
        line = process.stdout.readline()
        assert line == "ready\n", process.communicate()
    for process in processes:
        process.stdin.write("go\n")
        process.stdin.flush()


def ended_well(process: subprocess.Popen[str], *, timeout: float = 600.0) -> str:
    """Wait for a process; give what it wrote."""
    output, errors = process.communicate(timeout=timeout)
    assert errors == ""
    assert process.returncode == 0
    return output
