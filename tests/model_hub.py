"""
A server that plays Hugging Face's, for the tests of downloads.

It has one model, the tests' own: the pages that ``huggingface_hub`` asks for, and the
files, the large one elsewhere, as the service has it. Paths and headers are those of
the service's API: https://huggingface.co/docs/hub/api.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from fault_answers import Serve, page, redirect
from fault_server import Exchange, FaultServer


if TYPE_CHECKING:
    from collections.abc import Iterator

    from fault_answers import Answer


MODEL = Path(__file__).parent / "tiny_whisper" / "model"
WEIGHTS = MODEL / "model.bin"
COMMIT = "0123456789abcdef0123456789abcdef01234567"

INFO = "/api/models/{}"
REVISION = "/api/models/{}/revision/main"
TREE = "/api/models/{}/tree/" + COMMIT
FILE = "/{}/resolve/" + COMMIT + "/{}"
STORE = "/store/model.bin"


class HubExchange(Exchange):
    """A request that may be for a head alone."""

    def body(self, data: bytes) -> None:
        """Send bytes of a body, where one was asked for."""
        if self.seen.method != "HEAD":
            super().body(data)


class ModelHub(FaultServer):
    """
    The service, with one model of some name.

    Attributes:
        store: Has the large file: another origin, as the service's own.
    """

    _exchange = HubExchange

    def __init__(self, store: FaultServer) -> None:
        """Listen."""
        super().__init__()
        self.store = store

    def give(self, name: str, *, without: str = "") -> None:
        """Have a model ``owner/name``, all its files but one, and a page about it."""
        files = {path.name: path.read_bytes() for path in MODEL.iterdir()}
        files["README.md"] = b"# A model\n"
        files.pop(without, None)
        told = as_json(about(name, *files))
        self.on(INFO.format(name), told)
        self.on(REVISION.format(name), told)
        entries = [entry(file, data) for file, data in files.items()]
        self.on(TREE.format(name), as_json(entries))
        for file, data in files.items():
            there = self.store.url(STORE)
            answer = moved(there) if file == WEIGHTS.name else plain(data)
            self.on(FILE.format(name, file), answer)
        self.store.on(STORE, Serve(body=WEIGHTS.read_bytes()))


def about(name: str, *files: str) -> dict[str, object]:
    """Tell of a repository."""
    return {"id": name, "sha": COMMIT, "siblings": [{"rfilename": f} for f in files]}


def as_json(value: object) -> Answer:
    return page(json.dumps(value).encode(), "application/json")


def blob_id(data: bytes) -> str:
    """Name data as git does."""
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()


def entry(file: str, data: bytes) -> dict[str, object]:
    """Tell of a file as the list of a repository does."""
    told = {"type": "file", "path": file, "size": len(data), "oid": blob_id(data)}
    if file == WEIGHTS.name:
        oid = hashlib.sha256(data).hexdigest()
        told["lfs"] = {"oid": oid, "size": len(data), "pointerSize": 130}
    return told


def plain(data: bytes) -> Answer:
    """Serve a small file where it is asked for."""
    commit = f"X-Repo-Commit: {COMMIT}"
    return Serve(body=data, etag=f'"{blob_id(data)}"', headers=(commit,))


def moved(there: str) -> Answer:
    """Send to the store, and say what will be found there."""
    data = WEIGHTS.read_bytes()
    return redirect(
        there,
        302,
        f"X-Repo-Commit: {COMMIT}",
        f'X-Linked-ETag: "{hashlib.sha256(data).hexdigest()}"',
        f"X-Linked-Size: {len(data)}",
    )


@pytest.fixture(name="hub")
def a_hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModelHub]:
    """Give a service that is asked instead of Hugging Face's, with no model yet."""
    from huggingface_hub import constants

    with FaultServer() as store, ModelHub(store) as hub:
        template = constants.HUGGINGFACE_CO_URL_TEMPLATE.replace(
            constants.ENDPOINT, hub.url("")
        )
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
        monkeypatch.setattr(constants, "ENDPOINT", hub.url(""))
        # What a busy machine holds up was not left unanswered.
        monkeypatch.setattr("voicepipe.asr.whisper.find.PROBE_S", 60.0)
        monkeypatch.setattr(constants, "HF_HUB_ETAG_TIMEOUT", 60)
        monkeypatch.setattr(constants, "HF_HUB_DOWNLOAD_TIMEOUT", 60)
        yield hub
