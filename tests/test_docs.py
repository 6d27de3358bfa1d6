"""The pages say what is there, and the files they show run."""

from __future__ import annotations

import contextlib
import difflib
import importlib.util
import os
import re
import subprocess
import sys
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, get_args

import anyio
import httpx
import pytest
import uvicorn
from werkzeug.serving import make_server

import voicepipe
from voicepipe import JobStatus, StageName, errors, read_audio, testing, write_wav


if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import ModuleType

    from fastapi import FastAPI


# Engines take their time on a busy machine.

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
SNIPPETS = DOCS / "snippets"
SAMPLE = ROOT / "examples" / "data" / "sample_call.flac"

DIRECTIVE = re.compile(
    r"^\.\. (?:auto\w+|py:\w+|currentmodule):: ([\w.]+)(?:\(\))?$", re.MULTILINE
)

CELLS = """
import sys

import anyio
from IPython.core.interactiveshell import InteractiveShell


async def main(path):
    shell = InteractiveShell.instance()
    for cell in open(path, encoding="utf-8").read().split("# %%\\n")[1:]:
        code = shell.transform_cell(cell)
        result = await shell.run_cell_async(cell, transformed_cell=code)
        result.raise_error()
        shown, _ = shell.display_formatter.format(result.result)
        print("HTML", shown.get("text/html", ""))


anyio.run(main, sys.argv[1])
"""


def documented() -> Counter[str]:
    """Count the names that the API pages document, with their modules."""
    names: Counter[str] = Counter()
    for page in (DOCS / "api").glob("*.md"):
        module = ""
        for name in DIRECTIVE.findall(page.read_text("utf-8")):
            if name.startswith("voicepipe"):
                module = name
            else:
                names[f"{module}.{name}"] += 1
    return names


def test_each_public_name_is_on_the_api_pages_exactly_once() -> None:
    public = [f"voicepipe.{name}" for name in voicepipe.__all__]
    public += [f"voicepipe.testing.{name}" for name in testing.__all__]

    assert documented() == Counter(public)


@pytest.mark.parametrize("name", ["JobStatus", "StageName"])
def test_an_alias_that_is_written_by_hand_is_as_in_the_source(name: str) -> None:
    page = (DOCS / "api" / "types.md").read_text("utf-8")
    alias = {"JobStatus": JobStatus, "StageName": StageName}[name]

    written = re.search(rf":: {name}\n +:canonical: (.*)\n", page)

    assert written is not None
    assert tuple(re.findall(r'"(\w+)"', written[1])) == get_args(alias)


def test_the_architecture_page_and_its_picture_show_every_room() -> None:
    package = Path(voicepipe.__file__).parent
    rooms = {path.stem for path in package.glob("[a-z]*") if path.suffix != ".typed"}
    page = (DOCS / "architecture.md").read_text("utf-8")
    picture = (DOCS / "_static" / "layers.svg").read_text("utf-8")

    assert set(re.findall(r"^\| `(\w+)` \|", page, re.MULTILINE)) == {
        "voicepipe",
        *rooms,
    }
    assert set(re.findall(r'class="name[^>]*>(\w+)<', picture)) == {"voicepipe", *rooms}


def test_the_errors_page_names_every_error_and_every_attribute() -> None:
    page = (DOCS / "errors.md").read_text("utf-8")
    kinds = [getattr(errors, name) for name in errors.__all__]
    attributes = {attribute for kind in kinds for attribute in vars(kind("x"))}

    assert set(re.findall(r"\{py:exc\}`~voicepipe\.(\w+)`", page)) == {*errors.__all__}
    assert {name for name in attributes if f"`{name}`" not in page} == set()


def test_the_quickstart_prints_what_its_page_says() -> None:
    out = subprocess.run(
        [sys.executable, SNIPPETS / "quickstart.py"],
        cwd=ROOT,
        capture_output=True,
        check=True,
        encoding="utf-8",
    ).stdout

    shown = (SNIPPETS / "quickstart.txt").read_text("utf-8")
    assert len(out.splitlines()) == len(shown.splitlines())
    # Another processor may round another way, and hear a word another way.
    assert difflib.SequenceMatcher(None, out, shown, autojunk=False).ratio() > 0.9


@pytest.fixture
def recordings(tmp_path: Path) -> Path:
    """Make a folder with a call of 12 s and something that is no recording."""
    folder = tmp_path / "recordings"
    folder.mkdir()

    async def fill() -> None:
        sample = await read_audio(SAMPLE)
        await write_wav(folder / "call.wav", sample.cut(0.0, 12.0))

    anyio.run(fill)
    (folder / "page.mp3").write_text("<html>Not Found</html>")
    (folder.parent / "secret.wav").write_bytes((folder / "call.wav").read_bytes())
    return folder


def test_the_fastapi_app_runs_calls(
    recordings: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RECORDINGS", os.fspath(recordings))

    with served(load("fastapi_app").app) as client:
        call = client.post("/calls/call.wav")
        no_audio = client.post("/calls/page.mp3")
        done, failed, unknown = (client.get(f"/jobs/{job}") for job in (1, 2, 99))
        codes = [
            client.post(f"/calls/{name}").status_code
            for name in ("nothing.wav", "jobs.db", "..%2Fsecret.wav")
        ]

    assert call.status_code == 200
    assert call.json()["job"] == 1
    assert call.json()["seconds"] == 12.0
    assert call.json()["type"] == "order"
    assert "flower shop" in call.json()["text"]
    assert set(call.json()["talk_ratio"]) == {"Speaker00", "Speaker01"}
    assert done.json() == {"status": "done", "error": None}
    assert no_audio.status_code == 422
    assert no_audio.json()["detail"].startswith("page.mp3: not a recording")
    assert failed.json()["status"] == "error"
    assert "not a recording" in failed.json()["error"]
    assert os.fspath(recordings) not in failed.text
    assert codes == [404, 422, 404]
    assert unknown.status_code == 404


def test_the_flask_app_runs_calls(recordings: Path) -> None:
    with load("flask_app").calls_app(recordings) as app:
        server = make_server("127.0.0.1", 0, app, threaded=True)
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        url = f"http://127.0.0.1:{server.server_port}"
        try:
            with httpx.Client(base_url=url, timeout=300.0) as client:
                with ThreadPoolExecutor() as pool:
                    first, second = pool.map(client.post, ["/calls/call.wav"] * 2)
                no_audio = client.post("/calls/page.mp3")
                missing = client.post("/calls/nothing.wav")
                outside = client.post("/calls/..%2Fsecret.wav")
        finally:
            server.shutdown()
            thread.join()
            server.server_close()

    assert first.status_code == 200
    assert "flower shop" in first.json()["text"]
    assert first.json() | {"job": 0} == second.json() | {"job": 0}
    assert first.json()["job"] != second.json()["job"]
    assert [no_audio.status_code, missing.status_code] == [422, 404]
    assert outside.status_code == 404


def test_the_notebook_runs_cell_by_cell(tmp_path: Path) -> None:
    out = subprocess.run(
        [sys.executable, "-c", CELLS, SNIPPETS / "notebook.py"],
        cwd=ROOT,
        env=os.environ | {"IPYTHONDIR": os.fspath(tmp_path)},
        capture_output=True,
        check=True,
        encoding="utf-8",
    ).stdout

    shown = [line for line in out.splitlines() if line.startswith("HTML")]
    assert len(shown) == 5
    assert "<audio controls" in shown[0]
    assert "flower shop" in shown[2]
    assert "words per minute" in shown[3]
    assert "extractive" in shown[4]


def load(name: str) -> ModuleType:
    """Import a snippet as a module of its own."""
    spec = importlib.util.spec_from_file_location(name, SNIPPETS / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@contextlib.contextmanager
def served(app: FastAPI) -> Iterator[httpx.Client]:
    """Serve an app with uvicorn in a thread, on a free port."""
    config = uvicorn.Config(app, port=0, ws="none", log_level="warning")
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        while not server.started:
            assert thread.is_alive(), "the server did not start"
            time.sleep(0.01)
        port = server.servers[0].sockets[0].getsockname()[1]
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=300.0) as client:
            yield client
    finally:
        server.should_exit = True
        thread.join()
