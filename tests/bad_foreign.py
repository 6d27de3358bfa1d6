"""Files that are no recording, or none that is read: rows 38 to 46 of the list."""

from __future__ import annotations

import functools
import gzip
import io
import struct

import numpy as np
import soundfile as sf
from bad_case import Case, Fails, Gives
from bad_wav import fails, floats, zipped
from riff_bytes import DATA, FORM, PCM, SOUND, riff

from voicepipe.errors import EmptyAudioError, NotAudioError, UnsupportedAudioError
from voicepipe.io.options import RawEncoding, RawFormat


UNSUPPORTED = UnsupportedAudioError

HTML = (
    b"<!DOCTYPE html>\n<html><head><title>404 Not Found</title></head>\n"
    b"<body><h1>Not Found</h1><p>There is no such recording.</p></body></html>\n"
)


@functools.cache
def by_libsndfile(form: str, subtype: str = "PCM_16") -> bytes:
    """Write ``SOUND`` in another container."""
    file = io.BytesIO()
    sf.write(file, SOUND, 8_000, format=form, subtype=subtype)
    return file.getvalue()


def refused(what: str, form: str) -> Case:
    """Make a case of a good recording in a container that is refused."""
    return Case(
        id=what,
        make=lambda: by_libsndfile(form),
        strict=Fails(error=UNSUPPORTED),
    )


def au_of_unknown_size() -> bytes:
    """Give an AU file that says of its size -1."""
    return struct.pack(">4sIIIII", b".snd", 24, 0xFFFFFFFF, 3, 8_000, 1) + PCM


def raw(what: str, encoding: RawEncoding, subtype: str, snr_db: float | None) -> Case:
    """Make a case of samples without a header, of a format that is declared."""
    return Case(
        id=what,
        make=lambda: by_libsndfile("RAW", subtype),
        strict=Gives(sound=floats, snr_db=snr_db),
        raw=RawFormat(rate=8_000, encoding=encoding),
    )


def playlist(what: str, *lines: str) -> Case:
    """Make a case of a text that names files to read."""
    text = "\n".join([*lines, ""]).encode()
    return fails(what, text, UNSUPPORTED, "playlist|session description")


FOREIGN = (
    refused("38a W64", "W64"),
    refused("38b AU", "AU"),
    fails("38c AU of size -1", au_of_unknown_size(), UNSUPPORTED, "AU"),
    refused("38d AIFF", "AIFF"),
    fails(
        "38e bad AIFF",
        b"FORM\xff\xff\xff\xffAIFFCOMM\x00\x00\x00\x12" + bytes(18),
        UNSUPPORTED,
        "AIFF",
    ),
    refused("38f CAF", "CAF"),
    fails("38g bad CAF", b"caff\x00\x01\x00\x00" + b"\xff" * 64, UNSUPPORTED, "Core"),
    fails("39a HTML", HTML, NotAudioError, "HTML"),
    fails("39b JSON", b'{"error": "no such recording"}', NotAudioError, "JSON"),
    fails("39c XML", b'<?xml version="1.0"?>\n<Error/>', NotAudioError, "XML"),
    fails("39d text", b"No such recording.\n", NotAudioError, "text"),
    fails("40a ZIP", zipped("a.wav", riff(FORM, DATA)), NotAudioError, "ZIP"),
    fails(
        "40b gzip",
        gzip.compress(riff(FORM, DATA), mtime=0),
        NotAudioError,
        "gzip",
    ),
    fails("41a raw PCM", PCM, NotAudioError, "unknown binary data"),
    raw("41b raw PCM, declared", "pcm_s16le", "PCM_16", None),
    raw("41c raw mu-law, declared", "pcm_mulaw", "ULAW", 30),
    raw("41d raw A-law, declared", "pcm_alaw", "ALAW", 30),
    Case(
        id="41e no bytes, declared",
        make=bytes,
        strict=Fails(error=EmptyAudioError),
        raw=RawFormat(rate=8_000),
    ),
    Case(
        id="42a random",
        make=lambda: np.random.default_rng(42).bytes(100_000),
        strict=Fails(error=NotAudioError),
    ),
    fails("42b zeros", bytes(100_000), NotAudioError),
    fails("42c 0xFF", b"\xff" * 100_000, NotAudioError),
    playlist("43a ffconcat of a neighbour", "ffconcat version 1.0", "file victim.wav"),
    Case(
        id="43b ffconcat named .mp3",
        make=lambda: b"ffconcat version 1.0\nfile 'victim.wav'\n",
        strict=Fails(error=UNSUPPORTED, match="ffconcat"),
        name="call.mp3",
    ),
    playlist("44a ffconcat, absolute", "ffconcat version 1.0", "file /etc/hostname"),
    playlist("44b ffconcat, ..", "ffconcat version 1.0", "file ../victim.wav"),
    playlist("44c ffconcat, URL", "ffconcat version 1.0", "file http://127.0.0.1:9/"),
    playlist("45a m3u8, file", "#EXTM3U", "#EXTINF:1,", "file:///etc/hostname"),
    playlist("45b m3u8, URL", "#EXTM3U", "#EXTINF:1,", "http://169.254.169.254/a.ts"),
    playlist("46 SDP", "v=0", "o=- 0 0 IN IP4 127.0.0.1", "m=audio 9 RTP/AVP 0"),
)
