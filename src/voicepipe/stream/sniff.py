"""
What kind of file some bytes begin, told by content and never by name.

The magic numbers are those of the formats' own specifications: RIFF WAVE (IBM and
Microsoft, 1991), RF64 and BW64 (EBU Tech 3306, ITU-R BS.2088), FLAC (RFC 9639), Ogg
(RFC 3533), MP4 (ISO/IEC 14496-12), Matroska and WebM (RFC 9559, over EBML, RFC 8794),
MPEG audio and ADTS (see ``stream.mpeg``); of what is refused, the list of file
signatures that ``file(1)`` ships.
"""

from __future__ import annotations

import codecs
import re
from typing import Literal, TypeAlias

from voicepipe.errors import (
    EmptyAudioError,
    NotAudioError,
    UnsupportedAudioError,
)
from voicepipe.stream.mpeg import (
    adts_frame,
    find_frames,
    id3v2_size,
    is_free_format,
    mpeg_frame,
)


Container: TypeAlias = Literal["wav", "flac", "ogg", "mp3", "aac", "mp4", "webm", "raw"]
"""
A kind of file that is read.

``wav``: RIFF, RF64 or BW64. ``mp3``: MPEG audio, any layer. ``aac``: AAC in ADTS.
``mp4``: also M4A, MOV and 3GP. ``webm``: also Matroska. ``raw``: samples without a
header, which no content can tell.
"""

HEAD_BYTES = 1 << 16
"""Bytes that ``sniff`` wants: it does not need more, and all there are do as well."""

WANTED = "WAV, FLAC, Ogg, MP3, AAC (ADTS), MP4/M4A or WebM/Matroska"
"""What is read, in words."""

# Recordings, or files that name some, of kinds that are refused: (offset, magic, name).
# Playlists most of all: a decoder that follows one reads files that nobody gave it.
_REFUSED: tuple[tuple[int, bytes, str], ...] = (
    (0, b"ffconcat", "an ffconcat playlist"),
    (0, b"#EXTM3U", "an M3U8 playlist"),
    (0, b"[playlist]", "a PLS playlist"),
    (0, b"v=0\n", "an SDP session description"),
    (0, b"v=0\r", "an SDP session description"),
    (0, b"RIFX", "RIFX (big-endian WAV)"),
    (0, b"riff\x2e\x91\xcf\x11", "Sony Wave64"),
    (0, b".snd\x00\x00", "AU"),
    (0, b"caff\x00\x01", "Core Audio"),
    (0, b"\x30\x26\xb2\x75\x8e\x66\xcf\x11", "ASF (WMA or WMV)"),
    (0, b"MThd\x00\x00", "MIDI"),
    (0, b"#!AMR", "AMR"),
    (0, b"#!SILK", "SILK"),
    (1, b"#!SILK", "SILK"),
    (0, b"ADIF", "AAC in ADIF"),
    (0, b"wvpk", "WavPack"),
    (0, b"MPCK", "Musepack"),
    (0, b"MP+\x07", "Musepack"),
    (0, b"TTA1", "True Audio"),
    (0, b"DSD \x1c", "DSF"),
    (0, b"NIST_1A\n", "NIST SPHERE"),
    (0, b"Creative Voice File\x1a", "Creative VOC"),
    (0, b".RMF", "RealMedia"),
    (0, b"FLV\x01", "Flash video"),
    (0, b"\x00\x00\x01\xba", "an MPEG programme stream"),
    (0, b"\x7f\xfe\x80\x01", "DTS"),
)

# Files that are no recordings.
_FOREIGN: tuple[tuple[int, bytes, str], ...] = (
    (0, b"PK\x03\x04", "a ZIP archive"),
    (0, b"PK\x05\x06", "a ZIP archive"),
    (0, b"\x1f\x8b\x08", "gzip data"),
    (4, b"1AY&SY", "bzip2 data"),
    (0, b"\xfd7zXZ\x00", "xz data"),
    (0, b"\x28\xb5\x2f\xfd", "Zstandard data"),
    (0, b"7z\xbc\xaf\x27\x1c", "a 7-Zip archive"),
    (0, b"Rar!\x1a\x07", "a RAR archive"),
    (257, b"ustar", "a tar archive"),
    (0, b"%PDF-", "a PDF document"),
    (0, b"\x89PNG\r\n\x1a\n", "a PNG image"),
    (0, b"\xff\xd8\xff", "a JPEG image"),
    (0, b"GIF87a", "a GIF image"),
    (0, b"GIF89a", "a GIF image"),
    (0, b"\x7fELF", "a program"),
    (0, b"MZ\x90\x00", "a program"),
    (0, b"SQLite format 3\x00", "an SQLite database"),
)

_MARKUP: tuple[tuple[str, str], ...] = (
    ("<!doctype html", "HTML"),
    ("<html", "HTML"),
    ("<head", "HTML"),
    ("<body", "HTML"),
    ("<?xml", "XML"),
    ("<", "markup"),
    ("{", "JSON"),
    ("[", "JSON"),
)

_FIRST_BOXES = frozenset(
    {b"ftyp", b"moov", b"mdat", b"free", b"skip", b"wide", b"styp", b"moof"}
)

_IMAGE_BRANDS = frozenset({b"heic", b"heix", b"mif1", b"msf1", b"avif", b"avis"})

_EBML_MAGIC = b"\x1a\x45\xdf\xa3"

# The element DocType (0x4282) with a one-byte length, and its value.
_DOC_TYPE = re.compile(rb"\x42\x82[\x81-\xff]([a-z0-9]+)")

# All control characters but tab, line feed, form feed, carriage return and escape.
_CONTROL = re.compile(rb"[\x00-\x08\x0b\x0e-\x1a\x1c-\x1f\x7f]")

# So much of a file shows that it is text.
_TEXT_BYTES = 512

_BOMS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)


def sniff(head: bytes, *, source: str | None = None) -> Container:
    """
    Tell which kind of recording a file is from its first bytes.

    An ID3v2 tag in front of MP3, AAC or FLAC is skipped. If it is longer than ``head``,
    call again with the bytes behind it (see ``mpeg.id3v2_size``): what comes after is
    then not known and taken for MP3. MP3 and AAC have no magic number worth the name;
    two frames have to agree, four where garbage comes first.

    Args:
        head: The first ``HEAD_BYTES`` bytes of the file, or all where it is shorter.
        source: The recording's name, for the errors only.

    Raises:
        EmptyAudioError: If there are no bytes.
        NotAudioError: If it is text, markup, an archive, an image, or unknown.
        UnsupportedAudioError: If it is a playlist, or a recording in a container that
            is refused.
    """
    if not head:
        raise EmptyAudioError("there are no bytes", source=source)
    kind = by_magic(head, source=source) or _behind_tags(head, source)
    if kind is not None:
        return kind
    raise _not_audio(text_kind(head) or "unknown binary data", source)


def by_magic(head: bytes, *, source: str | None = None) -> Container | None:
    """
    Tell what has a magic number; ``None`` for all else, MP3, AAC and text among it.

    Sixteen bytes are enough for all but a tar archive, which takes 262.

    Raises:
        NotAudioError: If it is an archive, an image, a program.
        UnsupportedAudioError: If it is a recording in a container that is refused.
    """
    _refuse(head, source)
    return _by_magic(head, source)


def text_kind(head: bytes) -> str | None:
    """Name the kind of text that a file begins with; ``None`` for binary data."""
    text = _text(head[:_TEXT_BYTES])
    return None if text is None else _name_text(text)


def _refuse(head: bytes, source: str | None) -> None:
    """Raise for what has a magic number and is not read."""
    for at, magic, name in _FOREIGN:
        if head.startswith(magic, at):
            raise _not_audio(name, source)
    start = head.removeprefix(codecs.BOM_UTF8).lstrip(b" \t\r\n")
    for at, magic, name in _REFUSED:
        if head.startswith(magic, at) or (at == 0 and start.startswith(magic)):
            raise _unsupported(name, source)


def _by_magic(head: bytes, source: str | None) -> Container | None:
    """Tell a container that has a magic number."""
    if head[:4] in {b"RIFF", b"RF64", b"BW64", b"FORM"}:
        return _riff(head[:4], head[8:12], source)
    if head.startswith(b"fLaC") and head[4:5] in {b"", b"\x00", b"\x80"}:
        return "flac"
    if head.startswith(b"OggS") and head[4:5] in {b"", b"\x00"}:
        return "ogg"
    if head.startswith(_EBML_MAGIC):
        return _ebml(head, source)
    if head[4:8] in _FIRST_BOXES and _CONTROL.search(head[:4]):
        if head[4:8] == b"ftyp" and head[8:12] in _IMAGE_BRANDS:
            raise _not_audio("an HEIF image", source)
        return "mp4"
    return None


def _riff(magic: bytes, form: bytes, source: str | None) -> Container:
    if magic != b"FORM" and form == b"WAVE":
        return "wav"
    if magic == b"FORM" and form in {b"AIFF", b"AIFC", b"8SVX"}:
        raise _unsupported(form.decode(), source)
    if form in {b"AVI ", b"RMID"}:
        raise _unsupported({b"AVI ": "AVI", b"RMID": "MIDI"}[form], source)
    raise _not_audio(f"an IFF file of the form {form.decode('latin-1')!r}", source)


def _ebml(head: bytes, source: str | None) -> Container:
    found = _DOC_TYPE.search(head, 0, 256)
    if found is None or found[1] in {b"webm", b"matroska"}:
        return "webm"
    raise _unsupported(f"EBML of the type {found[1].decode()!r}", source)


def _behind_tags(head: bytes, source: str | None) -> Container | None:
    """Tell what has frames only, and what may stand behind an ID3v2 tag."""
    at = 0
    while size := id3v2_size(head, at):
        at += size
    if at > 0 and at >= len(head):
        return "mp3"
    rest = head[at:]
    if at > 0 and rest.startswith(b"fLaC"):
        return "flac"
    # What begins as text is not searched: a web page may well hold frames.
    if _text(rest[:_TEXT_BYTES]) is not None:
        return None
    mp3 = find_frames(rest, mpeg_frame)
    # What begins with one is not searched for the other.
    aac = None if mp3 == 0 else find_frames(rest, adts_frame)
    if mp3 is None and aac is None and is_free_format(rest):
        raise _unsupported("MPEG audio of a free rate", source)
    if mp3 is None:
        return None if aac is None else "aac"
    return "mp3" if aac is None or mp3 <= aac else "aac"


def _text(head: bytes) -> str | None:
    """Give the head as text, ``None`` where it is binary."""
    for bom, encoding in _BOMS:
        if head.startswith(bom):
            return head[len(bom) :].decode(encoding, "replace")
    if _CONTROL.search(head):
        return None
    try:
        # Not final: the head may end inside a character.
        return codecs.getincrementaldecoder("utf-8")().decode(head)
    except UnicodeDecodeError:
        return None


def _name_text(text: str) -> str:
    start = text.lstrip().lower()
    for prefix, name in _MARKUP:
        if start.startswith(prefix):
            return name
    return "text"


def _not_audio(what: str, source: str | None) -> NotAudioError:
    return NotAudioError(f"not a recording but {what}", source=source)


def _unsupported(what: str, source: str | None) -> UnsupportedAudioError:
    return UnsupportedAudioError(
        f"{what} is not supported; wanted {WANTED}",
        source=source,
        got=what,
        wanted=WANTED,
    )
