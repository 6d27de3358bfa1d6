"""The voices of espeak-ng and flite that the tests of engines hear."""

from __future__ import annotations

from typing import Literal

import attrs


class SpeechMissingError(Exception):
    """A speech program is absent; the message names the package that has it."""

    def __init__(self, engine: str) -> None:
        """Name the package, as Debian and Ubuntu call it."""
        package = "espeak-ng" if engine == "espeak" else "flite"
        super().__init__(
            f"{package} is not installed: the tests of engines speak with it; "
            f"run `apt-get install {package}`"
        )


@attrs.frozen
class Voice:
    """
    One way to say something.

    Attributes:
        engine: Which program speaks.
        name: The program's own name of the voice, such as `en-us+f3` or `slt`.
        speed: Words per minute; espeak only.
        pitch: 0 to 99; espeak only.
        stretch: How much longer than usual each sound is; flite only.
        f0: The mean pitch in Hz, or 0 for the voice's own; flite only.
    """

    engine: Literal["espeak", "flite"]
    name: str
    speed: int = attrs.field(default=160, kw_only=True)
    pitch: int = attrs.field(default=50, kw_only=True)
    stretch: float = attrs.field(default=1.0, kw_only=True)
    f0: int = attrs.field(default=0, kw_only=True)


ESPEAK = (
    Voice("espeak", "en-us"),
    Voice("espeak", "en-gb"),
    Voice("espeak", "en-us+f3"),
)
"""Voices of espeak that the tiny Whisper was trained on."""

FLITE = (Voice("flite", "slt"), Voice("flite", "kal16"), Voice("flite", "awb"))
"""Voices of flite that the tiny Whisper was trained on."""

TRAINED = (*ESPEAK, *FLITE)

UNSEEN_ESPEAK = Voice("espeak", "en-us+m6")
"""A voice that no training heard."""

UNSEEN_FLITE = Voice("flite", "rms")
"""A speaker that no training heard."""
