"""Steps that are dear to make, kept under keys that say all they depend on."""

from __future__ import annotations

import hashlib
import json
import re
from typing import TYPE_CHECKING, TypeVar

import anyio
import anyio.to_thread

from voicepipe.types import Analysis, Transcript, Turn


if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from voicepipe.protocols import Analyzer, CachingAnalyzer, ResultCache, Transcriber
    from voicepipe.types import Audio


T = TypeVar("T")

VERSION = 1
"""Raised when what is kept, or what it rests on, is written in another way."""

# What the interpreter puts where nobody has written a repr: another in each process.
_ADDRESS = re.compile(r" at 0x[0-9a-fA-F]+")

_READ_BYTES = 1 << 20

# How long what has just come, and may be paid for, keeps a cancellation waiting.
_KEEP_S = 2.0


class Steps:
    """
    Makes the results of costly steps, or takes those that were made before.

    Args:
        cache: Where results are kept; with ``None`` nothing is.
    """

    def __init__(self, cache: ResultCache | None = None) -> None:
        """Keep where to look."""
        self._cache = cache

    @property
    def kept(self) -> bool:
        """Whether anything is kept."""
        return self._cache is not None

    async def transcript(self, transcriber: Transcriber, window: Audio) -> Transcript:
        """Transcribe a window, but for one that has been transcribed before."""
        if self._cache is None:
            return await transcriber.transcribe(window)
        of = await anyio.to_thread.run_sync(_hash_of_audio, window)
        key = _key("transcript", identity(transcriber), of)
        found = await self._read(key, Transcript.from_json)
        if found is None:
            found = await transcriber.transcribe(window)
            # Anew: meanwhile an engine may have found that another one stands in.
            key = _key("transcript", identity(transcriber), of)
            await self._keep(key, found.to_json)
        return found

    async def analysis(self, analyzer: Analyzer, transcript: Transcript) -> Analysis:
        """Analyse a transcript; an analyzer that keeps its own steps does so."""
        if self._cache is None:
            return await analyzer.analyze(transcript)
        if (caching := _caching(analyzer)) is not None:
            return await caching.caching(self._cache).analyze(transcript)
        text = await anyio.to_thread.run_sync(transcript.to_json)
        key = _key("analysis", identity(analyzer), text)
        found = await self._read(key, Analysis.from_json)
        if found is None:
            found = await analyzer.analyze(transcript)
            key = _key("analysis", identity(analyzer), text)
            await self._keep(key, found.to_json)
        return found

    async def turns(self, key: str) -> tuple[Turn, ...] | None:
        """Give the turns that were kept under a key, if there are any."""
        return await self._read(key, _turns_from_json)

    async def keep_turns(self, key: str, turns: Sequence[Turn]) -> None:
        """Keep who spoke when in a recording."""
        await self._keep(key, lambda: _turns_to_json(turns))

    async def _read(self, key: str, read: Callable[[str], T]) -> T | None:
        if self._cache is None:
            return None
        text = await self._cache.get(key)
        if text is None:
            return None
        try:
            return await anyio.to_thread.run_sync(read, text)
        except ValueError:
            return None  # not as this version writes it: made anew

    async def _keep(self, key: str, write: Callable[[], str]) -> None:
        """Keep a result, though nobody may wait for it any more."""
        if self._cache is None:
            return
        with anyio.move_on_after(_KEEP_S, shield=True) as hurry:
            await _put(self._cache, key, write)
        if hurry.cancelled_caught:
            # A cache that is away is waited for, unless that is cancelled.
            await _put(self._cache, key, write)


async def _put(cache: ResultCache, key: str, write: Callable[[], str]) -> None:
    await cache.put(key, await anyio.to_thread.run_sync(write))


def turns_key(diarizer: object, path: str, how: str) -> str:
    """
    Give the key of all turns of a recording; reads the file, for a worker thread.

    Args:
        diarizer: Who finds the turns.
        path: The recording.
        how: How it is decoded.

    Raises:
        OSError: If the file cannot be read.
    """
    of = hashlib.sha256()
    with open(path, "rb") as file:  # noqa: PTH123 - as other sources are opened
        while piece := file.read(_READ_BYTES):
            of.update(piece)
    return _key("turns", identity(diarizer), how, of.hexdigest())


def identity(engine: object) -> str:
    """
    Say which engine this is: its class, what its repr tells, its model or name.

    Two engines that differ in neither pass for the same.
    """
    kind = type(engine)
    parts = [f"{kind.__module__}.{kind.__qualname__}", _ADDRESS.sub("", repr(engine))]
    for attribute in ("model", "name"):
        value = getattr(engine, attribute, None)
        parts.append(value if isinstance(value, str) else "")
    return json.dumps(parts)


def _key(step: str, *parts: str) -> str:
    text = json.dumps([VERSION, step, *parts])
    return f"{step}:{hashlib.sha256(text.encode()).hexdigest()}"


def _hash_of_audio(audio: Audio) -> str:
    """Give a name for the sound itself, wherever it stands in the recording."""
    of = hashlib.sha256(f"{audio.rate} {audio.channels} ".encode())
    of.update(audio.samples.data)
    return of.hexdigest()


def _caching(analyzer: Analyzer) -> CachingAnalyzer | None:
    """Give an analyzer as one that keeps its own steps, if it is such a one."""
    caching = getattr(analyzer, "caching", None)
    return analyzer if callable(caching) else None  # type: ignore[return-value]


def _turns_to_json(turns: Sequence[Turn]) -> str:
    return json.dumps([(t.start, t.end, t.speaker, t.channel) for t in turns])


def _turns_from_json(text: str) -> tuple[Turn, ...]:
    return tuple(
        Turn(start=start, end=end, speaker=speaker, channel=channel)
        for start, end, speaker, channel in json.loads(text)
    )
