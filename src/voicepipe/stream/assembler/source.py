"""One stream's files: told apart, and each given to what reads it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from voicepipe.errors import AudioError
from voicepipe.stream.assembler.convert import check_source
from voicepipe.stream.assembler.detect import (
    Look,
    StreamFormat,
    Verdict,
    judge_restart,
    judge_stream,
)
from voicepipe.stream.assembler.plain import PlainReader, headerless
from voicepipe.stream.assembler.sound import format_of
from voicepipe.stream.packets.readers import open_reader, restore_reader


if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from voicepipe.stream.assembler.reader import Reader
    from voicepipe.stream.assembler.sound import Sound
    from voicepipe.stream.packets.decoder import DecoderFactory
    from voicepipe.stream.packets.readers import PacketCodec


# A compressed file's reader gives back what belongs to the next one: in small pieces,
# so that a push of many tiny files does not copy the rest of it for each.
_PIECE_BYTES = 1 << 16


class _Counts(NamedTuple):
    """What files that are over have come to."""

    files: int = 0
    dropped_bytes: int = 0
    damaged_frames: int = 0

    def plus(self, files: int = 0, dropped: int = 0, damaged: int = 0) -> _Counts:
        return _Counts(
            self.files + files,
            self.dropped_bytes + dropped,
            self.damaged_frames + damaged,
        )


class _Compressed(NamedTuple):
    """A compressed file that is being read."""

    container: PacketCodec
    reader: Reader


class _State(NamedTuple):
    """All that a push may change; readers and looks are changed in place."""

    reader: PlainReader | _Compressed | None
    look: Look[Verdict] | None
    look_bytes: int
    restart: Look[bool] | None
    restart_bytes: int
    tag: int
    tagged: bool
    counts: _Counts
    last: tuple[str, str]


class Source:
    """
    Tells what a stream holds, and reads it: bytes in, sound out.

    Args:
        session: Rate and channels of samples that come without a header; a file must
            have as many channels, or one of the two only one.
        hint: What the client says it sends.
        decoders: Where compressed packets are decoded.

    Attributes:
        broken: Whether an error could not be undone, because a compressed file's
            decoder had gone on: nothing more can be read.
    """

    def __init__(
        self, session: tuple[int, int], hint: StreamFormat, decoders: DecoderFactory
    ) -> None:
        """Expect anything."""
        self._session = session
        self._hint: StreamFormat = hint
        self._decoders = decoders
        self.broken: bool = False
        self._reader: PlainReader | _Compressed | None = None
        self._look: Look[Verdict] | None = None
        self._restart: Look[bool] | None = None
        self._tag = 0  # bytes of an ID3v2 tag still to pass over
        self._tagged = False
        self._counts = _Counts()
        self._last = "", ""
        self._touched = False

    @property
    def plain(self) -> PlainReader | None:
        """The reader of uncompressed sound that the next bytes go to, if to one."""
        if self._restart is None and isinstance(self._reader, PlainReader):
            return self._reader
        return None

    @property
    def begins(self) -> bool:
        """Whether a stream or a connection begins, and no decoder is at work."""
        reader = self._reader
        if isinstance(reader, PlainReader):
            return self._restart is not None and not self._restart.head
        return reader is None and self._look is None and not self._tag

    @property
    def current(self) -> tuple[str, str]:
        """Container and codec of the current file, or of the last one."""
        reader = self._reader
        if isinstance(reader, PlainReader):
            codec = None if reader.form is None else reader.form.codec
            return reader.container, codec or ""
        if reader is None:
            return self._last
        return reader.container, reader.reader.codec

    @property
    def counts(self) -> _Counts:
        """Files begun, bytes dropped and frames damaged, the current file's too."""
        reader = self._reader
        if reader is None:
            return self._counts
        if isinstance(reader, PlainReader):
            return self._counts.plus(reader.files, reader.dropped_bytes)
        counts = reader.reader.counts()
        return self._counts.plus(0, counts["dropped_bytes"], counts["damaged_frames"])

    def push(self, data: bytes) -> list[Sound]:
        """
        Take bytes; give the sound in them. After an error all is as before.

        Raises:
            AudioError: If they are refused, damaged, or too much for the decoder. If
                ``broken`` is true then, it could not be undone.
        """
        before = self._save()
        try:
            sounds = self._take(data)
            self._check(sounds)
        except BaseException:
            self._undo(before)
            raise
        return sounds

    def restart(self) -> list[Sound]:
        """Begin another connection: a header may come, and then begins a new file."""
        sounds = self._settle()
        if self._reader is not None or self._look is not None or self._tag:
            self._restart = self._new_restart()
        return sounds

    def flush(self) -> list[Sound]:
        """
        End the stream; give what waited.

        Raises:
            AudioError: If the decoder of a compressed file fails; ``broken`` is true.
        """
        sounds = self._settle()
        look, self._look = self._look, None
        if look is not None:
            sounds += self._finish(look)
        before = self._save()
        try:
            self._end_file(sounds)
            self._check(sounds)
        except BaseException:
            self._undo(before)
            raise
        return sounds

    def close(self) -> None:
        """Give the decoder back; harmless twice."""
        if isinstance(self._reader, _Compressed):
            self._reader.reader.close()

    def state(self) -> tuple[dict[str, Any], list[bytes]]:
        """Give all that is needed to go on: what JSON has, and three raw parts."""
        reader = self._reader
        kind: object = None
        part = b""
        if isinstance(reader, PlainReader):
            kind = reader.state()
        elif reader is not None:
            kind, part = reader.container, reader.reader.snapshot()
        fields = {
            "reader": kind,
            "look": self._look is not None,
            "restart": self._restart is not None,
            "tag": self._tag,
            "tagged": self._tagged,
            "counts": self._counts,
            "last": self._last,
        }
        look, restart = self._look, self._restart
        heads = [b"" if held is None else bytes(held.head) for held in (look, restart)]
        return fields, [*heads, part]

    def resume(self, fields: Mapping[str, Any], parts: Sequence[bytes]) -> None:
        """
        Go on from what ``state`` gave; the source must be new.

        Raises:
            ValueError: If it is not what ``state`` gave.
        """
        look, restart, part = parts
        self._tag, self._tagged = fields["tag"], fields["tagged"]
        self._counts = _Counts(*fields["counts"])
        container, codec = fields["last"]
        self._last = container, codec
        reader = fields["reader"]
        if isinstance(reader, dict):
            self._reader = PlainReader.restore(reader)
        elif reader is not None:
            opened = restore_reader(reader, part, self._decoders)
            self._reader = _Compressed(reader, opened)
        if fields["look"]:
            self._look = self._new_look(look)
        if fields["restart"]:
            self._restart = self._new_restart(restart)

    def _take(self, data: bytes) -> list[Sound]:
        sounds: list[Sound] = []
        at = 0
        while at < len(data):
            whole = self.plain is not None
            piece = data[at:] if whole else data[at : at + _PIECE_BYTES]
            at += len(piece)
            while piece:
                piece = self._feed(piece, sounds)
        return sounds

    def _feed(self, data: bytes, sounds: list[Sound]) -> bytes:
        """Do one thing with some bytes; give those that are left."""
        if self._restart is not None:
            return self._look_for_file(self._restart, data, sounds)
        if self._tag:
            passed = min(self._tag, len(data))
            self._tag -= passed
            return data[passed:]
        if isinstance(self._reader, PlainReader):
            sounds += self._reader.push(data)
            return b""
        if self._reader is not None:
            return self._decode(self._reader.reader, data, sounds)
        if self._look is None:
            self._look = self._new_look()
        verdict = self._look.push(data)
        return b"" if verdict is None else self._open(verdict, self._look)

    def _look_for_file(
        self, restart: Look[bool], data: bytes, sounds: list[Sound]
    ) -> bytes:
        begins = restart.push(data)
        if begins is None:
            return b""
        self._restart = None
        if begins:
            self._end_file(sounds)
        return bytes(restart.head)

    def _open(self, verdict: Verdict, look: Look[Verdict]) -> bytes:
        """Begin what the first bytes are; give these, but for garbage."""
        head = bytes(look.head)
        self._look, self._tagged = None, verdict.kind == "id3"
        if verdict.kind == "id3":
            self._tag = verdict.skip
            return head
        if verdict.kind == "wav":
            self._reader = PlainReader()
        elif verdict.kind == "pcm":
            self._reader = headerless(*self._session)
        else:
            opened = open_reader(verdict.kind, self._decoders)
            self._reader = _Compressed(verdict.kind, opened)
            self._counts = self._counts.plus(files=1, dropped=verdict.skip)
        return head[verdict.skip :]

    def _decode(self, reader: Reader, data: bytes, sounds: list[Sound]) -> bytes:
        self._touched = True
        sounds += reader.push(data)
        if reader.ended is None:
            return b""
        rest = reader.ended
        self._end_file(sounds)
        return rest

    def _end_file(self, sounds: list[Sound]) -> None:
        """End what is being read, whatever it is."""
        reader = self._reader
        if isinstance(reader, PlainReader):
            sounds += reader.flush()
        elif reader is not None:
            self._touched = True
            sounds += reader.reader.flush()
        if self._look is not None:
            self._counts = self._counts.plus(dropped=len(self._look.head))
        self._counts, self._last = self.counts, self.current
        self.close()
        self._reader = self._look = None
        self._tag, self._tagged = 0, False

    def _settle(self) -> list[Sound]:
        """Decide what the first bytes of a connection are, with what is there."""
        restart, self._restart = self._restart, None
        if restart is None or not restart.head:
            return []
        head = bytes(restart.head)
        sounds: list[Sound] = []
        before = self._save()
        try:
            if restart.finish():
                self._end_file(sounds)
                self._check(sounds)
        except AudioError as exc:
            return self._dropped(head, before, exc)
        before = self._save()
        try:
            return sounds + self.push(head)
        except AudioError as exc:
            return sounds + self._dropped(head, before, exc)

    def _finish(self, look: Look[Verdict]) -> list[Sound]:
        """Read the first bytes of a stream that has ended behind them."""
        before = self._save()
        try:
            sounds = self._take(self._open(look.finish(), look))
            self._check(sounds)
        except AudioError as exc:
            return self._dropped(bytes(look.head), before, exc)
        return sounds

    def _dropped(self, head: bytes, before: _State, exc: AudioError) -> list[Sound]:
        """Go on without some bytes, unless their error cannot be undone."""
        if not self.broken:
            self._undo(before)
        if self.broken:
            raise exc
        self._counts = self._counts.plus(dropped=len(head))
        return []

    def _check(self, sounds: Sequence[Sound]) -> None:
        """Refuse sound that cannot be put into the session."""
        for rate, channels in dict.fromkeys(map(format_of, sounds)):
            check_source(rate, channels, self._session[1])

    def _new_look(self, head: bytes = b"") -> Look[Verdict]:
        hint, tagged = self._hint, self._tagged
        return Look(lambda: judge_stream(hint, tagged=tagged), head)

    def _new_restart(self, head: bytes = b"") -> Look[bool]:
        hint, reader = self._hint, self._reader
        strict = isinstance(reader, PlainReader) and reader.in_samples
        current = self.current[0] if reader is not None else ""
        return Look(lambda: judge_restart(hint, current=current, strict=strict), head)

    def _save(self) -> _State:
        self._touched = False
        reader, look, restart = self._reader, self._look, self._restart
        return _State(
            reader.copy() if isinstance(reader, PlainReader) else reader,
            look,
            0 if look is None else len(look.head),
            restart,
            0 if restart is None else len(restart.head),
            self._tag,
            self._tagged,
            self._counts,
            self._last,
        )

    def _undo(self, before: _State) -> None:
        """Go back, unless a decoder that was there before has gone on."""
        if self._reader is not before.reader:
            self.close()
        if self._touched and isinstance(before.reader, _Compressed):
            before.reader.reader.close()
            self.broken = True
            return
        self._reader, self._look = before.reader, before.look
        self._restart, self._tag = before.restart, before.tag
        self._tagged, self._counts = before.tagged, before.counts
        self._last = before.last
        if self._look is not None:
            self._look.rewind(before.look_bytes)
        if self._restart is not None:
            self._restart.rewind(before.restart_bytes)
