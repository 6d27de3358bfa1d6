"""What is said on the WebSocket: the client's messages, and the server's."""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING, Any, TypeAlias

import attrs


if TYPE_CHECKING:
    from voicepipe import Hypothesis


RATE = 16_000
"""Frames per second of samples without a header where no ``start`` came, Hz."""

MIN_RATE, MAX_RATE = 4_000, 192_000
CHANNELS = (1, 2)

PAUSE_S = 1.0
"""Where nothing comes for so long, seconds, a recording has ended: the contract's."""

MAX_PAUSE_S = 60.0

LONG = 1 << 16
"""A longer message is taken apart in a thread, characters."""

# What a browser's FileReader puts before base64.
_DATA_URL = "data:"


@attrs.frozen(kw_only=True)
class Start:
    """
    What the client says of what it is going to send.

    Attributes:
        rate: Frames per second of samples without a header, Hz.
        channels: Their number of channels.
        partials: Whether it wants words while they are said.
        pause_s: Where nothing comes for so long, seconds, the recording has ended.
    """

    rate: int = RATE
    channels: int = 1
    partials: bool = False
    pause_s: float = PAUSE_S


@attrs.frozen(kw_only=True)
class Sound:
    """
    A recording, or a piece of one.

    Attributes:
        data: Its bytes.
        binary: Whether it came as a binary message, which holds samples.
    """

    data: bytes = attrs.field(repr=False)
    binary: bool = False


@attrs.frozen
class Stop:
    """The recording is at its end."""


@attrs.frozen
class Pause:
    """Nothing has come for a while."""


@attrs.frozen
class Wrong:
    """
    A message that says nothing.

    Attributes:
        why: What is wrong with it.
    """

    why: str


Said: TypeAlias = Start | Sound | Stop | Pause | Wrong
"""What may come from a client."""


def parsed(text: str) -> Said:
    """Take a text message apart."""
    try:
        message = json.loads(text)
    except (ValueError, RecursionError):
        return Wrong("the message is not JSON")
    if not isinstance(message, dict):
        return Wrong("the message is not a JSON object")
    match message.get("type"):
        case "audio":
            return _sound(message.get("audio"))
        case "start":
            return _start(message)
        case "stop":
            return Stop()
        case _:
            return Wrong('"type" must be "audio", "start" or "stop"')


def _sound(audio: object) -> Said:
    if not isinstance(audio, str):
        return Wrong('"audio" must be base64')
    if audio.startswith(_DATA_URL):
        audio = audio.partition(",")[2]
    try:
        return Sound(data=base64.b64decode(audio, validate=True))
    except ValueError:
        return Wrong('"audio" is not valid base64')


def _start(message: dict[str, Any]) -> Said:
    rate = message.get("sample_rate", RATE)
    channels = message.get("channels", 1)
    partials = message.get("partials", False)
    pause_s = message.get("pause", PAUSE_S)
    if type(rate) is not int or not MIN_RATE <= rate <= MAX_RATE:
        return Wrong(f'"sample_rate" must be {MIN_RATE} to {MAX_RATE}')
    if type(channels) is not int or channels not in CHANNELS:
        return Wrong('"channels" must be 1 or 2')
    if not isinstance(partials, bool):
        return Wrong('"partials" must be true or false')
    if type(pause_s) not in {int, float} or not PAUSE_S <= pause_s <= MAX_PAUSE_S:
        return Wrong(f'"pause" must be {PAUSE_S:g} to {MAX_PAUSE_S:g} seconds')
    return Start(rate=rate, channels=channels, partials=partials, pause_s=pause_s)


def status(message: str, **more: Any) -> dict[str, Any]:
    """Tell how things stand."""
    return {"type": "status", "message": message, **more}


def error(message: str, code: str) -> dict[str, Any]:
    """Tell that something does not work; ``code`` is one of ``CODES``."""
    return {"type": "error", "message": message, "code": code}


CODES = (
    "bad_message",
    "bad_audio",
    "no_audio",
    "too_long",
    "full",
    "idle",
    "engine",
    "internal",
)
"""Why an error message is sent."""


def transcription(text: str, **more: Any) -> dict[str, Any]:
    """Give a recording's text."""
    return {"type": "transcription", "text": text, "status": "success", **more}


def live(hypothesis: Hypothesis, place: Place, lag_s: float) -> dict[str, Any]:
    """Give what is known of a segment by now."""
    more: dict[str, Any] = {}
    if hypothesis.final:
        more["words"] = [
            {
                "word": word.text,
                "start": place.at(word.start),
                "end": place.at(word.end),
            }
            for word in hypothesis.words
        ]
    return transcription(
        hypothesis.text,
        final=hypothesis.final,
        stable=len(hypothesis.text) if hypothesis.final else hypothesis.stable,
        segment_id=place.segments + hypothesis.segment_id,
        start=place.at(hypothesis.start),
        end=place.at(hypothesis.end),
        channel=hypothesis.channel,
        lag=round(lag_s, 3),
        **more,
    )


@attrs.frozen(kw_only=True)
class Place:
    """
    Where in its recording a stretch of sound begins.

    Attributes:
        seconds: How much came before it.
        segments: How many segment ids are taken.
    """

    seconds: float = 0.0
    segments: int = 0

    def at(self, second: float) -> float:
        """Count a time from the recording's beginning."""
        return round(self.seconds + second, 3)
