"""Uncompressed sound that comes in pieces: WAV files one after the other, or PCM."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, NamedTuple

from voicepipe.stream.assembler.header import (
    MAY_BEGIN,
    SIGNATURE,
    SIGNATURE_BYTES,
    UNKNOWN,
    HeaderParser,
)
from voicepipe.stream.riff import PCM, Form


if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any


_NAMES = (
    b"dataLISTid3 ID3 bextiXMLaxmlaXMLchnacue plstsmplinstfactPEAKJUNKjunkPAD FLLR"
    b"afspDISP_PMXcartacidstrclevlltxtnotelablminfelm1regnumidDGDAResUSAURMARKslnt"
)

# Chunks that stand behind the samples. Only these: what looks like any other may be
# sound that goes on behind an end declared too early.
_BEHIND = frozenset(_NAMES[at : at + 4] for at in range(0, len(_NAMES), 4))

# The longest of them that is believed, samples aside: what a wrong one says of itself
# is lost.
_MAX_BEHIND = 16 << 20


# Stretches of samples shorter than this are worth a copy, to have fewer.
_SMALL_BYTES = 1 << 12


class Run(NamedTuple):
    """
    Samples as they came.

    Attributes:
        form: What they are.
        data: Whole frames, at least one.
    """

    form: Form
    data: bytes | bytearray | memoryview


class PlainReader:
    """
    Reads WAV files one after the other, and samples without a header.

    A header begins a new file wherever it stands, also inside the samples: 16 bytes
    tell it. So up to 15 bytes that may be the first of one are held back, besides part
    of a frame. At the declared end of the samples come a new header, chunks of names
    that are known, or, if it is neither, more samples.

    Args:
        form: Of samples without a header, if that is how it begins.

    Attributes:
        container: ``"wav"`` or ``"raw"``.
        form: The current file's samples, ``None`` before the first are reached.
        files: How many have been begun.
        dropped_bytes: Bytes of samples that were no whole frame.
    """

    __slots__ = (
        "_frame",
        "_header",
        "_held",
        "_left",
        "_odd",
        "_sound",
        "container",
        "dropped_bytes",
        "files",
        "form",
    )

    def __init__(self, form: Form | None = None) -> None:
        """Expect a header, or samples."""
        self.container = "wav" if form is None else "raw"
        self.form: Form | None = form
        self.files = 0 if form is None else 1
        self.dropped_bytes: int = 0
        self._header: HeaderParser | None = HeaderParser() if form is None else None
        self._frame = 1 if form is None else frame_bytes(form)
        self._sound = True  # or a chunk behind it, read as frames of one byte
        self._left = UNKNOWN  # bytes to the end declared, from those held on
        self._odd = False  # whether a byte of padding may stand there
        self._held = b""

    @property
    def in_samples(self) -> bool:
        """Whether the next byte is expected to be sound."""
        return self._header is None and self._sound

    def take(self, data: bytes) -> tuple[bytes, int] | None:
        """
        Take bytes that are nothing but samples, fast.

        Returns:
            Whole frames, and how many bytes of them there are; ``None``, with nothing
            done, where it is not as simple as that, and ``push`` has to be called.
        """
        if self._held:
            data = self._held + data
        size = len(data)
        if (
            size > self._left
            or self._header is not None
            or not self._sound
            or b"WAVE" in data
            or MAY_BEGIN.search(data, size - SIGNATURE_BYTES + 1)
        ):
            return None
        whole = size - size % self._frame
        self._held = data[whole:] if whole < size else b""
        self._left -= whole
        return data, whole

    def push(self, data: bytes, /) -> list[Run]:
        """
        Take bytes, of any number of files; give their samples.

        Raises:
            AudioError: See ``HeaderParser.take``. The reader is of no more use: go on
                with a copy.
        """
        if self._held:
            data = self._held + data
        runs: list[Run] = []
        at, more = 0, True
        while more:
            if self._header is not None:
                at, more = self._read_header(self._header, data, at)
            elif self._left < self._frame:
                at, more = self._behind(data, at)
            else:
                at, more = self._samples(data, at, runs)
        self._held = data[at:]
        return runs

    def flush(self) -> list[Run]:
        """End it all; give what was held back, but for what is no whole frame."""
        held, self._held = self._held, b""
        if self._header is not None or not self._sound:
            return []
        begun = MAY_BEGIN.search(held)
        if begun is not None and len(begun[0]) >= 4:
            held = held[: begun.start()]  # a header, and nothing behind it
        rest = held[self._left :] if self._left < self._frame else b""
        if rest[:4] in _BEHIND or (self._odd and rest == b"\0"):
            held = held[: self._left]
        whole = len(held) - len(held) % self._frame
        self.dropped_bytes += len(held) - whole
        return [Run(self._known_form, held[:whole])] if whole else []

    def copy(self) -> PlainReader:
        """Give a reader that goes on from the same place."""
        other = PlainReader.__new__(PlainReader)
        for name in self.__slots__:
            value = getattr(self, name)
            # The header's parser is the only thing that changes in place.
            own = value.copy() if isinstance(value, HeaderParser) else value
            setattr(other, name, own)
        return other

    def state(self) -> dict[str, Any]:
        """Give all that is needed to go on, as JSON has it."""
        return {
            "container": self.container,
            "form": self.form,
            "files": self.files,
            "dropped_bytes": self.dropped_bytes,
            "header": None if self._header is None else self._header.state(),
            "sound": self._sound,
            "left": self._left,
            "odd": self._odd,
            "held": self._held.hex(),
        }

    @classmethod
    def restore(cls, state: Mapping[str, Any]) -> PlainReader:
        """Go on from what ``state`` gave."""
        form = None if state["form"] is None else Form(*state["form"])
        reader = cls(form)
        reader.container = state["container"]
        reader.files = state["files"]
        reader.dropped_bytes = state["dropped_bytes"]
        header = state["header"]
        reader._header = None if header is None else HeaderParser.restore(header)
        reader._sound = state["sound"]
        reader._frame = frame_bytes(form) if form and reader._sound else 1
        reader._left = state["left"]
        reader._odd = state["odd"]
        reader._held = bytes.fromhex(state["held"])
        return reader

    @property
    def _known_form(self) -> Form:
        assert self.form is not None  # noqa: S101 - for the type checker
        return self.form

    def _read_header(
        self, header: HeaderParser, data: bytes, at: int
    ) -> tuple[int, bool]:
        """Go on with a header; give where, and whether there is more to do."""
        at = header.take(data, at)
        if header.found is None:
            return at, False
        self.form, left = header.found
        self.container = "wav"
        self.files += 1
        self._header = None
        self._expect(left, sound=True)
        return at, True

    def _expect(self, left: int, *, sound: bool) -> None:
        """Expect so many bytes, of samples or of a chunk behind them."""
        self._sound = sound
        self._frame = frame_bytes(self._known_form) if sound else 1
        self._left = left
        self._odd = left % 2 == 1

    def _begin_file(self, new: int, dropped: int) -> tuple[int, bool]:
        if self._sound:
            self.dropped_bytes += dropped
        self._header = HeaderParser()
        return new, True

    def _samples(self, data: bytes, at: int, runs: list[Run]) -> tuple[int, bool]:
        """Give samples up to the declared end, or to a new header."""
        stop = end = min(len(data), at + self._left)
        new = _find_header(data, at, end)
        if new >= 0:
            stop = new
        else:
            held = MAY_BEGIN.search(data, max(at, len(data) - SIGNATURE_BYTES + 1))
            if held is not None and held.start() < end:
                stop = held.start()
        whole = (stop - at) // self._frame * self._frame
        if whole and self._sound:
            _append(runs, Run(self._known_form, memoryview(data)[at : at + whole]))
        at += whole
        self._left -= whole
        if new >= 0:
            return self._begin_file(new, new - at)
        return at, self._left < self._frame

    def _behind(self, data: bytes, at: int) -> tuple[int, bool]:
        """Decide what is at the declared end, which part of a frame may precede."""
        end = at + self._left
        last = end + 1 if self._odd else end  # where a header may begin
        new = SIGNATURE.search(data, at, last + SIGNATURE_BYTES)
        if new is not None:
            return self._begin_file(new.start(), min(new.start(), end) - at)
        begun = MAY_BEGIN.search(data, max(at, len(data) - SIGNATURE_BYTES + 1))
        if len(data) < end + 9 or (begun is not None and begun.start() <= last):
            return at, False
        chunk = end
        if self._odd and data[end] == 0 and data[end + 1 : end + 5] in _BEHIND:
            chunk = end + 1
        name, size = struct.unpack_from("<4sI", data, chunk)
        if name == b"data":
            self._drop_part(end - at)
            self._expect(HeaderParser().believed(size), sound=True)
            return chunk + 8, True
        if name in _BEHIND and size <= _MAX_BEHIND:
            self._drop_part(end - at)
            self._expect(size, sound=False)
            return chunk + 8, True
        self._expect(UNKNOWN, sound=True)
        return at, True

    def _drop_part(self, size: int) -> None:
        if self._sound:
            self.dropped_bytes += size


def _append(runs: list[Run], run: Run) -> None:
    """Append samples; join small ones, as a thousand small files in one push have."""
    if len(run.data) >= _SMALL_BYTES:
        runs.append(run)
    elif runs and isinstance(runs[-1].data, bytearray) and runs[-1].form == run.form:
        runs[-1].data.extend(run.data)
    else:
        runs.append(Run(run.form, bytearray(run.data)))


def frame_bytes(form: Form) -> int:
    """Give the bytes of one frame of uncompressed samples."""
    return form.channels * form.bits // 8


def headerless(rate: int, channels: int) -> PlainReader:
    """Make a reader of 16-bit samples without a header."""
    return PlainReader(Form(PCM, channels, rate, 16))


def _find_header(data: bytes, begin: int, end: int) -> int:
    """Find the first header that begins in a stretch and is whole; -1 for none."""
    at = data.find(b"WAVE", begin + 8, end + 11)
    while at >= 0:
        if SIGNATURE.match(data, at - 8):
            return at - 8
        at = data.find(b"WAVE", at + 1, end + 11)
    return -1
