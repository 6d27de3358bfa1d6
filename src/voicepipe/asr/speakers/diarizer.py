"""The diarizer for one channel, as a stage."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import numpy as np

from voicepipe.asr.speakers.cluster import speakers_of
from voicepipe.asr.speakers.features import COLUMNS, HOP, RATE, SpeakerFeatures
from voicepipe.asr.speakers.options import SpeakerOptions
from voicepipe.asr.speakers.resegment import resegmented
from voicepipe.asr.speakers.windows import speech_runs, windows_of
from voicepipe.asr.tracks import speaker_label
from voicepipe.asr.voice_activity import voice_activity
from voicepipe.stream.resample import Resampler
from voicepipe.types import Turn


if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    import numpy.typing as npt

    from voicepipe.protocols import Stage
    from voicepipe.stream.vad import SpeechSpan
    from voicepipe.types import Audio, Samples


class SpeakerDiarizer:
    """
    Tells voices in one channel apart; several channels are mixed down.

    Needs no model and no download: it compares the spectrum and pitch of each second
    of speech with the others of the same recording. That tells apart two to four voices
    that differ clearly, over some minutes. It hears one voice at a time: of two at once
    the louder one has the turn. Trained models are better: see ``PyannoteDiarizer``,
    and the page "Who spoke when" for figures.

    All turns come at ``flush``, ordered by start and apart; ``Speaker00`` is who speaks
    first. What is kept until then is 15 MB for an hour.

    Args:
        options: How many speakers to look for.
        detector: Begins to find speech in one channel of a rate in Hz;
            ``voice_activity`` by default.
    """

    def __init__(
        self,
        options: SpeakerOptions | None = None,
        *,
        detector: Callable[[int], Stage[Samples, SpeechSpan]] | None = None,
    ) -> None:
        """Keep what to look for."""
        self._options = options or SpeakerOptions()
        self._detector = detector or voice_activity

    def session(self, *, rate: int, channels: int) -> Stage[Audio, Turn]:
        """
        Begin one recording; see ``Diarizer``.

        Raises:
            ValueError: If the rate is not 4,000 to 192,000 Hz, or the channels are not
                1 to 8.
        """
        resampler = Resampler(rate, RATE, channels=channels, channels_out=1)
        return _SpeakerSession(resampler, self._detector(RATE), self._options)


class _SpeakerSession:
    """One recording; a ``Stage`` from ``Audio`` to ``Turn``."""

    def __init__(
        self,
        resampler: Resampler,
        vad: Stage[Samples, SpeechSpan],
        options: SpeakerOptions,
    ) -> None:
        self._resampler = resampler
        self._vad = vad
        self._options = options
        self._features = SpeakerFeatures()
        self._rows: list[npt.NDArray[np.float16]] = []
        self._spans: list[SpeechSpan] = []
        self._frames = 0

    def push(self, audio: Audio, /) -> tuple[Turn, ...]:
        """Take audio; gives nothing yet."""
        self._hear(self._resampler.push(audio.samples))
        return ()

    def flush(self) -> tuple[Turn, ...]:
        """End the recording; give all turns."""
        self._hear(self._resampler.flush())
        self._spans.extend(self._vad.flush())
        self._rows.extend(self._features.flush())
        rows = np.concatenate([np.zeros((0, COLUMNS), np.float16), *self._rows])
        self._rows.clear()
        runs = speech_runs(rows, self._spans)
        windows = windows_of(rows, runs)
        labels = speakers_of(windows, self._options)
        path = resegmented(rows, runs, windows, labels)
        return tuple(_turns(path, runs, self._frames))

    def _hear(self, pieces: Sequence[Samples]) -> None:
        for piece in pieces:
            self._frames += len(piece)
            self._spans.extend(self._vad.push(piece))
            self._rows.extend(self._features.push(piece))


def _turns(
    path: npt.NDArray[np.int64], runs: Sequence[tuple[int, int]], frames: int
) -> Iterator[Turn]:
    """Cut runs of speech where the speaker changes; number speakers as they appear."""
    order: dict[int, int] = {}
    for start, end in runs:
        changes = start + 1 + np.flatnonzero(np.diff(path[start:end]))
        edges = [start, *changes.tolist(), end]
        for first, last in itertools.pairwise(edges):
            speaker = order.setdefault(int(path[first]), len(order))
            yield Turn(
                start=first * HOP / RATE,
                end=min(last * HOP, frames) / RATE,
                speaker=speaker_label(speaker) or "",
            )
