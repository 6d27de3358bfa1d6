"""Live text from any transcriber."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from anyio.lowlevel import RunVar

from voicepipe.asr.live.decoding import Decoding
from voicepipe.asr.live.driven import Driven
from voicepipe.asr.live.session import LiveSession
from voicepipe.asr.live.turns import Turns
from voicepipe.asr.silero.model import SpeechProbabilities, is_installed
from voicepipe.stream.live.activity import EnergyActivity
from voicepipe.stream.live.options import LiveOptions


if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np
    import numpy.typing as npt

    from voicepipe.protocols import Stage, StreamingTranscriber, Transcriber
    from voicepipe.types import Samples


class LiveTranscriber:
    """
    Tells words while they are said, with any transcriber.

    A ``Transcriber`` hears recordings. For live text it is given short stretches of the
    stream again and again while somebody speaks, and words on which two decodes in a
    row agree are told to be certain; ``stream.live.policy`` has the rules. It is never
    given its own text: whatever prompt it has is set on the engine. A
    ``StreamingTranscriber`` (one that has ``session``) is driven directly.

    All sessions share the engine. Nobody's load delays another's final text by more
    than one decode for each of the sessions before it; see ``LiveSession.lag_s`` for
    how far behind a session is. Limit the number of sessions to what the machine can
    do: ``docs/live.md`` tells how to find out.

    Args:
        transcriber: The engine.
        options: How live text is made.
        at_once: Decodes at the same time, of all sessions together, in one event loop.
        activity: Makes a stage that scores speech in [0, 1] for every 512 frames at
            16 kHz; it is called with that rate. ``None`` is the Silero model where it
            is installed (extra ``whisper``), and energy otherwise, to which music and
            ringing are speech too.

    Raises:
        ValueError: If ``at_once`` is less than 1.
    """

    def __init__(
        self,
        transcriber: Transcriber | StreamingTranscriber,
        *,
        options: LiveOptions | None = None,
        at_once: int = 1,
        activity: Callable[[int], Stage[Samples, npt.NDArray[np.float32]]]
        | None = None,
    ) -> None:
        """Start nothing yet."""
        Turns(at_once)  # refuses what is too few
        self._transcriber = transcriber
        self._options = options or LiveOptions()
        self._at_once = at_once
        self._activity = activity or _best_activity
        self._turns: RunVar[Turns] = RunVar("turns")

    def session(self, *, rate: int, channels: int = 1) -> LiveSession:
        """
        Begin one stream, inside an event loop; many may go on at once.

        Args:
            rate: Frames per second of the sound to come, Hz, 4,000 to 192,000.
            channels: Its number of channels, 1 to 8.

        Raises:
            ValueError: If a value is out of its range.
        """
        turns = self._turns.get(None)
        if turns is None:
            turns = Turns(self._at_once)
            self._turns.set(turns)
        options = self._options
        engine: Any = self._transcriber  # which of the two it is, its method tells
        feed: Decoding | Driven
        if hasattr(engine, "session"):
            feed = Driven(
                engine,
                turns,
                rate=rate,
                channels=channels,
                mix=options.channels == "mix",
            )
        else:
            feed = Decoding(
                engine,
                turns,
                rate=rate,
                channels=channels,
                options=options,
                activity=self._activity,
            )
        return LiveSession(
            feed, rate=rate, channels=channels, max_lag_s=options.max_lag_s
        )


def _best_activity(rate: int) -> Stage[Samples, npt.NDArray[np.float32]]:
    return SpeechProbabilities() if is_installed() else EnergyActivity(rate)
