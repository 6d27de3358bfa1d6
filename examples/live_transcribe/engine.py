"""The engine that all clients share: live ones, whole recordings, and files."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING, Self

import anyio

from voicepipe import LiveTranscriber
from voicepipe.servers.engines import OpenedTranscriber, open_transcriber


if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from voicepipe import Audio, Transcript
    from voicepipe.servers.engines import TranscriberSettings


class Engine:
    """
    One transcriber, and whose turn it is.

    Live clients take turns among themselves (``LiveTranscriber``). Whole recordings and
    files are cut into windows of half a minute, and take turns window by window, one at
    a time, however many there are. A Whisper model hears two signals at once, or one on
    a machine with a single core: so while a window has one signal, live clients do not
    wait for it, and only share the machine. Where both are taken, by the two sides of a
    recording say, a live decode may first wait until the model has heard a window out,
    once before it looks for speech and once before it listens.

    Args:
        opened: The transcriber.

    Attributes:
        opened: The transcriber, with its name and state.
    """

    def __init__(self, opened: OpenedTranscriber) -> None:
        """Nobody waits yet."""
        self.opened: OpenedTranscriber = opened
        self._turns = anyio.CapacityLimiter(1)
        self._live: dict[bool, LiveTranscriber] = {}

    @property
    def name(self) -> str:
        """The engine's name for everybody: of a folder its last part."""
        kind, _, model = self.opened.name.partition(":")
        folder = Path(model)
        named = model and folder.is_dir()
        return f"{kind}:{folder.name}" if named else self.opened.name

    @property
    def live(self) -> LiveTranscriber:
        """
        For clients who want words while they speak.

        It is another one from when the embedded engine stands in, which streams by
        itself: what waited for the model until then cannot tell.
        """
        degraded = self.opened.degraded
        if degraded not in self._live:
            self._live[degraded] = LiveTranscriber(self.opened.transcriber)
        return self._live[degraded]

    async def transcribe(self, audio: Audio, /) -> Transcript:
        """
        Transcribe a window when it is its turn; so this is a ``Transcriber``.

        Raises:
            TranscriptionError: If the engine fails.
        """
        async with self._turns:
            return await self.opened.transcriber.transcribe(audio)

    @classmethod
    @contextlib.asynccontextmanager
    async def open(cls, settings: TranscriberSettings) -> AsyncIterator[Self]:
        """
        Open the transcriber; a model that takes long is loaded beside.

        Raises:
            VoicepipeError: As ``open_transcriber``.
        """
        opened = await open_transcriber(settings)
        try:
            async with anyio.create_task_group() as group:
                group.start_soon(opened.finish)
                yield cls(opened)
                group.cancel_scope.cancel()
        finally:
            await opened.aclose()
