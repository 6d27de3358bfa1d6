"""Reading, iterating, standardizing and writing recordings."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from voicepipe.errors import UnsupportedAudioError
from voicepipe.io.atomic import AtomicFile
from voicepipe.io.decode import open_audio
from voicepipe.io.options import DEFAULTS
from voicepipe.io.samples import to_valid
from voicepipe.io.steps import Steps
from voicepipe.io.wav.writer import WavWriter
from voicepipe.stream.resample import Resampler
from voicepipe.types.audio import Audio, WavFile


if TYPE_CHECKING:
    import os
    from collections.abc import AsyncGenerator, Callable, Generator, Iterator

    from voicepipe.io.decode import AudioReader
    from voicepipe.io.options import DecodeOptions
    from voicepipe.io.source import AudioSource
    from voicepipe.types.audio import Samples


# Frames that are written in one go.
_WRITE_FRAMES = 1 << 16


async def read_audio(
    source: AudioSource,
    *,
    rate: int | None = None,
    channels: int | None = None,
    options: DecodeOptions = DEFAULTS,
) -> Audio:
    """
    Read a whole recording.

    Takes 4 bytes of memory for each sample, and as much again for a moment at the end;
    ``iter_audio`` takes the same whatever the length.

    Args:
        source: A path, the bytes of a whole file, or a binary file object that can
            seek. WAV, FLAC, Ogg, MP3, AAC, MP4/M4A or WebM; the content decides, not
            the name.
        rate: Frames per second wanted, 4,000 to 192,000; ``None`` for the source's own.
        channels: 1 for the mean of all channels, or as many as the source has; ``None``
            for the source's own.
        options: What to accept.

    Returns:
        The sound, from frame 0.

    Raises:
        OSError: If the file cannot be opened or read.
        EmptyAudioError: If there are no bytes, or not one frame of sound.
        NotAudioError: If the content is no recording.
        UnsupportedAudioError: If it is of a kind, a length, a rate or a number of
            channels that is refused.
        TruncatedAudioError: If the recording's own end is missing.
        DamagedAudioError: If it is damaged before its end.
        ValueError: If an argument is out of its range.

    Cancellation: takes effect within about 100 ms; the file is closed.

    Example:
        >>> audio = await read_audio("call.mp3", rate=16_000)  # doctest: +SKIP
        >>> audio  # doctest: +SKIP
        <Audio 312.400 s, 16000 Hz, 2 channels>
    """
    work = _read(source, rate=rate, channels=channels, options=options)
    result = await Steps(work).result()
    assert result is not None  # noqa: S101 - the last item is the sound
    return result


def iter_audio(
    source: AudioSource,
    *,
    rate: int | None = None,
    channels: int | None = None,
    block_s: float = 10.0,
    options: DecodeOptions = DEFAULTS,
    progress: Callable[[float], None] | None = None,
) -> AsyncGenerator[Audio, None]:
    """
    Read a recording block by block, in memory that does not grow with its length.

    The blocks put together are bit for bit what ``read_audio`` gives. Where the
    recording breaks off or is damaged, the blocks that are whole come first, then the
    error.

    Args:
        source: See ``read_audio``.
        rate: See ``read_audio``.
        channels: See ``read_audio``.
        block_s: Length of a block, seconds; at least one frame.
        options: What to accept.
        progress: Called on the event loop with the share of the source consumed, 0 to
            1, never falling; with 1.0 at the end.

    Yields:
        Blocks of exactly ``round(block_s * rate)`` frames, the last one of what is
        left. Each ``start`` counts frames at the rate given out.

    Raises:
        OSError: As ``read_audio``, and so the others.
        AudioError: As ``read_audio``.
        ValueError: If an argument is out of its range.

    Cancellation: takes effect within about 100 ms. Closing the generator closes the
    file; use ``contextlib.aclosing`` to leave a loop early.
    """
    if not (math.isfinite(block_s) and block_s > 0):
        msg = f"block_s must be positive and finite, not {block_s}"
        raise ValueError(msg)
    work = _blocks(
        source, rate=rate, channels=channels, block_s=block_s, options=options
    )
    return _iterate(work, progress)


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
    Convert a recording to a 16-bit PCM WAV file.

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
        What was written.

    Raises:
        OSError: If the source cannot be read or the target not be written.
        UnsupportedAudioError: Also if there is no such channel, or the result would be
            larger than 4 GiB, the limit of WAV.
        AudioError: As ``read_audio``.
        ValueError: If an argument is out of its range.

    Cancellation: takes effect within about 100 ms, except while the finished file is
    being flushed to disk; then it is there, and whole.
    """
    if channel is not None and (channels != 1 or channel < 0):
        msg = f"channel must be at least 0, with channels=1: {channel}, {channels}"
        raise ValueError(msg)
    work = _standardize(
        src, dst, rate=rate, channels=channels, channel=channel, options=options
    )
    result = await Steps(work).result()
    assert result is not None  # noqa: S101 - the last item is the file
    return result


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
        UnsupportedAudioError: If it would be larger than 4 GiB, the limit of WAV.

    Cancellation: as ``standardize``.
    """
    result = await Steps(_write(path, audio)).result()
    assert result is not None  # noqa: S101 - the last item is the file
    return result


async def _iterate(
    work: Generator[tuple[float, Audio | None], None, None],
    progress: Callable[[float], None] | None,
) -> AsyncGenerator[Audio, None]:
    steps = Steps(work)
    try:
        while items := await steps.step():
            for fraction, audio in items:
                if progress is not None:
                    progress(fraction)
                if audio is not None:
                    yield audio
    finally:
        # Without waiting: this may run when the generator is garbage. It only closes
        # a file.
        steps.close()


def _read(
    source: AudioSource,
    *,
    rate: int | None,
    channels: int | None,
    options: DecodeOptions,
) -> Generator[Audio | None, None, None]:
    with open_audio(source, options=options) as reader:
        conversion = _Conversion(reader, rate=rate, channels=channels)
        pieces = [np.zeros((0, conversion.channels), np.float32)]
        for piece in conversion.pieces():
            pieces.append(piece)
            yield None
    # In the worker thread: joining and checking an hour of sound takes a while.
    yield Audio(samples=np.concatenate(pieces), rate=conversion.rate)


def _blocks(
    source: AudioSource,
    *,
    rate: int | None,
    channels: int | None,
    block_s: float,
    options: DecodeOptions,
) -> Generator[tuple[float, Audio | None], None, None]:
    with open_audio(source, options=options) as reader:
        conversion = _Conversion(reader, rate=rate, channels=channels)
        frames = round(block_s * conversion.rate)
        if frames < 1:
            msg = f"block_s must be at least one frame, not {block_s}"
            raise ValueError(msg)
        start = 0
        for samples in _recut(conversion.pieces(), frames):
            audio = None
            if samples is not None:
                audio = Audio(samples=samples, rate=conversion.rate, start=start)
                start += audio.frames
            yield reader.fraction, audio
        yield reader.fraction, None


def _standardize(
    src: AudioSource,
    dst: str | os.PathLike[str],
    *,
    rate: int,
    channels: int | None,
    channel: int | None,
    options: DecodeOptions,
) -> Generator[WavFile | None, None, None]:
    with open_audio(src, options=options) as reader, AtomicFile(dst) as target:
        conversion = _Conversion(reader, rate=rate, channels=channels, channel=channel)
        writer = WavWriter(target.file, rate=rate, channels=conversion.channels)
        for piece in conversion.pieces():
            writer.write(piece)
            yield None
        writer.finish()
        reader.close()  # Windows does not replace a file that is open
        target.commit()
    yield _written(target, writer)


def _write(
    path: str | os.PathLike[str], audio: Audio
) -> Generator[WavFile | None, None, None]:
    with AtomicFile(path) as target:
        writer = WavWriter(target.file, rate=audio.rate, channels=audio.channels)
        for at in range(0, audio.frames, _WRITE_FRAMES):
            writer.write(audio.samples[at : at + _WRITE_FRAMES])
            yield None
        writer.finish()
        target.commit()
    yield _written(target, writer)


def _written(target: AtomicFile, writer: WavWriter) -> WavFile:
    return WavFile(
        path=Path(target.path),
        rate=writer.rate,
        channels=writer.channels,
        frames=writer.frames,
    )


class _Conversion:
    """A reader's samples at the rate and with the channels wanted."""

    def __init__(
        self,
        reader: AudioReader,
        *,
        rate: int | None,
        channels: int | None,
        channel: int | None = None,
    ) -> None:
        if channel is not None and channel >= reader.channels:
            raise UnsupportedAudioError(
                f"there is no channel {channel}; the source has {reader.channels}",
                source=reader.label,
                got=f"{reader.channels} channels",
                wanted=f"at least {channel + 1} channels",
            )
        if channels not in {None, 1, reader.channels}:
            raise UnsupportedAudioError(
                f"the source has {reader.channels} channels, not {channels}",
                source=reader.label,
                got=f"{reader.channels} channels",
                wanted=f"{channels} channels",
            )
        self._reader = reader
        self._channel = channel
        self._resampler = Resampler(
            reader.rate,
            reader.rate if rate is None else rate,
            channels=reader.channels if channel is None else 1,
            channels_out=channels,
        )
        self.rate = self._resampler.rate_out
        self.channels = self._resampler.channels_out

    def pieces(self) -> Iterator[Samples]:
        """Give the samples in pieces of any length, none of them empty."""
        for block in self._reader.blocks():
            at = self._channel
            wanted = block if at is None else block[:, at : at + 1]
            # Resampling may go a little beyond full scale.
            yield from map(to_valid, self._resampler.push(wanted))
        yield from map(to_valid, self._resampler.flush())


def _recut(pieces: Iterator[Samples], frames: int) -> Iterator[Samples | None]:
    """Cut to equal blocks; ``None`` for each piece that does not complete one."""
    held: list[Samples] = []
    count = 0
    for piece in pieces:
        held.append(piece)
        count += len(piece)
        if count < frames:
            yield None
            continue
        joined = np.concatenate(held)
        whole = count - count % frames
        for at in range(0, whole, frames):
            yield joined[at : at + frames]
        held, count = [joined[whole:]], count - whole
    if count:
        yield np.concatenate(held)
