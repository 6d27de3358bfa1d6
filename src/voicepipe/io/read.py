"""Reading recordings: whole, or block by block."""

from __future__ import annotations

import math
from contextlib import closing
from typing import TYPE_CHECKING

import numpy as np

from voicepipe.errors import AudioError
from voicepipe.io.convert import Order
from voicepipe.io.isolated import open_conversion, ward
from voicepipe.io.options import DEFAULTS
from voicepipe.io.steps import Steps
from voicepipe.types.audio import Audio


if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Generator, Iterator

    from voicepipe.io.convert import Conversion
    from voicepipe.io.isolated import Ward
    from voicepipe.io.options import DecodeOptions
    from voicepipe.io.source import AudioSource
    from voicepipe.types.audio import Samples


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
        The sound, from frame 0; its ``report`` tells what decoding has shown.

    Raises:
        OSError: If the file cannot be opened or read.
        EmptyAudioError: If there are no bytes, or not one frame of sound.
        NotAudioError: If the content is no recording.
        UnsupportedAudioError: If it is of a kind, a length, a rate or a number of
            channels that is refused.
        TruncatedAudioError: If the recording's own end is missing.
        DamagedAudioError: If it is damaged before its end.
        DecoderCrashedError: If it took the helper process down (``isolated``).
        DecoderTimeoutError: If it kept the helper process for too long.
        ValueError: If an argument is out of its range.

    Cancellation: takes effect within about 100 ms; the file is closed.

    Example:
        >>> audio = await read_audio("call.mp3", rate=16_000)  # doctest: +SKIP
        >>> audio  # doctest: +SKIP
        <Audio 312.400 s, 16000 Hz, 2 channels>
    """
    order = Order(source=source, options=options, rate=rate, channels=channels)
    async with ward(order) as guard:
        result = await Steps(_read(order, guard), guard).result()
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
        left. Each ``start`` counts frames at the rate given out. Each ``report`` tells
        what had been seen when the block was complete; the last one is final.

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
    order = Order(source=source, options=options, rate=rate, channels=channels)
    return _iterate(order, block_s, progress)


async def _iterate(
    order: Order, block_s: float, progress: Callable[[float], None] | None
) -> AsyncGenerator[Audio, None]:
    async with ward(order) as guard:
        steps = Steps(_blocks(order, guard, block_s), guard)
        try:
            while items := await steps.step():
                while items:
                    fraction, audio = items.pop(0)
                    if progress is not None:
                        progress(fraction)
                    if audio is not None:
                        yield audio
                    # The caller has it, and may drop it while the next is made.
                    del audio
        finally:
            # Without waiting: this may run when the generator is garbage. It only
            # closes a file.
            steps.close()


def _read(order: Order, guard: Ward | None) -> Generator[Audio | None, None, None]:
    with (
        open_conversion(order, guard) as conversion,
        closing(conversion.pieces()) as incoming,
    ):
        pieces = [np.zeros((0, conversion.channels), np.float32)]
        try:
            for piece in incoming:
                pieces.append(piece)
                yield None
        except BaseException:
            # An error that somebody keeps would keep the sound with its traceback.
            pieces.clear()
            raise
        report = conversion.report
    # In the worker thread: joining and checking an hour of sound takes a while.
    samples = np.concatenate(pieces)
    pieces.clear()
    yield Audio(samples=samples, rate=conversion.rate, report=report)


def _blocks(
    order: Order, guard: Ward | None, block_s: float
) -> Generator[tuple[float, Audio | None], None, None]:
    with (
        open_conversion(order, guard) as conversion,
        closing(conversion.pieces()) as pieces,
    ):
        frames = round(block_s * conversion.rate)
        if frames < 1:
            msg = f"block_s must be at least one frame, not {block_s}"
            raise ValueError(msg)
        start = 0
        held: Samples | None = None
        trouble: Exception | None = None
        try:
            for samples in _recut(pieces, frames, conversion.channels):
                audio = None
                if held is not None:
                    audio = _audio(held, conversion, start)
                    start += audio.frames
                held = samples
                yield conversion.fraction, audio
                del audio
        except (AudioError, OSError) as exc:
            trouble = exc
        # A block is held back until more has come: with the last one the report is
        # final.
        if held is not None:
            yield conversion.fraction, _audio(held, conversion, start)
        if trouble is not None:
            raise trouble
        yield conversion.fraction, None


def _audio(samples: Samples, conversion: Conversion, start: int) -> Audio:
    return Audio(
        samples=samples, rate=conversion.rate, start=start, report=conversion.report
    )


def _recut(
    pieces: Iterator[Samples], frames: int, channels: int
) -> Iterator[Samples | None]:
    """Cut to equal blocks; ``None`` for each piece of which something is left."""
    # Filled in place: pieces kept until a block is complete would take its room twice.
    block, held = _room(frames, channels), 0
    for piece in pieces:
        at = 0
        while at < len(piece):
            taken = min(frames - held, len(piece) - at)
            while held + taken > len(block):
                block = np.concatenate([block, _room(frames - len(block), channels)])
            block[held : held + taken] = piece[at : at + taken]
            at, held = at + taken, held + taken
            if held == frames:
                yield block
                block, held = _room(frames, channels), 0
        if held:
            yield None
    if held:
        yield block[:held].copy()


def _room(frames: int, channels: int) -> Samples:
    """Make room for a block, but not at once for one of four million frames or more."""
    return np.empty((min(frames, 1 << 22), channels), np.float32)
