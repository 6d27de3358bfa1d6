"""What one may ask of live text."""

from __future__ import annotations

from typing import Literal

import attrs
from attrs import validators


@attrs.frozen(kw_only=True)
class LiveOptions:
    """
    How live text is made of sound.

    Attributes:
        step_s: New sound before the next decode, seconds, while somebody speaks. Less
            shows words earlier and costs more; it grows by itself under load. Never
            more than ``max_window_s`` or half of ``max_lag_s``.
        endpoint_s: A pause of this length ends a segment: its text is final, seconds.
        max_window_s: Longest stretch that is decoded at once, seconds. Where nobody
            pauses for so long, all words but the last few become certain.
        max_lag_s: Sound that may wait to be decoded, seconds, before ``push`` makes its
            caller wait: the bound of a session's memory.
        channels: ``"separate"`` takes each for a speaker, unless they are the same
            signal; ``"mix"`` hears their mean.

    Raises:
        ValueError: If a value is out of its range.
    """

    step_s: float = attrs.field(
        default=0.8, validator=[validators.ge(0.1), validators.le(10.0)]
    )
    endpoint_s: float = attrs.field(
        default=0.6, validator=[validators.ge(0.2), validators.le(10.0)]
    )
    max_window_s: float = attrs.field(
        default=15.0, validator=[validators.ge(5.0), validators.le(30.0)]
    )
    max_lag_s: float = attrs.field(
        default=30.0, validator=[validators.ge(5.0), validators.le(600.0)]
    )
    channels: Literal["separate", "mix"] = attrs.field(
        default="separate", validator=validators.in_(("separate", "mix"))
    )
