"""The diarizer for any call: by channel where channels differ, else by voice."""

from __future__ import annotations

from typing import TYPE_CHECKING

from voicepipe.asr.diarize import ChannelDiarizer
from voicepipe.asr.speakers.diarizer import SpeakerDiarizer
from voicepipe.asr.voice_activity import voice_activity
from voicepipe.stream.channels import DualMono


if TYPE_CHECKING:
    from collections.abc import Callable

    from voicepipe.asr.speakers.options import SpeakerOptions
    from voicepipe.protocols import Stage
    from voicepipe.stream.vad import SpeechSpan
    from voicepipe.types import Audio, Samples, Turn


class CallDiarizer:
    """
    Takes each channel for a speaker where channels differ, and else tells voices apart.

    ``ChannelDiarizer`` does the former, ``SpeakerDiarizer`` the latter: for mono, and
    for several channels that carry one signal. Which it is shows only at the end:
    several channels are heard in both ways until then.

    Args:
        options: How many speakers to look for in one signal.
        detector: Begins to find speech in one channel of a rate in Hz;
            ``voice_activity`` by default.
    """

    def __init__(
        self,
        options: SpeakerOptions | None = None,
        *,
        detector: Callable[[int], Stage[Samples, SpeechSpan]] | None = None,
    ) -> None:
        """Prepare both ways."""
        detector = detector or voice_activity
        self._by_channel = ChannelDiarizer(detector=detector)
        self._by_voice = SpeakerDiarizer(options, detector=detector)

    def session(self, *, rate: int, channels: int) -> Stage[Audio, Turn]:
        """
        Begin one recording; see ``Diarizer``.

        All turns come at ``flush``, ordered by start.

        Raises:
            ValueError: If the rate is not 4,000 to 192,000 Hz, or the channels are not
                1 to 8.
        """
        by_voice = self._by_voice.session(rate=rate, channels=channels)
        if channels == 1:
            return by_voice
        by_channel = self._by_channel.session(rate=rate, channels=channels)
        return _CallSession(by_channel, by_voice, rate)


class _CallSession:
    """One recording of several channels; a ``Stage`` from ``Audio`` to ``Turn``."""

    def __init__(
        self, by_channel: Stage[Audio, Turn], by_voice: Stage[Audio, Turn], rate: int
    ) -> None:
        self._by_channel = by_channel
        self._by_voice = by_voice
        self._same = DualMono(rate)

    def push(self, audio: Audio, /) -> tuple[Turn, ...]:
        """Take audio; gives nothing yet."""
        self._same.push(audio.samples)
        self._by_channel.push(audio)
        self._by_voice.push(audio)
        return ()

    def flush(self) -> tuple[Turn, ...]:
        """End the recording; give all turns."""
        chosen, other = self._by_channel, self._by_voice
        if self._same.verdict:
            chosen, other = other, chosen
        turns = chosen.flush()
        other.flush()
        return turns
