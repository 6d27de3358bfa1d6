"""Chunks made of files and of sound, and how much sound comes before their ends."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import anyio
import anyio.to_thread

from voicepipe.io.read import iter_audio
from voicepipe.io.source import SourceFile
from voicepipe.io.wav.header import read_header
from voicepipe.io.wav.writer import make_header
from voicepipe.types.audio import pcm16


if TYPE_CHECKING:
    import os
    from collections.abc import AsyncGenerator, Iterator

    from voicepipe.types.audio import Audio


CHUNK_S = 0.1
"""Sound in a chunk that is sent at a pace, seconds."""

CHUNK_BYTES = 1 << 16
"""Bytes of a chunk of a file, at most."""

# Sound that is looked at in one go to find out how long it is, seconds.
_BLOCK_S = 10.0


async def recording_s(path: str | os.PathLike[str]) -> float:
    """
    Give the length of a recording, seconds.

    A WAV's header tells, checked against the file; anything else is decoded, which
    takes a while.

    Raises:
        AudioError: If it is none that can be read.
        OSError: If the file cannot be read.
    """
    length_s = await anyio.to_thread.run_sync(_wav_s, path)
    if length_s is not None:
        return length_s
    length_s = 0.0
    async for block in iter_audio(path, block_s=_BLOCK_S):
        length_s = block.start / block.rate + block.duration
    return length_s


def _wav_s(path: str | os.PathLike[str]) -> float | None:
    file = SourceFile(path)
    try:
        if file.container != "wav":
            return None
        header = read_header(file)
        if header.codec is None or not header.frame_bytes or not header.rate:
            return None
        return header.data_bytes / header.frame_bytes / header.rate
    finally:
        file.close()


async def file_chunks(
    path: str | os.PathLike[str], *, begin: int, length_s: float | None
) -> AsyncGenerator[tuple[bytes, float], None]:
    """
    Read a file in chunks, each with the sound up to its end, counted from ``begin``.

    Where the sound is in a compressed file nobody knows without decoding it: it is
    taken to be spread evenly.

    Args:
        path: The file.
        begin: First byte.
        length_s: Length of the recording, seconds; ``None`` where no times are wanted.

    Raises:
        ValueError: If the file ends before ``begin``.
        OSError: If it cannot be read.
    """
    size = (await anyio.Path(path).stat()).st_size
    if begin > size:
        msg = f"the file has {size} bytes: nothing begins at {begin}"
        raise ValueError(msg)
    per_byte_s = length_s / size if length_s else 0.0
    step = CHUNK_BYTES
    if per_byte_s:
        step = min(max(round(CHUNK_S / per_byte_s), 1), CHUNK_BYTES)
    done = 0
    async with await anyio.open_file(Path(path), "rb") as file:
        await file.seek(begin)
        while data := await file.read(step):
            done += len(data)
            yield data, done * per_byte_s


def audio_chunks(audio: Audio) -> Iterator[tuple[bytes, float]]:
    """
    Make a WAV of sound, chunk by chunk, each with the sound up to its end.

    A header first, then 16-bit samples: without a header, samples may look like frames
    of MP3, and the server takes them for its session's rate and channels.
    """
    data_bytes = audio.frames * audio.channels * 2
    header = make_header(
        rate=audio.rate, channels=audio.channels, data_bytes=data_bytes, closed=True
    )
    step = max(round(CHUNK_S * audio.rate), 1)
    for at in range(0, max(audio.frames, 1), step):
        samples = pcm16(audio.samples[at : at + step])
        data = samples.astype("<i2", copy=False).tobytes()
        yield header + data, (at + len(samples)) / audio.rate
        header = b""
