"""
Transcribes recordings of one folder from a backend that is not asynchronous.

python flask_app.py /srv/calls
"""

from __future__ import annotations

import sys
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from anyio.from_thread import start_blocking_portal
from flask import Flask, abort
from werkzeug.security import safe_join

from voicepipe import (
    AudioError,
    ChannelDiarizer,
    ExtractiveAnalyzer,
    Pipeline,
    PocketSphinxTranscriber,
    SqlJobStore,
)


if TYPE_CHECKING:
    from collections.abc import Iterator


@contextmanager
def calls_app(recordings: Path) -> Iterator[Flask]:
    """Give the app, with an event loop that runs in a thread beside it."""
    engine = PocketSphinxTranscriber()
    store = SqlJobStore(recordings / "jobs.db")
    diarizer = ChannelDiarizer()
    pipeline = Pipeline(engine, ExtractiveAnalyzer(), store, diarizer=diarizer)
    app = Flask(__name__)

    with (
        start_blocking_portal() as portal,
        portal.wrap_async_context_manager(store),
    ):

        @app.post("/calls/<name>")
        def run_call(name: str) -> dict[str, Any]:
            path = safe_join(str(recordings), name)
            if path is None or not Path(path).is_file():
                abort(404)
            try:
                # The request's thread waits here; the event loop serves all of them.
                call = portal.call(partial(pipeline.run, path, name=name))
            except AudioError as error:
                abort(422, f"{name} cannot be used: {type(error).__name__}")
            return {
                "job": call.job and call.job.id,
                "type": call.analysis and call.analysis.conversation_type,
                "text": call.transcript.to_txt(),
            }

        yield app
    engine.close()


if __name__ == "__main__":
    with calls_app(Path(sys.argv[1])) as app:
        app.run(threaded=True)
