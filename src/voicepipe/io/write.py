"""Sound written to files: a recording standardized, or sound from memory."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING

import anyio
import anyio.to_thread

from voicepipe.io.convert import Order
from voicepipe.io.isolated import open_conversion, ward
from voicepipe.io.options import DEFAULTS
from voicepipe.io.steps import Steps
from voicepipe.io.wav.writer import WavWriter
from voicepipe.types.audio import WavFile


if TYPE_CHECKING:
    import os
    from collections.abc import Generator

    from voicepipe.io.isolated import Ward
    from voicepipe.io.options import DecodeOptions
    from voicepipe.io.source import AudioSource
    from voicepipe.proc.pool import ChildPool
    from voicepipe.types.audio import Audio, DecodeReport


# Frames that are written in one go.
_WRITE_FRAMES = 1 << 16


async def standardize(
    src: AudioSource,
    dst: str | os.PathLike[str],
    *,
    rate: int = 16_000,
    channels: int | None = 1,
    channel: int | None = None,
    options: DecodeOptions = DEFAULTS,
) -> WavFile:
    """
    Convert a recording to a 16-bit PCM WAV file, RF64 where it has more than 4 GiB.

    The file appears under its name when it is whole and safe on disk, and replaces one
    of that name. A symbolic link there is replaced, not followed. After an error or a
    cancellation the target is as it was, and nothing is left beside it. ``src`` and
    ``dst`` may be the same path.

    Args:
        src: See ``read_audio``.
        dst: Where to write; the directory must exist.
        rate: Frames per second to write, 4,000 to 192,000.
        channels: 1 for the mean of all channels, or as many as the source has; ``None``
            for the source's own.
        channel: Write this channel alone, counted from 0; leave ``channels`` at 1.
        options: What to accept.

    Returns:
        What was written; its ``report`` tells what decoding has shown.

    Raises:
        OSError: If the source cannot be read or the target not be written.
        DiskFullError: If there is no space left.
        UnsupportedAudioError: Also if there is no such channel.
        AudioError: As ``read_audio``.
        ValueError: If an argument is out of its range.

    Cancellation: takes effect within about 100 ms, except while the finished file is
    being flushed to disk; then it is there, and whole.
    """
    if channel is not None and (channels != 1 or channel < 0):
        msg = f"channel must be at least 0, with channels=1: {channel}, {channels}"
        raise ValueError(msg)
    order = Order(
        source=src, options=options, rate=rate, channels=channels, channel=channel
    )
    return await standardized(order, dst)


async def write_wav(path: str | os.PathLike[str], audio: Audio) -> WavFile:
    """
    Write sound as a 16-bit PCM WAV file; whole or not at all, as ``standardize`` does.

    Args:
        path: Where to write; the directory must exist.
        audio: What to write.

    Returns:
        What was written.

    Raises:
        OSError: If the file cannot be written.
        DiskFullError: If there is no space left.
        ValueError: If the rate or the number of channels is out of its range.

    Cancellation: as ``standardize``.
    """
    result = await Steps(_write(path, audio)).result()
    assert result is not None  # noqa: S101 - the last item is the file
    return result


async def standardized(
    order: Order, dst: str | os.PathLike[str], pool: ChildPool | None = None
) -> WavFile:
    """
    Carry out an order for ``standardize``.

    Args:
        order: The recording, and what it is to become.
        dst: Where to write.
        pool: Whose helper decodes it; by default as the options say.
    """
    target = _Target(dst)
    try:
        async with ward(order, pool) as guard:
            report = await Steps(_convert(order, target, guard), guard).result()
        # The helper is free for the next recording while this one goes to disk.
        return await anyio.to_thread.run_sync(target.finish, report)
    finally:
        with anyio.CancelScope(shield=True):
            await anyio.to_thread.run_sync(target.close)


class _Target:
    """The file to write: there when it is finished, else as if nothing had been."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self._path = path
        self._writer: WavWriter | None = None

    def begin(self, rate: int, channels: int) -> WavWriter:
        """Create the file under another name."""
        writer = WavWriter(self._path, rate=rate, channels=channels, atomic=True)
        self._writer = writer
        return writer

    def finish(self, report: DecodeReport | None) -> WavFile:
        """Bring it to disk and give it its name."""
        assert self._writer is not None  # noqa: S101 - for the type checker
        self._writer.close()
        return _written(self._writer, report)

    def close(self) -> None:
        """Remove what is not finished."""
        if self._writer is not None:
            self._writer.discard()


def _convert(
    order: Order, target: _Target, guard: Ward | None
) -> Generator[DecodeReport | None, None, None]:
    # Closed before the file gets its name: Windows does not replace an open one.
    with (
        open_conversion(order, guard, as_pcm16=True) as conversion,
        closing(conversion.pieces()) as pieces,
    ):
        writer = target.begin(conversion.rate, conversion.channels)
        for piece in pieces:
            writer.write(piece)
            yield None
        yield conversion.report


def _write(
    path: str | os.PathLike[str], audio: Audio
) -> Generator[WavFile | None, None, None]:
    rate, channels = audio.rate, audio.channels
    with WavWriter(path, rate=rate, channels=channels, atomic=True) as writer:
        for at in range(0, audio.frames, _WRITE_FRAMES):
            writer.write(audio.samples[at : at + _WRITE_FRAMES])
            yield None
    yield _written(writer, audio.report)


def _written(writer: WavWriter, report: DecodeReport | None) -> WavFile:
    assert writer.path is not None  # noqa: S101 - for the type checker
    return WavFile(
        path=writer.path,
        rate=writer.rate,
        channels=writer.channels,
        frames=writer.frames,
        report=report,
    )
