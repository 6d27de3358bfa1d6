"""What to accept of a recording, and how to decode it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, TypeAlias, get_args

import attrs

from voicepipe.proc.limits import ChildLimits
from voicepipe.stream.resample import MAX_CHANNELS, MAX_RATE, MIN_RATE


if TYPE_CHECKING:
    from collections.abc import Callable


RawEncoding: TypeAlias = Literal[
    "pcm_u8",
    "pcm_s16le",
    "pcm_s24le",
    "pcm_s32le",
    "pcm_f32le",
    "pcm_f64le",
    "pcm_mulaw",
    "pcm_alaw",
]
"""How samples without a header are coded, by FFmpeg's names."""


def _in_range(low: int, high: int) -> Callable[[Any, Any, int], None]:
    return attrs.validators.and_(attrs.validators.ge(low), attrs.validators.le(high))


@attrs.frozen(kw_only=True)
class RawFormat:
    """
    The format of a recording that has no header to tell it.

    Attributes:
        rate: Frames per second, Hz, 4,000 to 192,000.
        channels: Number of channels, 1 to 8, interleaved.
        encoding: How a sample is coded.

    Raises:
        ValueError: If there is no such encoding, or a number is out of its range.
    """

    rate: int = attrs.field(validator=_in_range(MIN_RATE, MAX_RATE))
    channels: int = attrs.field(default=1, validator=_in_range(1, MAX_CHANNELS))
    encoding: RawEncoding = attrs.field(
        default="pcm_s16le", validator=attrs.validators.in_(get_args(RawEncoding))
    )


@attrs.frozen(kw_only=True)
class DecodeOptions:
    """
    What to accept of a recording, and how to decode it.

    Attributes:
        max_duration_s: Longest recording, seconds, counted while decoding: a small file
            may hold days of silence.
        max_decoded_bytes: Most bytes of sound, four for each sample, counted while
            decoding. A day of 48 kHz stereo takes 31 GiB.
        allow_truncated: Give what is there of a recording that ends before its own end,
            instead of raising ``TruncatedAudioError``. Where nothing is there, that is
            raised all the same. The report tells.
        allow_damaged: Go on behind damage instead of raising ``DamagedAudioError``,
            with silence in the place of what is lost where the file tells how much it
            is. The report tells.
        raw: Take the source for samples without a header, in this format.
        isolated: Decode in a helper process, so that a recording made to crash, fill or
            hold up the decoder costs this call and not the program. Helpers are kept
            for the next call; the first one takes about 0.3 s to start.
        limits: What such a helper may use.

    Raises:
        ValueError: If a number is not positive.
    """

    max_duration_s: float = attrs.field(
        default=86_400.0, validator=attrs.validators.gt(0.0)
    )
    max_decoded_bytes: int = attrs.field(
        default=1 << 35, validator=attrs.validators.gt(0)
    )
    allow_truncated: bool = False
    allow_damaged: bool = False
    raw: RawFormat | None = None
    isolated: bool = False
    limits: ChildLimits = attrs.field(factory=ChildLimits)


DEFAULTS = DecodeOptions()
"""A day at most, whole, and in this process."""
