"""How many speakers to look for, and when two voices are two."""

from __future__ import annotations

import attrs
from attrs import validators


MOST_SPEAKERS = 8
"""More cannot be asked for: windows are grouped no finer than that, and some spare."""


@attrs.frozen(kw_only=True)
class SpeakerOptions:
    """
    How many speakers to look for, and when two voices are two.

    Attributes:
        speakers: How many there are, where that is known: 1 to 8. It is worth telling:
            most errors are wrong counts. Fewer come out where there is not enough
            speech for so many.
        min_speakers: Fewest to find where ``speakers`` is ``None``, 1 to 8.
        max_speakers: Most to find where ``speakers`` is ``None``, 1 to 8.
        distance: How far apart two groups of windows must be to be two speakers, in
            standard deviations of what one voice does from one second to the next, less
            where they take turns without pauses. A smaller one finds more speakers.
        least_s: Seconds of speech that a speaker must have to be counted.

    Raises:
        ValueError: If a value is out of its range, or the least is above the most.
    """

    speakers: int | None = attrs.field(
        default=None,
        validator=validators.optional([validators.ge(1), validators.le(MOST_SPEAKERS)]),
    )
    min_speakers: int = attrs.field(
        default=1, validator=[validators.ge(1), validators.le(MOST_SPEAKERS)]
    )
    max_speakers: int = attrs.field(
        default=4, validator=[validators.ge(1), validators.le(MOST_SPEAKERS)]
    )
    distance: float = attrs.field(default=3.0, validator=validators.gt(0.0))
    least_s: float = attrs.field(default=3.0, validator=validators.ge(0.0))

    def __attrs_post_init__(self) -> None:
        """Compare the two bounds."""
        if self.min_speakers > self.max_speakers:
            msg = (
                f"min_speakers ({self.min_speakers}) must not be above "
                f"max_speakers ({self.max_speakers})"
            )
            raise ValueError(msg)

    @property
    def bounds(self) -> tuple[int, int]:
        """The fewest and the most speakers to find."""
        if self.speakers is None:
            return self.min_speakers, self.max_speakers
        return self.speakers, self.speakers
