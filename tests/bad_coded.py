"""Bad MP3, Ogg, AAC and MP4 files: rows 54 to 61, and some of row 62."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

import numpy as np
from bad_case import ANY, SOME, Case, Fails, Gives
from bad_flac import FRAMES, RATE, TOO_LONG, TRUNCATED, sound
from bad_foreign import HTML
from coded_bytes import (
    free_format,
    id3_tag,
    mp3_frames,
    ogg_changed,
    opus_silence,
    protected,
    xing_count,
)
from make_audio import encode, signal
from mux_audio import PLAIN_MP3, mux

from voicepipe.errors import (
    EmptyAudioError,
    NotAudioError,
    UnsupportedAudioError,
)


if TYPE_CHECKING:
    from collections.abc import Callable

    from bad_case import Outcome

    from voicepipe.types.audio import Samples


# The encoder's delay and the decoder's: what LAME says of itself, and 529.
MP3_DELAY = 1_105
AAC_DELAY = 1_024

LOST = {"damaged": True, "damaged_at_s": SOME, "lost_frames": ANY}


def case(
    what: str,
    make: Callable[[], bytes],
    strict: Outcome,
    lenient: Outcome | None = None,
) -> Case:
    """Make a case."""
    return Case(id=what, make=make, strict=strict, lenient=lenient)


def lossy(frames: int = FRAMES, **report: Any) -> Gives:
    """Expect the first frames of what was recorded, and not one more."""
    return Gives(sound=functools.partial(sound, frames), snr_db=20, report=report)


def padded(delay: int, frames: int = FRAMES, **report: Any) -> Gives:
    """Expect the first frames of what was recorded, in the padding of the encoder."""
    return Gives(
        sound=functools.partial(sound, frames),
        snr_db=20,
        delay=delay,
        extra=2_304,
        report=report,
    )


# --- MP3 ------------------------------------------------------------------------------


@functools.cache
def mp3(bits: str = "64k") -> bytes:
    """Encode what was recorded, with a tag that tells its length."""
    return mux(
        "mp3", "libmp3lame", sound(), options={"id3v2_version": "0"}, coding={"b": bits}
    )


@functools.cache
def frames() -> tuple[bytes, ...]:
    """Encode what was recorded to frames that do not lean on one another."""
    coding = {"b": "64k", "reservoir": "0"}
    data = mux("mp3", "libmp3lame", sound(), options=PLAIN_MP3, coding=coding)
    return tuple(mp3_frames(data))


def variable() -> bytes:
    """Encode what was recorded at a bit rate that changes, and tell no length."""
    coding = {"flags": "+qscale", "global_quality": "118"}
    data = mux("mp3", "libmp3lame", sound(), options=PLAIN_MP3, coding=coding)
    assert len({len(frame) for frame in mp3_frames(data)}) > 1
    return data


def changed_rate() -> bytes:
    """Go on at 16,000 Hz after ten seconds at 8,000 Hz."""
    other = mux(
        "mp3", "libmp3lame", signal(16_000, 1, 2.0), rate=16_000, options=PLAIN_MP3
    )
    return b"".join(frames()) + other


def dc_in_mp3() -> bytes:
    """Encode a second of DC."""
    return mux("mp3", "libmp3lame", dc(), coding={"b": "64k"})


def dc() -> Samples:
    """Give a second of DC."""
    return np.full((RATE, 1), 0.25, np.float32)


GARBAGE = np.random.default_rng(57).bytes(5_000)

MP3 = (
    case(
        "54a MP3 Xing frames=2^32-1",
        lambda: xing_count(mp3(), 0xFFFFFFFF),
        padded(0, declared_frames=None),
    ),
    case(
        "54b MP3 Xing frames=2^31",
        lambda: xing_count(mp3(), 1 << 31),
        TRUNCATED,
        padded(0, truncated=True, declared_frames=SOME),
    ),
    case("54c MP3 Xing frames=1", lambda: xing_count(mp3(), 1), padded(0)),
    case(
        "55a MP3 tag of 256 MiB that is not there",
        lambda: id3_tag(bytes(100), (1 << 28) - 1) + mp3(),
        TRUNCATED,
    ),
    # Row 55 with a tag that is there is a test of its own.
    case(
        "56 MP3 cut in half",
        lambda: mp3()[: len(mp3()) // 2],
        TRUNCATED,
        Gives(
            sound=functools.partial(sound, 40_500),
            missing=2_500,
            snr_db=20,
            report={"truncated": True, "declared_frames": SOME},
        ),
    ),
    case("57 MP3 behind 5 kB of garbage", lambda: GARBAGE + mp3(), lossy()),
    case(
        "58a MP3 free format",
        lambda: free_format(frames()),
        Fails(error=UnsupportedAudioError),
    ),
    case("58b MP3 right checksums", lambda: protected(frames()), padded(MP3_DELAY)),
    # Encoders have written wrong ones for years; the sound is as it was.
    case(
        "58c MP3 wrong checksums",
        lambda: protected(frames(), [70, 71, 99]),
        padded(MP3_DELAY, bad_checksums=3),
    ),
    case("58d MP3 VBR without Xing", variable, padded(MP3_DELAY)),
    case(
        "58e MP3 rate changes",
        changed_rate,
        Fails(error=UnsupportedAudioError, match="8000 Hz"),
        padded(MP3_DELAY, **LOST),
    ),
    case(
        "62c1 HTML, then MP3",
        lambda: HTML * 5 + mp3(),
        Fails(error=NotAudioError, match="HTML"),
    ),
    # So little text is garbage like any other.
    case("62c2 one line of HTML, then MP3", lambda: HTML + mp3(), lossy()),
    case("62d MP3, then HTML", lambda: mp3() + HTML, lossy(trailing_bytes=len(HTML))),
    case("62d1 MP3 with HTML in its tag", lambda: id3_tag(HTML) + mp3(), lossy()),
    case(
        "62e2 MP3 without sound",
        lambda: xing_count(next(mp3_frames(mp3())), 0),
        Fails(error=EmptyAudioError),
    ),
    Case(id="62i MP3 named .wav", make=mp3, strict=lossy()),
    case(
        "62p DC in MP3",
        dc_in_mp3,
        Gives(sound=dc, snr_db=20),
    ),
)


# --- Ogg ------------------------------------------------------------------------------

OPUS_RATE = 48_000


def opus_sound() -> Samples:
    """Give five seconds at 48,000 Hz."""
    return signal(OPUS_RATE, 1, 5.0)


def second_link() -> Samples:
    """Give other five seconds: the same, backwards."""
    return np.ascontiguousarray(opus_sound()[::-1])


@functools.cache
def opus() -> bytes:
    """Encode five seconds."""
    return ogg_changed(encode("opus", opus_sound(), OPUS_RATE), serial=1)


def chained_opus() -> bytes:
    """Put two recordings behind one another."""
    return opus() + ogg_changed(encode("opus", second_link(), OPUS_RATE), serial=2)


def chained_vorbis() -> bytes:
    """Put two recordings behind one another."""
    links = [encode("ogg", piece, RATE) for piece in (sound(), -sound())]
    return ogg_changed(links[0], serial=1) + ogg_changed(links[1], serial=2)


def opus_gives(*pieces: Callable[[], Samples], missing: int = 0) -> Gives:
    """Expect what was recorded."""
    return Gives(
        sound=lambda: np.concatenate([piece() for piece in pieces]),
        rate=OPUS_RATE,
        missing=missing,
        snr_db=12,
    )


def opus_without_sound() -> bytes:
    """Give the two pages of headers."""
    return opus_silence(0)


OGG = (
    case("59a Opus chained", chained_opus, opus_gives(opus_sound, second_link)),
    case(
        "59b Vorbis chained",
        chained_vorbis,
        # FFmpeg goes on from one link to the next and gives their overlap as well.
        Gives(
            sound=lambda: np.concatenate(
                [sound(), np.zeros_like(sound(256)), -sound()]
            ),
            snr_db=12,
        ),
    ),
    case(
        "60a Opus last granule 2^62",
        lambda: ogg_changed(
            opus(), granule=lambda _, at: (1 << 62) if at >= 240_000 else at
        ),
        # FFmpeg drops the last packet.
        opus_gives(opus_sound, missing=960),
    ),
    case(
        "60b Opus every granule 2^62",
        lambda: ogg_changed(opus(), granule=lambda _, at: (1 << 62) if at else 0),
        # FFmpeg drops the last packet.
        opus_gives(opus_sound, missing=960),
    ),
    case(
        "60c Opus cut",
        lambda: opus()[: len(opus()) // 2],
        TRUNCATED,
        Gives(
            sound=lambda: opus_sound()[:125_000],
            missing=60_000,
            rate=OPUS_RATE,
            snr_db=12,
            report={"truncated": True},
        ),
    ),
    Case(
        id="60d Opus silence of 3 h",
        make=lambda: opus_silence(360),
        strict=TOO_LONG,
        max_duration_s=600.0,
    ),
    case("62e3 Opus without sound", opus_without_sound, Fails(error=EmptyAudioError)),
)


# --- AAC and MP4 ----------------------------------------------------------------------


@functools.cache
def m4a() -> bytes:
    """Encode what was recorded; the index stands at the end."""
    return mux("ipod", "aac", sound(), coding={"b": "48k"})


def without_index() -> bytes:
    """Call the index something else."""
    at = m4a().rindex(b"moov")
    return m4a()[:at] + b"gone" + m4a()[at + 4 :]


MP4 = (
    case(
        "61a AAC in ADTS",
        lambda: mux("adts", "aac", sound(), coding={"b": "48k"}),
        padded(AAC_DELAY),
    ),
    case(
        "61b M4A cut before its index",
        lambda: m4a()[: m4a().rindex(b"moov") - 4],
        TRUNCATED,
    ),
    case("61c M4A without an index", without_index, TRUNCATED),
    case(
        "61d MP4 with a film",
        lambda: mux("mp4", "aac", sound(), coding={"b": "48k"}, beside="film"),
        lossy(),
    ),
    case(
        "61e M4A with a picture",
        lambda: mux("mp4", "aac", sound(), coding={"b": "48k"}, beside="picture"),
        lossy(),
    ),
    case(
        "61f M4A with two recordings",
        lambda: mux("ipod", "aac", sound(), -sound(), coding={"b": "48k"}),
        lossy(streams=2),
    ),
    case(
        "62e4 M4A without sound",
        lambda: mux("ipod", "aac", sound(0)),
        # FFmpeg writes no track for it.
        Fails(error=UnsupportedAudioError, match="no audio stream"),
    ),
)

CODED = (*MP3, *OGG, *MP4)
