"""One bad recording: how it is made, and what has to come of it."""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import attrs
import numpy as np

from voicepipe.errors import AudioError
from voicepipe.io.options import DecodeOptions, RawFormat
from voicepipe.types.audio import Samples


if TYPE_CHECKING:
    from voicepipe.types.audio import Audio, DecodeReport


SOME: Final = object()
"""In an expected report: more than nothing."""

ANY: Final = object()
"""In an expected report: whatever it may be."""

# What a report says of a recording that is as it should be. What is left out here
# depends on the file.
_CLEAN: dict[str, Any] = {
    "streams": 1,
    "truncated": False,
    "unclosed": False,
    "damaged": False,
    "damaged_at_s": None,
    "lost_frames": 0,
    "trailing_bytes": 0,
    "bad_checksums": 0,
    "non_finite": 0,
    "clipped": 0,
}


@attrs.frozen(kw_only=True)
class Fails:
    """
    An error.

    Attributes:
        error: Its class, and no subclass.
        match: Regular expression that the message has to hold.
    """

    error: type[AudioError]
    match: str = ""

    def check(self, outcome: Audio | Exception) -> None:
        """Raise unless this is what has come."""
        assert type(outcome) is self.error, repr(outcome)
        assert re.search(self.match, str(outcome)), str(outcome)


@attrs.frozen(kw_only=True)
class Gives:
    """
    Sound.

    Attributes:
        sound: Gives what was recorded, shape ``(frames, channels)``.
        rate: Frames per second.
        extra: Most frames behind the sound, padding of the encoding.
        missing: Most frames that may be missing at the end.
        delay: Frames of padding in front.
        snr_db: Least ratio of the sound to its error, ``None`` for bit by bit.
        report: What the report says, where that is not what it says of a good file.
    """

    sound: Callable[[], Samples]
    rate: int = 8_000
    extra: int = 0
    missing: int = 0
    delay: int = 0
    snr_db: float | None = None
    report: Mapping[str, Any] = attrs.field(factory=dict)

    def check(self, outcome: Audio | Exception) -> None:
        """Raise unless this is what has come."""
        assert not isinstance(outcome, Exception), repr(outcome)
        sound = self.sound()
        assert outcome.rate == self.rate
        assert outcome.channels == sound.shape[1]
        least, most = len(sound) - self.missing, len(sound) + self.delay + self.extra
        assert least <= outcome.frames <= most, (outcome.frames, least, most)
        given = outcome.samples[self.delay :][: len(sound)]
        self._check_samples(given, sound[: len(given)], outcome.report)
        assert outcome.report is not None
        self.check_report(outcome.report, outcome.frames)

    def _check_samples(
        self, given: Samples, sound: Samples, report: DecodeReport | None
    ) -> None:
        """Compare; silence may stand where frames are lost, and in no other place."""
        wrong = (given != sound).any(axis=1)
        if self.snr_db is None and (report is None or not report.lost_frames):
            assert not wrong.any(), f"{wrong.sum()} frames differ"
        elif self.snr_db is None:
            assert report is not None
            assert wrong.sum() <= report.lost_frames
            assert not given[wrong].any()
        else:
            snr_db = snr(given, sound)
            assert snr_db >= self.snr_db, f"{snr_db:.1f} dB"

    def check_report(self, report: DecodeReport, frames: int) -> None:
        """Raise unless the report says what it should."""
        assert report.frames == frames
        assert report.rate == self.rate
        assert report.channels == self.sound().shape[1]
        found = attrs.asdict(report)
        for name, value in {**_CLEAN, **self.report}.items():
            if value is SOME:
                # Zero is a time like any other, but no count.
                assert found[name] or name.endswith("_s"), name
                assert found[name] is not None, name
            elif value is not ANY:
                assert found[name] == value, (name, found[name], value)
        good = not (report.truncated or report.damaged or report.non_finite)
        assert report.intact == good


Outcome: TypeAlias = "Fails | Gives"


@attrs.frozen(kw_only=True, eq=False)
class Case:
    """
    One bad recording.

    Attributes:
        id: Row of the list, and what it is.
        make: Makes its bytes.
        strict: What comes of it by default.
        lenient: What comes of it where missing and damaged sound is accepted; ``None``
            for the same.
        name: The file's name.
        raw: The format to declare.
        max_duration_s: The longest recording to accept, seconds; ``None`` for the
            library's own.
    """

    id: str
    make: Callable[[], bytes]
    strict: Outcome
    lenient: Outcome | None = None
    name: str = "call.wav"
    raw: RawFormat | None = None
    max_duration_s: float | None = None

    def expected(self, *, lenient: bool) -> Outcome:
        """Give what has to come of it."""
        return self.lenient if lenient and self.lenient is not None else self.strict

    def options(self, *, lenient: bool, isolated: bool = False) -> DecodeOptions:
        """Give the options to read it with."""
        options = DecodeOptions(
            allow_truncated=lenient,
            allow_damaged=lenient,
            isolated=isolated,
            raw=self.raw,
        )
        if self.max_duration_s is None:
            return options
        return attrs.evolve(options, max_duration_s=self.max_duration_s)


def snr(given: Samples, sound: Samples) -> float:
    """Give the ratio of the sound's power to its error's, dB."""
    error = np.square(given.astype(np.float64) - sound).mean()
    power = np.square(sound.astype(np.float64)).mean()
    return float(10 * np.log10((power + 1e-20) / (error + 1e-20)))


def numbered(*cases: Case) -> tuple[Case, ...]:
    """Give the cases, all of different names and in the order of their rows."""
    ids = [case.id for case in cases]
    assert all(a < b for a, b in itertools.pairwise(ids)), ids
    return cases
