"""
What a stream holds, told by its first bytes, as few of them as can be.

A decision must not depend on how the bytes were cut. So it is a generator that says how
many it wants to see and is given exactly as many, and the numbers it asks for depend on
the bytes alone.
"""

from __future__ import annotations

import codecs
import re
from typing import TYPE_CHECKING, Generic, Literal, NamedTuple, TypeAlias, TypeVar

from voicepipe.errors import AudioError, NotAudioError, UnsupportedAudioError
from voicepipe.stream.mpeg import (
    HEADER_BYTES,
    FrameParser,
    adts_frame,
    find_frames,
    id3v2_size,
    is_free_format,
    mpeg_frame,
)
from voicepipe.stream.sniff import by_magic, text_kind


if TYPE_CHECKING:
    from collections.abc import Callable, Generator


T = TypeVar("T")

MAY_BE_CODED = (b"fLaC", b"ID3", b"\xff", b"\x1a\x45\xdf\xa3", b"OggS")
"""
What compressed sound begins with: FLAC, a tag, the sync word of MPEG frames and ADTS,
WebM, Ogg.

Frames behind something else are looked for only where the client says MP3 or AAC.
"""

StreamFormat: TypeAlias = Literal["wav", "mp3", "flac", "aac"]
"""
What a client says it sends; what it does send, the content tells.

WebM and Ogg are not among them: they cannot be taken for anything else.
"""

HELD_BYTES = 1 << 16
"""Most bytes that are held back to tell what they are."""

WANTED = (
    "WAV, MP3, FLAC, AAC (ADTS), Opus in WebM or Ogg, or 16-bit samples with no header"
)
"""What a stream may hold, in words."""

# Enough for every magic number but that of a tar archive, which is at 257.
_MAGIC_BYTES = 16
_TAR_BYTES = 512

# Sound has a sample near zero, or of great size, among so many: a byte no text has.
_TEXT_BYTES = 64

# Frames that have to agree at the very beginning. Two, where the client says that it
# sends such frames; else they may be samples, of which a stream can begin with any.
_RUN, _RUN_UNASKED = 2, 4

# Where frames behind garbage are looked for, if nothing better is known.
_SEARCHED = (4_096, 16_384, HELD_BYTES)

_Streamed: TypeAlias = Literal["wav", "flac", "webm", "ogg"]

# What has a magic number.
_STREAMED: dict[str, _Streamed] = {
    "wav": "wav",
    "flac": "flac",
    "webm": "webm",
    "ogg": "ogg",
}

# A page of Ogg that begins a stream; others may be where a connection was cut.
_OGG_BEGINS = re.compile(rb"OggS.[\x02\x06]", re.DOTALL)

_PARSERS: tuple[tuple[Literal["mp3", "aac"], FrameParser], ...] = (
    ("mp3", mpeg_frame),
    ("aac", adts_frame),
)


class Verdict(NamedTuple):
    """
    What some bytes begin.

    Attributes:
        kind: A stream, samples without a header, or an ID3v2 tag before something else.
        skip: Bytes in front that belong to no frame; of a tag, its length.
    """

    kind: Literal["wav", "pcm", "id3", "mp3", "aac", "flac", "webm", "ogg"]
    skip: int = 0


Judge: TypeAlias = "Generator[int, bytes, T]"
"""
Asks for a number of first bytes, larger each time, and is sent as many.

Fewer are sent only when there will be no more.
"""


class Look(Generic[T]):
    """
    Holds the first bytes back until a judge has decided.

    Args:
        make: Makes the judge.
        head: Bytes that it has seen without a decision.

    Attributes:
        head: The bytes held.
    """

    def __init__(self, make: Callable[[], Judge[T]], head: bytes = b"") -> None:
        """Begin with the judge's first wish."""
        self._make = make
        self._judge = make()
        self._wanted = next(self._judge)
        self.head: bytearray = bytearray()
        self.push(head)

    def push(self, data: bytes) -> T | None:
        """
        Take bytes; give the verdict, ``None`` while more are wanted.

        Raises:
            AudioError: If they are refused; ``rewind`` makes it undone.
        """
        self.head += data
        while len(self.head) >= self._wanted:
            try:
                self._wanted = self._judge.send(bytes(self.head[: self._wanted]))
            except StopIteration as stop:
                verdict: T = stop.value
                return verdict
        return None

    def finish(self) -> T:
        """
        Decide with what is there.

        Raises:
            AudioError: If it is refused.
        """
        while True:
            try:
                self._judge.send(bytes(self.head))
            except StopIteration as stop:
                verdict: T = stop.value
                return verdict

    def rewind(self, size: int) -> None:
        """Go back to where so many bytes were held, without a decision."""
        head = bytes(self.head[:size])
        self._judge = self._make()
        self._wanted = next(self._judge)
        self.head = bytearray()
        self.push(head)


def judge_stream(hint: StreamFormat, *, tagged: bool = False) -> Judge[Verdict]:
    """
    Tell what a stream is.

    Args:
        hint: What the client says it sends. It decides how much proof MPEG frames want,
            and whether they are looked for behind garbage: bytes that are nothing else
            may always be samples.
        tagged: Whether an ID3v2 tag stood in front: then it is no samples.

    Raises:
        NotAudioError: If it is text, an archive, an image.
        UnsupportedAudioError: If it is a recording of a kind that is not read.
    """
    head = yield _MAGIC_BYTES
    if size := id3v2_size(head):
        return Verdict("id3", size)
    kind = _streamed(head, tagged=tagged)
    if kind is not None:
        return Verdict(kind)
    frames = yield from _frames(head, hint, sure=tagged)
    if frames is not None:
        return Verdict(frames)
    if not tagged:
        _refuse_text((yield _TEXT_BYTES))
        by_magic((yield _TAR_BYTES))
    if tagged or hint in {"mp3", "aac"}:
        for wanted in _SEARCHED:
            head = yield wanted
            found = _search(head)
            if found is not None:
                return found
    return Verdict("mp3" if tagged else "pcm")


def judge_restart(hint: StreamFormat, *, current: str, strict: bool) -> Judge[bool]:
    """
    Tell whether a connection begins a new file, or goes on with the old one.

    Args:
        hint: What the client says it sends.
        current: What the old one is: frames of MP3 are no new file in MP3.
        strict: Whether the old one goes on with samples, so that what is neither them
            nor a new file is an error; elsewhere it may be part of a tag, a picture.

    Raises:
        NotAudioError: If it is text, an archive, an image; only if strict.
        UnsupportedAudioError: If it is a recording of a kind that is not read; only if
            strict.
    """
    head = yield _MAGIC_BYTES
    if id3v2_size(head):
        return True
    try:
        kind = _streamed(head, tagged=False)
        if kind == "ogg" == current and not _OGG_BEGINS.match(head):
            return False
        if kind is not None:
            return True
    except AudioError:
        if strict:
            raise
        return False
    if (yield from _frames(head, hint)) not in {None, current}:
        return True
    if strict and _is_text(head):
        _refuse_text((yield _TEXT_BYTES))
    return False


def _streamed(head: bytes, *, tagged: bool) -> _Streamed | None:
    """Tell a stream that has a magic number."""
    if tagged:
        return "flac" if head.startswith(b"fLaC") else None
    kind = by_magic(head)
    if kind == "mp4":
        raise _unsupported("MP4")
    return None if kind is None else _STREAMED[kind]


def _frames(
    head: bytes, hint: StreamFormat, *, sure: bool = False
) -> Generator[int, bytes, Literal["mp3", "aac"] | None]:
    """Tell frames that stand at the very beginning."""
    run = _RUN if sure or hint in {"mp3", "aac"} else _RUN_UNASKED
    for name, parse in _PARSERS:
        first = frame = parse(head, 0)
        at = 0
        for count in range(1, run + 1):
            if first is None or frame is None or frame.kind != first.kind:
                break
            at += frame.length
            if count == run:
                return name
            head = yield at + HEADER_BYTES
            if len(head) < at + HEADER_BYTES:  # there is no more
                return name if sure or hint == name else None
            frame = parse(head, at)
    return None


def _search(head: bytes) -> Verdict | None:
    """Look for frames behind garbage."""
    if is_free_format(head):
        raise _unsupported("MPEG audio of a free rate")
    found = [
        Verdict(name, at)
        for name, parse in _PARSERS
        if (at := find_frames(head, parse)) is not None
    ]
    return min(found, key=lambda verdict: verdict.skip, default=None)


def _refuse_text(head: bytes) -> None:
    if _is_text(head):
        what = text_kind(head)
        raise NotAudioError(f"not a recording but {what}")


def _is_text(head: bytes) -> bool:
    """Tell whether it is text, more surely than whole files need."""
    for bom in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE):
        # Samples may well begin with these two bytes.
        if head.startswith(bom):
            return head.decode("utf-16", "replace").isascii()
    return text_kind(head) is not None


def _unsupported(what: str) -> UnsupportedAudioError:
    return UnsupportedAudioError(
        f"{what} is not supported in a stream; wanted {WANTED}",
        got=what,
        wanted=WANTED,
    )
