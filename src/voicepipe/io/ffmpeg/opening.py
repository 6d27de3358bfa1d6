"""Opening a file with PyAV, and its exceptions turned into ours."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

import av
import av.error

from voicepipe.errors import UnsupportedAudioError


if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from av.container import InputContainer

    from voicepipe.errors import AudioError
    from voicepipe.io.source import RationedFile, SourceFile
    from voicepipe.stream.sniff import Container


_DEMUXERS: dict[Container, str] = {
    "wav": "wav",
    "flac": "flac",
    "ogg": "ogg",
    "mp3": "mp3",
    "aac": "aac",
    "mp4": "mov",
    "webm": "matroska",
}

# What PyAV raises beside FFmpeg's errors when headers are strange.
_FOREIGN = (av.error.FFmpegError, ArithmeticError, AttributeError, ValueError)

# Before 19, PyAV raises where a title is not in the encoding it should be in.
_LENIENT: dict[str, Any] = (
    {"metadata_errors": "ignore"} if int(av.__version__.split(".")[0]) < 19 else {}
)

# "Not implemented", "no such decoder", and the like.
_UNSUPPORTED = (
    av.error.PatchWelcomeError,
    av.error.DecoderNotFoundError,
    av.error.DemuxerNotFoundError,
)


def safe_options(container: Container) -> dict[str, str]:
    """Give the options that keep FFmpeg to one demuxer and to no file of its own."""
    return {
        "format_whitelist": _DEMUXERS[container],
        "protocol_whitelist": "",
    }


def open_input(file: RationedFile, container: Container) -> InputContainer:
    """
    Open a file as the kind that it has been found to be, behind all walls.

    Raises:
        Exception: Whatever PyAV raises; to be called inside ``translated``.
    """
    opened: InputContainer = av.open(
        file,
        mode="r",
        format=_DEMUXERS[container],
        options=safe_options(container),
        **_LENIENT,
    )
    return opened


@contextlib.contextmanager
def translated(file: SourceFile, damaged: Callable[[], AudioError]) -> Iterator[None]:
    """
    Turn what PyAV raises into an error of ours, or the disk's own.

    Args:
        file: What is being read.
        damaged: Makes the error for data that cannot be decoded.

    Raises:
        UnsupportedAudioError: If FFmpeg lacks what it takes.
        AudioError: What ``damaged`` gives.
        OSError: If reading failed.
    """
    try:
        yield
    except _UNSUPPORTED as exc:
        what = exc.strerror or type(exc).__name__
        raise UnsupportedAudioError(
            f"the decoder cannot read it: {what}", source=file.label, got=what
        ) from exc
    except _FOREIGN as exc:
        file.check()
        raise damaged() from exc
