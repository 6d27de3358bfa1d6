"""Recognition and the job store against what they are built on."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

import anyio
import numpy as np
import pocketsphinx  # noqa: TID253 - the peer
import soundfile
from case import Case

from voicepipe import Audio, PocketSphinxTranscriber, SqlJobStore, Transcript


SAMPLE = Path(__file__).parents[1] / "examples" / "data" / "sample_call.flac"
JOBS = 100


def transcribe_case() -> Case:
    """The sample call, both channels, against a decoder in the same process."""
    samples, rate = soundfile.read(SAMPLE, dtype="int16")
    audio = Audio(samples=samples, rate=rate)
    engine = PocketSphinxTranscriber()
    decoder = pocketsphinx.Decoder(bestpath=True, cmn="batch", loglevel="FATAL")
    noise = np.random.default_rng(0).integers(-1, 2, samples.shape, np.int16)
    dithered = np.where(samples == 0, noise, samples)

    def bare() -> None:
        for channel in range(dithered.shape[1]):
            bare_pocketsphinx(decoder, dithered[:, channel].tobytes())

    return Case(
        name="`PocketSphinxTranscriber`, the sample call, 2 channels",
        peer_name="pocketsphinx itself, one channel after the other",
        ours=lambda: anyio.run(engine.transcribe, audio),
        peer=bare,
    )


def bare_pocketsphinx(decoder: Any, pcm: bytes) -> None:
    """Endpoint and decode one channel, as pocketsphinx's own example does."""
    endpointer = pocketsphinx.Endpointer(sample_rate=16_000)
    size = endpointer.frame_bytes
    for at in range(0, len(pcm) - size + 1, size):
        was_speaking = endpointer.in_speech
        speech = endpointer.process(pcm[at : at + size])
        if speech is None:
            continue
        if not was_speaking:
            decoder.start_utt()
        decoder.process_raw(speech)
        if not endpointer.in_speech:
            decoder.end_utt()
            list(decoder.seg() or ())
    if endpointer.in_speech:
        decoder.end_utt()


def store_case(folder: Path) -> Case:
    """Claims and finishes, against a bare loop with the same durability."""
    return Case(
        name=f"`SqlJobStore`, {JOBS} times claim, finish, queue again",
        peer_name="`sqlite3`, an UPDATE in a transaction for each, WAL, FULL",
        ours=lambda: anyio.run(claim_and_finish, folder / "ours.db"),
        peer=lambda: bare_sqlite(folder / "peer.db"),
    )


async def claim_and_finish(path: Path) -> None:
    """Claim and finish jobs, one after the other."""
    empty = Transcript(duration=0.0, model="none")
    async with SqlJobStore(path) as store:
        job = await store.add("call.wav")
        for _ in range(JOBS):
            claimed = await store.claim("me", lease_s=30.0)
            if claimed is None:
                raise RuntimeError("there was nothing to claim")
            await store.finish(job.id, attempt=claimed.attempt, transcript=empty)
            await store.queue(job.id)
        await store.delete([job.id])


def bare_sqlite(path: Path) -> None:
    """Do what must be done in SQL, and nothing else."""
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute(
        "CREATE TABLE IF NOT EXISTS jobs (id INTEGER PRIMARY KEY, status, text)"
    )
    connection.execute("INSERT INTO jobs VALUES (1, 'processing', '')")
    for status in ("claimed", "done", "processing") * JOBS:
        connection.execute("BEGIN IMMEDIATE")
        connection.execute("SELECT * FROM jobs WHERE id = 1").fetchone()
        connection.execute("UPDATE jobs SET status = ? WHERE id = 1", [status])
        connection.execute("COMMIT")
    connection.execute("DELETE FROM jobs")
    connection.close()
