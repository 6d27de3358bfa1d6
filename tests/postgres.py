"""
A PostgreSQL server of the tests' own: real, durable, gone when they end.

Its programs are those of the system's package (Debian: ``postgresql``). It is reached
by a socket in a temporary folder only, with its defaults for durability. As root the
programs run as another user, because they refuse root.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs
import pytest


if TYPE_CHECKING:
    from collections.abc import Iterator


NAME = "voicepipe"
PATIENCE_S = 120.0
_NUMBERS = itertools.count()

SETTINGS = {
    "listen_addresses": "",
    # Several test processes with a few connections each, and some that were killed.
    "max_connections": "300",
    "shared_buffers": "32MB",
    # Nobody but the tests uses a database: it would stand in the way of a new one.
    "autovacuum": "off",
    "fsync": "on",
    "synchronous_commit": "on",
}


@attrs.define
class Server:
    """
    A running server.

    Attributes:
        folder: Where its socket and its data are.
        process: Its first process.
    """

    folder: Path
    process: subprocess.Popen[bytes]
    _numbers: Iterator[int] = attrs.field(factory=lambda: _NUMBERS)

    def url(self, database: str) -> str:
        return f"postgresql://{NAME}@/{database}?host={self.folder}"

    def ask(self, statement: str, database: str = "postgres") -> list[tuple[Any, ...]]:
        """Run one statement outside of a transaction; give its rows."""
        import psycopg

        with psycopg.connect(
            host=str(self.folder), user=NAME, dbname=database, autocommit=True
        ) as connection:
            cursor = connection.execute(statement)
            return cursor.fetchall() if cursor.description else []

    @contextlib.contextmanager
    def new_database(self) -> Iterator[str]:
        """Make an empty database; give its URL; drop it whoever still uses it."""
        name = f"jobs_{next(self._numbers)}"
        self.ask(f"CREATE DATABASE {name}")
        try:
            yield self.url(name)
        finally:
            self._drop(name)

    def _drop(self, name: str) -> None:
        """Drop a database; the server waits five seconds for those whom it ends."""
        from psycopg.errors import ObjectInUse

        deadline = time.monotonic() + PATIENCE_S
        while True:
            try:
                self.ask(f"DROP DATABASE {name} WITH (FORCE)")
            except ObjectInUse:
                if time.monotonic() > deadline:
                    raise
            else:
                return


def programs() -> Path | None:
    """Find the folder of ``initdb`` and ``postgres``, the newest where are several."""
    folders = sorted(
        Path("/usr/lib/postgresql").glob("*/bin"),
        key=lambda path: [int(n) for n in path.parent.name.split(".") if n.isdigit()],
    )
    found = shutil.which("initdb")
    if found:
        folders.append(Path(found).resolve().parent)
    whole = [
        f for f in folders if (f / "initdb").exists() and (f / "postgres").exists()
    ]
    return whole[-1] if whole else None


def not_root() -> dict[str, Any]:
    """Give what makes ``subprocess`` run a program as somebody else than root."""
    if not hasattr(os, "geteuid") or os.geteuid() != 0:
        return {}
    import pwd

    for name in ("postgres", "nobody"):
        with contextlib.suppress(KeyError):
            user = pwd.getpwnam(name)
            return {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}
    pytest.skip("PostgreSQL refuses root, and there is no other user to run it")


@contextlib.contextmanager
def prepared_folder() -> Iterator[Path]:
    """Make what a server needs, with no databases but its own."""
    found = programs()
    if found is None:
        pytest.skip("PostgreSQL's server is not installed (Debian: postgresql)")
    who = not_root()
    # A short path: a socket's has room for about a hundred bytes.
    folder = Path(tempfile.mkdtemp(prefix="vp-pg-"))
    try:
        if who:
            os.chown(folder, who["user"], who["group"])
        initdb = [found / "initdb", "-D", folder / "data", "-U", NAME, "-A", "trust"]
        subprocess.run(
            [*initdb, "-E", "UTF8", "--locale=C"],
            cwd=folder,
            check=True,
            capture_output=True,
            **who,
        )
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def running_server(folder: Path) -> Iterator[Server]:
    """Start a server on what was prepared for it."""
    found = programs()
    assert found is not None
    settings = SETTINGS | {"unix_socket_directories": str(folder)}
    options = [f"--{name}={value}" for name, value in settings.items()]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [found / "postgres", "-D", folder / "data", *options],
            cwd=folder,
            stdout=log,
            stderr=log,
            **not_root(),
        )
    server = Server(folder, process)
    try:
        wait_for(server)
        yield server
    finally:
        process.send_signal(signal.SIGINT)  # "fast": connections are ended
        process.wait(PATIENCE_S)


def wait_for(server: Server) -> None:
    """Wait until the server takes connections."""
    import psycopg

    deadline = time.monotonic() + PATIENCE_S
    while True:
        try:
            server.ask("SELECT 1")
        except psycopg.OperationalError:
            log = (server.folder / "log").read_text("utf-8", "replace")
            assert server.process.poll() is None, log
            assert time.monotonic() < deadline, log
            time.sleep(0.05)
        else:
            return


@pytest.fixture(scope="session")
def postgres_folder() -> Iterator[Path]:
    """Prepare a server once for all tests."""
    with prepared_folder() as folder:
        yield folder


@pytest.fixture(scope="module")
def postgres_server(postgres_folder: Path) -> Iterator[Server]:
    """Run a server for the tests of one file: others count processes."""
    with running_server(postgres_folder) as server:
        yield server


@pytest.fixture
def postgres(postgres_server: Server) -> Iterator[str]:
    """Give the URL of an empty database."""
    with postgres_server.new_database() as url:
        yield url


@pytest.fixture(params=["sqlite", "postgresql"])
def store_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Give the URL of an empty database for jobs, one of each kind in turn."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'jobs.db'}"
    return str(request.getfixturevalue("postgres"))
