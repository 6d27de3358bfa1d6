"""What the tests of batches share: a run, and what it leaves behind."""

from __future__ import annotations

import csv
import json
from typing import TYPE_CHECKING, Any

import soundfile
from downloading import limits
from fault_answers import Serve, wav_of

from voicepipe.io.batch.run import run_batch
from voicepipe.io.batch.values import BatchOptions
from voicepipe.io.download.downloader import Downloader
from voicepipe.io.wav.writer import HEADER_BYTES


if TYPE_CHECKING:
    from pathlib import Path

    from fault_server import FaultServer

    from voicepipe.io.batch.values import BatchSummary


CHANGING = {"fetched_at", "attempts", "bytes_resumed"}
"""What differs between two runs that do the same."""


def sound(frames: int) -> bytes:
    """Make a recording of so many frames, 8,000 Hz, mono, 16 bits."""
    return wav_of(44 + 2 * frames, seed=frames)


def serve(server: FaultServer, path: str, frames: int, **how: Any) -> str:
    """Serve a recording; give its URL."""
    return server.on(path, Serve(body=sound(frames), **how))


async def batch(
    server: FaultServer,
    listing: Path,
    folder: Path,
    *,
    connections: int = 8,
    progress: Any = None,
    **options: Any,
) -> BatchSummary:
    """Run a batch with a downloader of its own; one helper decodes, at 8,000 Hz."""
    reach = limits(server, attempts=1, connections=connections)
    options = {"rate": 8_000, "workers": 1, **options}
    async with Downloader(reach) as downloader:
        return await run_batch(
            listing,
            folder,
            downloader=downloader,
            options=BatchOptions(**options),
            progress=progress,
        )


def entries(folder: Path) -> list[dict[str, Any]]:
    """Read the manifest of JSON lines."""
    text = (folder / "manifest.jsonl").read_text("utf-8")
    return [json.loads(line) for line in text.splitlines()]


def table(folder: Path) -> list[dict[str, str]]:
    """Read the manifest that is a table."""
    with (folder / "manifest.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file, strict=True))


def lasting(folder: Path) -> list[dict[str, Any]]:
    """Read the manifest without what differs from run to run."""
    return [
        {name: value for name, value in entry.items() if name not in CHANGING}
        for entry in entries(folder)
    ]


def statuses(folder: Path) -> dict[str, str]:
    """Give the status of each recording: done, pending, or why it failed."""
    return {
        f"{entry['conversation_id']}_{entry['speaker_label']}": entry["error_class"]
        or entry["status"]
        for entry in entries(folder)
    }


def wavs(folder: Path) -> dict[str, bytes]:
    """Read all WAV files, and see that each is whole: 16 bits, mono, no more."""
    found = {path.name: path.read_bytes() for path in sorted(folder.glob("*.wav"))}
    for name, content in found.items():
        assert len(content) == HEADER_BYTES + 2 * len(soundfile.read(folder / name)[0])
    return found


def write_list(path: Path, rows: list[tuple[str, str]]) -> Path:
    """Write a list of ids and URLs."""
    lines = ["conversation_id,audio_url", *(f"{name},{url}" for name, url in rows)]
    path.write_text("\n".join([*lines, ""]), encoding="utf-8")
    return path
