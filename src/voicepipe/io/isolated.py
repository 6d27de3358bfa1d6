"""
Decoding in helper processes, so that no recording can hurt the program.

A decoder is a million lines of C that takes whatever a stranger sends. Here it runs
where it has no credentials, may write no file, and may use no more memory, time and
files than it is given; what it says is checked.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Self

import attrs
import numpy as np

from voicepipe.errors import (
    AudioError,
    ChildCrashedError,
    DecoderCrashedError,
    DecoderTimeoutError,
    UnsupportedAudioError,
)
from voicepipe.io.convert import LocalConversion
from voicepipe.io.samples import to_valid
from voicepipe.proc.pool import ChildPool
from voicepipe.stream.resample import MAX_CHANNELS, MAX_RATE, MIN_RATE
from voicepipe.types.audio import DecodeReport


if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Generator, Iterator

    from voicepipe.io.convert import Conversion, Order
    from voicepipe.io.options import DecodeOptions
    from voicepipe.io.source import AudioSource
    from voicepipe.proc.limits import ChildLimits
    from voicepipe.proc.pool import Helper
    from voicepipe.types.audio import Samples


_CHILD = "voicepipe.io.isolated_child"


_POOLS: dict[tuple[ChildLimits, int], ChildPool] = {}


def helpers(limits: ChildLimits, size: int | None = None) -> ChildPool:
    """Give the kept pool of helpers with these limits; as many as there are cores."""
    size = size or os.cpu_count() or 1
    # One step, so that two threads do not make two.
    return _POOLS.setdefault((limits, size), ChildPool(size, limits))


def stop_helpers() -> None:
    """Stop all helpers that wait for work; the next recording gets a new one."""
    for pool in list(_POOLS.values()):
        pool.close()


class Ward:
    """
    A helper lent for one recording, and what to do where it does not answer.

    Args:
        helper: The helper.
        order: The recording that it is lent for.
    """

    def __init__(self, helper: Helper, order: Order) -> None:
        """Take the helper over."""
        self.helper: Helper = helper
        self.limits: ChildLimits = order.options.limits
        self.label: str | None = None
        if isinstance(order.source, str | os.PathLike):
            self.label = os.fspath(order.source)
        self.patience_s: float = self.limits.stall_s

    def stop(self) -> None:
        """Kill the helper; whoever waits for it gets an error."""
        self.helper.kill()

    def late(self) -> DecoderTimeoutError:
        """Make the error for a helper that has been silent for too long."""
        limit_s = self.limits.stall_s
        return DecoderTimeoutError(
            f"the decoder has given no sign of life for {limit_s:g} s",
            source=self.label,
            limit_s=limit_s,
        )


@contextlib.asynccontextmanager
async def ward(
    order: Order, pool: ChildPool | None = None
) -> AsyncIterator[Ward | None]:
    """
    Lend a helper for one recording; ``None`` where it is decoded in this process.

    Cancellation: the helper is killed.
    """
    options = order.options
    if pool is None and not options.isolated:
        yield None
        return
    async with (pool or helpers(options.limits)).lend() as helper:
        yield Ward(helper, order)


def open_conversion(
    order: Order, guard: Ward | None, *, as_pcm16: bool = False
) -> Conversion:
    """
    Open a recording where it is to be decoded.

    Args:
        order: The recording, and what it is to become.
        guard: The helper that decodes it; ``None`` for this process.
        as_pcm16: Take 16-bit integers from a helper; for whoever writes 16-bit files.

    Raises:
        OSError: If the source cannot be opened or read.
        AudioError: The kind that fits.
        ValueError: If an argument is out of its range.
    """
    if guard is None:
        return LocalConversion(order)
    return IsolatedConversion(order, guard, as_pcm16=as_pcm16)


class IsolatedConversion:
    """
    A ``Conversion`` that happens in a helper process.

    A path is opened by the helper; bytes and file objects are copied to a temporary
    file first.

    Args:
        order: The recording, and what it is to become.
        ward: The helper.
        as_pcm16: Send the samples as 16-bit integers, for half the way; for whoever
            writes 16-bit files.

    Raises:
        DecoderCrashedError: If the helper died.
        DecoderTimeoutError: If it used up its processor time.
        AudioError: As ``LocalConversion``.
        OSError: If the source cannot be read.
        ValueError: If an argument is out of its range.
    """

    def __init__(self, order: Order, ward: Ward, *, as_pcm16: bool = False) -> None:
        """Have the helper open the source."""
        self._ward = ward
        self._options = order.options
        self.rate: int
        self.channels: int
        self._type = np.dtype("<i2" if as_pcm16 else np.float32)
        self._report: DecodeReport | None = None
        self.fraction: float = 0.0
        self._stack = contextlib.ExitStack()
        try:
            path = self._stack.enter_context(_on_disk(order.source))
            with self._told():
                head, _ = ward.helper.exchange(
                    f"{_CHILD}:begin",
                    {
                        "path": path,
                        "wanted": {
                            "rate": order.rate,
                            "channels": order.channels,
                            "channel": order.channel,
                        },
                        "options": _plain(order.options),
                        "as_pcm16": as_pcm16,
                    },
                )
                self.rate, self.channels = _format(head)
        except BaseException:
            self._stack.close()
            raise

    @property
    def report(self) -> DecodeReport:
        """See ``Conversion``; there is one after the first piece."""
        assert self._report is not None  # noqa: S101 - for the type checker
        return self._report

    def pieces(self) -> Generator[Samples, None, None]:
        """See ``Conversion``; the helper works ahead by one step."""
        helper, frames, done = self._ward.helper, 0, False
        with self._told():
            helper.send(f"{_CHILD}:step", {})
        while not done:
            with self._told():
                value, payload = helper.receive()
                done = not (isinstance(value, dict) and value.get("done") is False)
                if not done:
                    helper.send(f"{_CHILD}:step", {})
                samples = self._understand(value, payload)
            frames += len(samples)
            self._check_size(frames)
            if len(samples):
                yield samples

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def _understand(self, value: dict[str, Any], payload: bytes) -> Samples:
        """Read one step's reply."""
        try:
            self.fraction = max(self.fraction, min(1.0, float(value["fraction"])))
            self._report = DecodeReport.from_json(value["report"])
            samples: Any = np.frombuffer(payload, self._type)
            samples = samples.reshape(-1, self.channels)
        except (ArithmeticError, LookupError, TypeError, ValueError) as exc:
            raise RuntimeError("the reply is none") from exc
        return samples if self._type == np.int16 else to_valid(samples)

    def _check_size(self, frames: int) -> None:
        """Hold a helper that has been taken over to what was agreed."""
        # A resampler may give a frame more than the exact number.
        if frames > self._options.max_duration_s * self.rate + 1:
            raise UnsupportedAudioError(
                "the decoder gives more sound than it may", source=self._ward.label
            )

    @contextlib.contextmanager
    def _told(self) -> Iterator[None]:
        """Tell the helper's end, and its errors, as the recording's."""
        ward = self._ward
        try:
            yield
        except ChildCrashedError as exc:
            if exc.returncode == -getattr(signal, "SIGXCPU", 0):
                limit_s = ward.limits.cpu_s
                msg = f"the decoder has used up its {limit_s:g} s of processor time"
                raise DecoderTimeoutError(
                    msg, source=ward.label, limit_s=limit_s
                ) from exc
            raise DecoderCrashedError(
                f"the decoder's process died with exit status {exc.returncode}",
                source=ward.label,
                returncode=exc.returncode,
            ) from exc
        except MemoryError as exc:
            raise DecoderCrashedError(
                "the decoder ran out of memory", source=ward.label
            ) from exc
        except (AudioError, OSError, ValueError) as exc:
            # The recording's fault: the helper answers the next call.
            ward.helper.keep()
            if isinstance(exc, AudioError):
                exc.source = ward.label
            raise
        except (LookupError, RuntimeError) as exc:
            raise DecoderCrashedError(
                "the decoder's process failed", source=ward.label
            ) from exc


def _format(head: Any) -> tuple[int, int]:
    """Read the helper's answer to ``begin``: the rate and the number of channels."""
    try:
        rate, channels = int(head["rate"]), int(head["channels"])
    except (ArithmeticError, LookupError, TypeError, ValueError) as exc:
        raise RuntimeError("the reply is none") from exc
    if not (MIN_RATE <= rate <= MAX_RATE and 1 <= channels <= MAX_CHANNELS):
        raise RuntimeError("the reply is out of range")
    return rate, channels


@contextlib.contextmanager
def _on_disk(source: AudioSource) -> Iterator[str]:
    """Give the source as an absolute path."""
    if isinstance(source, str | os.PathLike):
        yield os.fspath(Path(source).absolute())
        return
    if not isinstance(source, bytes):
        _check_file(source)
    # Not open on both sides: Windows does not share it.
    descriptor, path = tempfile.mkstemp(prefix="voicepipe-")
    try:
        with os.fdopen(descriptor, "wb") as copy:
            if isinstance(source, bytes):
                copy.write(source)
            else:
                source.seek(0)
                shutil.copyfileobj(source, copy, 1 << 20)
        yield path
    finally:
        Path(path).unlink(missing_ok=True)


def _check_file(file: BinaryIO) -> None:
    if not file.seekable():
        raise ValueError("the file object must be able to seek")
    if not isinstance(file.read(0), bytes):
        raise TypeError("the file object must be binary")


def _plain(options: DecodeOptions) -> dict[str, Any]:
    """Give the options as JSON takes them; the helper is isolated already."""
    return {
        "max_duration_s": options.max_duration_s,
        "max_decoded_bytes": options.max_decoded_bytes,
        "allow_truncated": options.allow_truncated,
        "allow_damaged": options.allow_damaged,
        "raw": None if options.raw is None else attrs.asdict(options.raw),
    }
