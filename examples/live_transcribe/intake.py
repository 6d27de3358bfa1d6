"""What a client sends as sound: bytes in, 16-bit samples out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import anyio.to_thread
import numpy as np

from voicepipe import AudioError, ChunkAssembler


if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    import numpy.typing as npt

    from voicepipe import DecoderFactory


# Bytes decoded at a time: 4 KiB of FLAC may unfold to 38 MB of silence.
_SLICE = 4_096

# Seconds of sound that are handed on at a time, so that a whole recording in one
# message is never there as samples.
_BLOCK_S = 5.0

_EBML = b"\x1a\x45\xdf\xa3"
_OGG_BEGINS = 2


def begins_file(data: bytes) -> bool:
    """
    Tell whether bytes begin a file, and so a recording.

    WAV (RIFF and its kin), WebM (RFC 8794, section 11.2.1), Ogg's first page (RFC 3533,
    section 6), FLAC, MP3 behind a tag.
    """
    if data[:4] in {b"RIFF", b"RF64", b"BW64"}:
        return data[8:12] == b"WAVE"
    if data[:4] == b"OggS":
        return len(data) > 5 and bool(data[5] & _OGG_BEGINS)
    return data.startswith((_EBML, b"fLaC", b"ID3"))


class Intake(Protocol):
    """Takes the bytes of one recording."""

    def take(self, data: bytes) -> AsyncGenerator[npt.NDArray[np.int16], None]:
        """
        Give the samples of some bytes, a few seconds at a time.

        Raises:
            AudioError: If they are no sound; what comes later may be.
        """
        ...

    async def drain(self) -> npt.NDArray[np.int16]:
        """Give what is held back, though more may come."""
        ...

    def close(self) -> None:
        """Let go of decoders."""
        ...


class Samples:
    """
    16-bit little-endian samples without a header: binary messages.

    Args:
        channels: How many there are.
    """

    def __init__(self, channels: int) -> None:
        """Hold nothing back."""
        self._channels = channels
        self._rest = b""

    async def take(self, data: bytes) -> AsyncGenerator[npt.NDArray[np.int16], None]:
        """Give the samples; a part of a frame waits for the next message."""
        data = self._rest + data if self._rest else data
        size = 2 * self._channels
        whole = len(data) - len(data) % size
        self._rest = data[whole:]
        if whole:
            yield np.frombuffer(data[:whole], "<i2").reshape(-1, self._channels)

    async def drain(self) -> npt.NDArray[np.int16]:
        """Give nothing: half a sample is none."""
        return np.zeros((0, self._channels), np.int16)

    def close(self) -> None:
        """Have nothing to let go of."""


class Files:
    """
    Pieces of a WAV, WebM, Ogg, FLAC, MP3 or AAC file, or samples; content decides.

    What comes out does not depend on how the bytes were cut.

    Args:
        rate: Frames per second wanted, Hz.
        channels: Number of channels wanted.
        decoders: Where compressed packets are decoded.
    """

    def __init__(self, rate: int, channels: int, decoders: DecoderFactory) -> None:
        """Expect anything."""
        self._rate = rate
        self._channels = channels
        self._decoders = decoders
        self._block = round(_BLOCK_S * rate)
        self._assembler = self._fresh()
        # After a drain: how to go on, and how many of the next frames were given then.
        self._snapshot: bytes | None = None
        self._known = 0

    async def take(self, data: bytes) -> AsyncGenerator[npt.NDArray[np.int16], None]:
        """
        Give the samples, a few seconds at a time.

        Raises:
            AudioError: If the bytes are no sound.
        """
        at = 0
        while at < len(data):
            if self._snapshot is None and self._known == 0 and self._assembler.light:
                given, at = list(self._assembler.push(data[at:])), len(data)
            else:
                given, at = await anyio.to_thread.run_sync(self._decode, data, at)
            for samples in given:
                for begin in range(0, len(samples), self._block):
                    yield samples[begin : begin + self._block]

    async def drain(self) -> npt.NDArray[np.int16]:
        """Give what is held back; if more comes, it is not given again."""
        return await anyio.to_thread.run_sync(self._drain)

    def close(self) -> None:
        """Give the decoder back."""
        self._assembler.close()

    def _fresh(self) -> ChunkAssembler:
        return ChunkAssembler(
            rate=self._rate, channels=self._channels, decoders=self._decoders
        )

    def _decode(self, data: bytes, at: int) -> tuple[list[npt.NDArray[np.int16]], int]:
        """Decode until there is something to hand on."""
        if self._snapshot is not None:
            self._assembler = ChunkAssembler.restore(
                self._snapshot, decoders=self._decoders
            )
            self._snapshot = None
        given: list[npt.NDArray[np.int16]] = []
        frames = 0
        try:
            while at < len(data) and frames < self._block:
                for samples in self._assembler.push(data[at : at + _SLICE]):
                    new = samples[self._known :]
                    self._known -= len(samples) - len(new)
                    given.append(new)
                    frames += len(new)
                at += _SLICE
        except AudioError:
            if self._assembler.broken:
                self._assembler.close()
                self._assembler, self._known = self._fresh(), 0
            raise
        return given, at

    def _drain(self) -> npt.NDArray[np.int16]:
        held = [np.zeros((0, self._channels), np.int16)]
        if self._snapshot is None:
            try:
                self._snapshot = self._assembler.snapshot()
                held += self._assembler.flush()
            except (AudioError, ValueError):
                # What is held back is no sound, or too much to be kept for later.
                pass
            finally:
                self._assembler.close()
        if self._snapshot is None:
            self._assembler, self._known = self._fresh(), 0
            return held[0]
        tail = np.concatenate(held)
        new = tail[self._known :]
        self._known = max(self._known, len(tail))
        return new
