"""
Ours against named peers, in one run: ``nox -s bench``.

Each case times our way and the peer's way in turn, A B A B …, and reports the median of
the pairwise ratios: below 1 is faster than the peer. Machine and versions go along. The
table is printed and written to ``RESULTS.md`` beside this file.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import os
import platform
import sqlite3
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anyio
import attrs
import av
import imageio_ffmpeg
import numpy as np
import pocketsphinx  # noqa: TID253 - the peer
import soundfile
import soxr

from voicepipe import (
    Audio,
    PocketSphinxTranscriber,
    Resampler,
    SqlJobStore,
    Transcript,
    standardize,
)


ROOT = Path(__file__).parents[1]
SAMPLE = ROOT / "examples" / "data" / "sample_call.flac"
PACKAGES = (
    "anyio",
    "av",
    "imageio-ffmpeg",
    "numpy",
    "pocketsphinx",
    "soundfile",
    "soxr",
    "SQLAlchemy",
)
PAIRS = 5
JOBS = 100


@attrs.frozen(kw_only=True)
class Case:
    """Two ways to do the same."""

    name: str
    peer_name: str
    ours: Callable[[], object]
    peer: Callable[[], object]


@attrs.frozen(kw_only=True)
class Result:
    """What came of a case; times are medians, seconds."""

    case: Case
    ours_s: float
    peer_s: float
    ratios: tuple[float, ...]

    @property
    def row(self) -> str:
        """One line of the table."""
        middle = statistics.median(self.ratios)
        spread = f"{min(self.ratios):.2f} - {max(self.ratios):.2f}"
        return (
            f"| {self.case.name} | {self.case.peer_name} | {self.ours_s:.3f} s "
            f"| {self.peer_s:.3f} s | **{middle:.2f}** | {spread} |"
        )


def measure(case: Case) -> Result:
    """Time both ways in turn, after a run of each that does not count."""
    case.ours()
    case.peer()
    pairs = [(timed(case.ours), timed(case.peer)) for _ in range(PAIRS)]
    return Result(
        case=case,
        ours_s=statistics.median(ours for ours, _ in pairs),
        peer_s=statistics.median(peer for _, peer in pairs),
        ratios=tuple(ours / peer for ours, peer in pairs),
    )


def timed(work: Callable[[], object]) -> float:
    """Give the wall time of one call."""
    begin = time.perf_counter()
    work()
    return time.perf_counter() - begin


def standardize_case(folder: Path, codec: str, suffix: str) -> Case:
    """A file of ten minutes, 44.1 kHz stereo, to 16 kHz mono WAV."""
    source = folder / f"long{suffix}"
    encode(source, codec)
    target = folder / "ours.wav"
    program = imageio_ffmpeg.get_ffmpeg_exe()
    command = f"{program} -v error -y -i {source} -ar 16000 -ac 1 {folder}/peer.wav"
    return Case(
        name=f"`standardize`, 10 min 44.1 kHz stereo {suffix[1:].upper()}",
        peer_name="the ffmpeg program, `-ar 16000 -ac 1`",
        ours=lambda: anyio.run(standardize, source, target),
        peer=lambda: subprocess.run(command.split(), check=True),
    )


def encode(path: Path, codec: str) -> None:
    """Make ten minutes of 44.1 kHz stereo of the sample call."""
    samples, rate = soundfile.read(SAMPLE, dtype="float32")
    samples = soxr.resample(samples, rate, 44_100)
    samples = np.tile(samples, (9, 1))[: 600 * 44_100]
    with av.open(os.fspath(path), "w") as container:
        stream: Any = container.add_stream(codec, rate=44_100, layout="stereo")
        resampler = av.AudioResampler(
            format=stream.codec_context.format.name, layout="stereo", rate=44_100
        )
        for at in range(0, len(samples), 44_100):
            block = np.ascontiguousarray(samples[at : at + 44_100].T)
            frame = av.AudioFrame.from_ndarray(block, format="fltp", layout="stereo")
            frame.sample_rate = 44_100
            for piece in resampler.resample(frame):
                container.mux(stream.encode(piece))
        for piece in resampler.resample(None):
            container.mux(stream.encode(piece))
        container.mux(stream.encode(None))


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


def resample_case() -> Case:
    """Ten minutes in 20 ms pieces, against one call for all of it."""
    samples = np.random.default_rng(0).uniform(-1, 1, (600 * 8_000, 1))
    samples = samples.astype(np.float32)

    def pieces() -> None:
        resampler = Resampler(8_000, 16_000)
        for at in range(0, len(samples), 160):
            resampler.push(samples[at : at + 160])
        resampler.flush()

    return Case(
        name="`Resampler`, 10 min 8 to 16 kHz in 20 ms pieces",
        peer_name="`soxr.resample`, one call",
        ours=pieces,
        peer=lambda: soxr.resample(samples, 8_000, 16_000),
    )


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


def report(results: list[Result]) -> str:
    """Write the page."""
    versions = ", ".join(f"{p} {importlib.metadata.version(p)}" for p in PACKAGES)
    program = subprocess.run(
        [imageio_ffmpeg.get_ffmpeg_exe(), "-version"],
        capture_output=True,
        check=True,
        text=True,
    ).stdout.split()[2]
    made = (
        "Made by `nox -s bench`: ours and the peer in turn, the median of "
        f"{PAIRS} pairwise ratios; below 1 is faster than the peer. Compare ratios, "
        "not seconds."
    )
    machine = (
        f"{time.strftime('%Y-%m-%d')}, {platform.system()} {platform.machine()}, "
        f"{os.cpu_count()} cores, Python {platform.python_version()}, "
        f"ffmpeg {program}, {versions}."
    )
    lines = [
        "# Results",
        "",
        made,
        "",
        machine,
        "",
        "| ours | peer | ours, median | peer, median | ratio | ratios |",
        "| --- | --- | --- | --- | --- | --- |",
        *(result.row for result in results),
        "",
    ]
    return "\n".join(lines)


def main() -> None:
    """Run the cases and write the page."""
    parser = argparse.ArgumentParser(description="Measure against peers.")
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks" / "RESULTS.md")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        cases = [
            standardize_case(folder, "libmp3lame", ".mp3"),
            standardize_case(folder, "aac", ".m4a"),
            standardize_case(folder, "flac", ".flac"),
            transcribe_case(),
            resample_case(),
            store_case(folder),
        ]
        page = report([measure(case) for case in cases])
    arguments.out.write_text(page, encoding="utf-8")
    print(page)


if __name__ == "__main__":
    main()
