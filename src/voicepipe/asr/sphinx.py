"""The transcriber that needs no download."""

from __future__ import annotations

import importlib.util
import os
from typing import TYPE_CHECKING

import attrs

from voicepipe.asr.sphinx_live import SphinxHelpers, SphinxSession
from voicepipe.asr.tracks import speaker_label, tracks_of
from voicepipe.errors import ChildCrashedError, MissingExtraError, TranscriptionError
from voicepipe.proc.pool import ChildPool
from voicepipe.tasks import task_group
from voicepipe.types import Audio, Segment, Transcript, Word


if TYPE_CHECKING:
    from voicepipe.asr.tracks import Track
    from voicepipe.protocols import Stage
    from voicepipe.types import Hypothesis


RATE = 16_000
"""Rate at which the model hears, Hz; other audio is resampled."""


@attrs.frozen(kw_only=True)
class PocketSphinxModel:
    """
    Where a model's parts are; what is ``None`` comes from the embedded English model.

    Attributes:
        acoustic: Folder of the acoustic model (``hmm``), made for 16 kHz.
        language_model: File of the n-gram language model (``lm``).
        dictionary: File of the pronunciations (``dict``).
        language: ISO 639-1 code to put on transcripts.
    """

    acoustic: str | None = None
    language_model: str | None = None
    dictionary: str | None = None
    language: str = "en"


class PocketSphinxTranscriber:
    """
    Transcribes with CMU PocketSphinx and the English model in its wheel.

    Recordings with ``transcribe``, and live sound with ``session``.

    Runs everywhere at once, without network or graphics card; word error rate about 5
    to 15 % on clean 16 kHz speech, poor on telephone sound of 8 kHz and on noise. Text
    is lower case without punctuation. Word probabilities rank words well and are not
    calibrated. The same audio always gives the same transcript.

    The decoder works in helper processes, two channels at a time on two cores; the
    caller's event loop stays free.

    Args:
        model: Another model than the embedded one.
        processes: Most helper processes; as many as there are cores by default.

    Raises:
        MissingExtraError: If ``pocketsphinx`` is not installed.
        ValueError: If ``processes`` is less than 1.
    """

    def __init__(
        self,
        *,
        model: PocketSphinxModel | None = None,
        processes: int | None = None,
    ) -> None:
        """Start nothing yet; helpers start with the first call."""
        if importlib.util.find_spec("pocketsphinx") is None:
            raise MissingExtraError("pocketsphinx", extra="pocketsphinx")
        self._model = model or PocketSphinxModel()
        size = (os.cpu_count() or 1) if processes is None else processes
        self._pool = ChildPool(size)
        self._helpers = SphinxHelpers(size, self._parts)

    async def transcribe(self, audio: Audio, /) -> Transcript:
        """
        Transcribe audio of any rate and any number of channels.

        Args:
            audio: One channel for each speaker, or a mix; see ``Transcriber``.

        Returns:
            A segment for each utterance, with words. Channels that differ give
            segments with ``channel`` and ``speaker``; a single signal gives neither.

        Raises:
            TranscriptionError: If the engine fails.

        Cancellation: the helpers at work are killed at once.
        """
        segments: list[Segment] = []

        async def transcribe_track(track: Track) -> None:
            segments.extend(await self._transcribe(track))

        async with task_group() as group:
            for track in await tracks_of(audio, rate=RATE):
                group.start_soon(transcribe_track, track)
        return Transcript.of(
            segments,
            duration=audio.duration,
            model="pocketsphinx",
            language=self._model.language,
        )

    def session(self, *, rate: int, channels: int) -> Stage[Audio, Hypothesis]:
        """
        Begin to transcribe one live stream; see ``StreamingTranscriber``.

        While somebody speaks, each 0.3 s of new speech gives a hypothesis if it changes
        the text; all of it may change until the final one, 0.3 s after the utterance,
        or after 30 s of it. A final one without text takes back what was believed. All
        hypotheses are the same however the sound is cut into pieces, and whatever other
        streams say. The first utterance of a channel is heard a little worse than
        ``transcribe`` hears it: what the line sounds like is not known yet.

        A second of speech takes a third of a second of processor time. Many streams
        share a helper process; it takes some 100 MB for each of them in which somebody
        speaks at the same time. They are other processes than those of ``transcribe``.

        Args:
            rate: Frames per second of the sound to come, Hz.
            channels: Its number of channels; each is heard by itself, and hypotheses
                have their ``channel`` where there are several.

        Returns:
            A stage whose methods block, so that it runs in a worker thread. They raise
            ``TranscriptionError`` if the engine fails; if its process dies or the
            transcriber is closed, that is ``retryable``: a new session goes on. One
            that is not flushed gives its place back when nobody has it any more.

        Raises:
            UnsupportedAudioError: If a value is out of its range.
        """
        return SphinxSession(self._helpers, rate=rate, channels=channels)

    @property
    def _parts(self) -> dict[str, str]:
        """The model's parts by the decoder's own names."""
        parts = {
            "hmm": self._model.acoustic,
            "lm": self._model.language_model,
            "dict": self._model.dictionary,
        }
        return {name: path for name, path in parts.items() if path is not None}

    async def _transcribe(self, track: Track) -> list[Segment]:
        try:
            utterances = await self._pool.call(
                "voicepipe.asr.sphinx_child:transcribe",
                {"model": self._parts},
                track.pcm,
            )
        except ChildCrashedError as exc:
            msg = f"pocketsphinx died: {exc}"
            raise TranscriptionError(msg, model="pocketsphinx", retryable=True) from exc
        return [
            Segment(
                start=utterance["start"],
                end=utterance["end"],
                text=" ".join(word["text"] for word in utterance["words"]),
                words=tuple(Word(**word) for word in utterance["words"]),
                channel=track.channel,
                speaker=speaker_label(track.channel),
            )
            for utterance in utterances
        ]

    def close(self) -> None:
        """Stop the helpers, and lose the sessions; the next call starts new ones."""
        self._pool.close()
        self._helpers.close()
