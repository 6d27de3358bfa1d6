"""Bad WAV files: rows 1 to 37 of the list, and the WAV files of row 62."""

from __future__ import annotations

import functools
import io
import struct
import tempfile
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import soundfile as sf
from bad_case import ANY, SOME, Case, Fails, Gives
from riff_bytes import DATA, FORM, PCM, SOUND, chunk, form, rf64, riff

from voicepipe.errors import (
    AudioError,
    DamagedAudioError,
    EmptyAudioError,
    NotAudioError,
    TruncatedAudioError,
    UnsupportedAudioError,
)


if TYPE_CHECKING:
    import numpy.typing as npt

    from voicepipe.types.audio import Samples


def floats(samples: npt.NDArray[Any] = SOUND) -> Samples:
    """Give 16-bit samples as floats."""
    return samples.astype(np.float32) / np.float32(32_768)


def gives(what: str, data: bytes, *, frames: int = 8_000, **report: Any) -> Case:
    """Make a case that decodes to the first frames of ``SOUND``, bit by bit."""
    sound = functools.partial(floats, SOUND[:frames])
    return Case(id=what, make=lambda: data, strict=Gives(sound=sound, report=report))


def fails(what: str, data: bytes, error: type[AudioError], match: str = "") -> Case:
    """Make a case that is an error."""
    return Case(id=what, make=lambda: data, strict=Fails(error=error, match=match))


def of_form(**numbers: int) -> bytes:
    """Make a file whose format chunk has strange numbers."""
    return riff(chunk(b"fmt ", form(**numbers)), DATA)


def of_floats(samples: npt.NDArray[np.float32]) -> bytes:
    """Make a file of 32-bit floats."""
    body = samples.astype("<f4").tobytes()
    return riff(chunk(b"fmt ", form(tag=3, bits=32)), chunk(b"data", body))


def with_values(what: str, value: float, becomes: float, **report: Any) -> Case:
    """Make a case of float samples, four of which are none of a sample."""
    samples = floats().copy()
    samples[1_000:1_004] = value
    right = samples.copy()
    right[1_000:1_004] = becomes
    return Case(
        id=what,
        make=lambda: of_floats(samples),
        strict=Gives(sound=lambda: right, report=report),
    )


@functools.cache
def killed_rf64() -> bytes:
    """Give what libsndfile leaves of an RF64 file if it is killed."""
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory, "killed.wav")
        with sf.SoundFile(path, "w", 8_000, 1, "PCM_16", format="RF64") as file:
            file.write(SOUND)
            file.flush()
            return path.read_bytes()


def by_libsndfile(what: str, subtype: str, snr_db: float) -> Case:
    """Make a case of another coding, and compare it with what was recorded."""

    def make() -> bytes:
        file = io.BytesIO()
        sf.write(file, SOUND, 8_000, format="WAV", subtype=subtype)
        return file.getvalue()

    strict = Gives(sound=floats, snr_db=snr_db)
    return Case(id=what, make=make, strict=strict)


def of_width(what: str, samples: npt.NDArray[Any], bits: int, tag: int = 1) -> Case:
    """Make a case of ``SOUND`` in samples of another width."""
    body = samples.tobytes()
    if bits == 24:
        body = samples.view("u1").reshape(-1, 4)[:, 1:].tobytes()
    shape = chunk(b"fmt ", form(tag=tag, channels=samples.shape[1], bits=bits))
    right: Samples = np.tile(floats(), samples.shape[1])
    if bits == 8:
        right = (samples.astype(np.float32) - 128) / np.float32(128)
    return Case(
        id=what,
        make=lambda: riff(shape, chunk(b"data", body)),
        strict=Gives(sound=lambda: right),
    )


def zipped(name: str, data: bytes) -> bytes:
    """Make a ZIP archive of one file."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr(name, data)
    return file.getvalue()


OPEN = chunk(b"data", PCM, 0)
UNSUPPORTED = UnsupportedAudioError
WIDE = (SOUND.astype("<i4") << 16).astype("<i4")
DC = np.full((8_000, 1), 8_192, "<i2")
ARCHIVE = zipped("note.txt", b"also a recording")

HEADERS = (
    fails("01 empty file", b"", EmptyAudioError),
    fails("02a 1 byte", b"R", NotAudioError),
    fails("02b 4 bytes", b"RIFF", NotAudioError),
    fails("02c 8 bytes", b"RIFF\x24\x00\x00\x00", NotAudioError),
    fails("02d 12 bytes", b"RIFF\x24\x00\x00\x00WAVE", TruncatedAudioError),
    fails("03 header only", riff(FORM, chunk(b"data", b"")), EmptyAudioError),
    fails("04a no data chunk", riff(FORM), TruncatedAudioError),
    fails(
        "04b other chunks in its place",
        riff(FORM, chunk(b"LIST", b"INFO"), chunk(b"JUNK", bytes(28))),
        TruncatedAudioError,
    ),
    gives("05 data=0, RIFF=8", riff(FORM, OPEN, size=8), unclosed=True),
    gives("06 data=0, RIFF=0", riff(FORM, OPEN, size=0), unclosed=True),
    gives("07 data=0, RIFF=36", riff(FORM, OPEN, size=36), unclosed=True),
    gives(
        "08a data=0xFFFFFFFF (pipe)",
        riff(FORM, chunk(b"data", PCM, 0xFFFFFFFF), size=0xFFFFFFFF),
        unclosed=True,
    ),
    gives(
        "08b data=0xFFFFFFFF, RIFF=0",
        riff(FORM, chunk(b"data", PCM, 0xFFFFFFFF), size=0),
        unclosed=True,
    ),
    # So says SoX of a pipe, nearly, and so says a file that lost its end.
    gives(
        "09 data=0x7FFFFFFF",
        riff(FORM, chunk(b"data", PCM, 0x7FFFFFFF), size=0x7FFFFFFF),
        unclosed=True,
        truncated=True,
    ),
    gives(
        "10a data=100 of 16,000 bytes",
        riff(FORM, chunk(b"data", PCM, 100)),
        frames=50,
        trailing_bytes=15_900,
    ),
    gives(
        "10b bytes behind the last chunk",
        riff(FORM, DATA) + b"\xa5" * 999,
        trailing_bytes=999,
    ),
    gives(
        "11 odd data length",
        riff(FORM, chunk(b"data", PCM[:-1])),
        frames=7_999,
        trailing_bytes=ANY,
    ),
    # Row 12, of 5 GiB, is a test of its own.
    fails("13 rate 0", of_form(rate=0), UNSUPPORTED, "0 Hz"),
    fails("14 rate 1 Hz", of_form(rate=1), UNSUPPORTED, "1 Hz"),
    fails("15a rate 4e9", of_form(rate=4_000_000_000), UNSUPPORTED, "4000000000 Hz"),
    fails(
        "15b rate 655,350, 8 channels",
        of_form(rate=655_350, channels=8),
        UNSUPPORTED,
        "655350 Hz",
    ),
    fails("16 channels 0", of_form(channels=0, align=2), UNSUPPORTED, "0 channels"),
    fails("17a channels 1,024", of_form(channels=1_024), UNSUPPORTED, "1024 channels"),
    fails("17b channels 9", of_form(channels=9), UNSUPPORTED, "9 channels"),
    fails("18 channels 65,535", of_form(channels=65_535), UNSUPPORTED, "65535"),
    fails("19 bits 0", of_form(bits=0, align=2), UNSUPPORTED, "0-bit"),
    fails("20 bits 17", of_form(bits=17), UNSUPPORTED, "17-bit"),
    fails("21 bits 64, integers", of_form(bits=64), UNSUPPORTED, "64-bit integer"),
    gives("22a block align 0", of_form(align=0)),
    gives("22b block align wrong", of_form(align=7)),
    fails("23 format tag 0xABCD", of_form(tag=0xABCD), UNSUPPORTED),
)

CHUNKS = (
    fails(
        "24 MP3 in WAV, garbage",
        riff(
            chunk(b"fmt ", form(tag=0x55) + struct.pack("<HHIHHH", 12, 1, 2, 72, 1, 0)),
            chunk(b"data", np.random.default_rng(24).bytes(16_000)),
        ),
        DamagedAudioError,
    ),
    fails(
        "25 LIST of 0xFFFFFFFE before the format",
        riff(chunk(b"LIST", b"", 0xFFFFFFFE), FORM, DATA),
        TruncatedAudioError,
    ),
    fails(
        "26a 200,000 empty JUNK chunks",
        riff(chunk(b"JUNK", b"") * 200_000, FORM, DATA),
        DamagedAudioError,
        "chunks",
    ),
    gives("26b 900 empty JUNK chunks", riff(chunk(b"JUNK", b"") * 900, FORM, DATA)),
    gives("27a JUNK of 28 bytes first", riff(chunk(b"JUNK", bytes(28)), FORM, DATA)),
    gives("27b LIST behind", riff(FORM, DATA, chunk(b"LIST", b"INFO"))),
    gives(
        "28 two data chunks",
        riff(FORM, DATA, chunk(b"data", PCM[::-1])),
        trailing_bytes=SOME,
    ),
    with_values("29 float NaN", np.nan, 0.0, non_finite=4),
    with_values("30a float Inf", np.inf, 0.0, non_finite=4),
    with_values("30b float -Inf", -np.inf, 0.0, non_finite=4),
    with_values("30c float 1e38", 1e38, 1.0, clipped=4),
    with_values("30d float -1.5", -1.5, -1.0, clipped=4),
    gives("31 RF64", rf64(len(PCM))),
    fails("32 RF64 without ds64", rf64(None), DamagedAudioError, "RF64"),
    gives("33a RF64 of 2^63-1 bytes", rf64(2**63 - 1), unclosed=True),
    Case(
        id="33b RF64 of 2^62 bytes",
        make=lambda: rf64(2**62),
        strict=Fails(error=TruncatedAudioError),
        lenient=Gives(sound=floats, report={"truncated": True}),
    ),
    gives("34 RF64 of 2^64-1 bytes", rf64(2**64 - 1), unclosed=True),
    gives("35a RF64 killed, sizes 0", rf64(0), unclosed=True),
    Case(
        id="35b RF64 killed, libsndfile's",
        make=killed_rf64,
        strict=Gives(sound=floats, report={"unclosed": True}),
    ),
    gives("36 BW64", rf64(len(PCM), magic=b"BW64")),
    fails("37 RIFX", riff(FORM, DATA, magic=b"RIFX"), UNSUPPORTED, "RIFX"),
)

KINDS = (
    gives("62a WAV, then ZIP", riff(FORM, DATA) + ARCHIVE, trailing_bytes=len(ARCHIVE)),
    fails("62b ZIP, then WAV", ARCHIVE + riff(FORM, DATA), NotAudioError, "ZIP"),
    Case(
        id="62h WAV named .mp3",
        make=lambda: riff(FORM, DATA),
        strict=Gives(sound=floats),
        name="call.mp3",
    ),
    Case(
        id="62n DC in WAV",
        make=lambda: riff(FORM, chunk(b"data", DC.tobytes())),
        strict=Gives(sound=lambda: floats(DC)),
    ),
    of_width("62q 8-bit", (SOUND // 256 + 128).astype("u1"), 8),
    by_libsndfile("62r A-law", "ALAW", 30),
    by_libsndfile("62s mu-law", "ULAW", 30),
    of_width("62t 24-bit", WIDE, 24),
    of_width("62u 32-bit", WIDE, 32),
    of_width("62v 32-bit float", floats().astype("<f4"), 32, 3),
    of_width("62w 64-bit float", floats().astype("<f8"), 64, 3),
    of_width("62x 8 channels", np.tile(SOUND, 8), 16),
)

WAV = (*HEADERS, *CHUNKS, *KINDS)
