"""Errors about recordings."""

from __future__ import annotations

from voicepipe.errors.base import VoicepipeError


class AudioError(VoicepipeError):
    """
    Something is wrong with a recording.

    Attributes:
        source: The recording's name as the caller gave it, ``None`` for bytes.
    """

    def __init__(self, message: str, *, source: str | None = None) -> None:
        """Keep the message and the recording's name."""
        super().__init__(message)
        self.source: str | None = source

    def __str__(self) -> str:
        """Begin with the recording's name, where there is one."""
        message = super().__str__()
        return message if self.source is None else f"{self.source}: {message}"


class EmptyAudioError(AudioError):
    """The source has no bytes, or decodes to not one frame."""


class NotAudioError(AudioError):
    """The source's content is not a recording: text, HTML, an archive, raw bytes."""


class UnsupportedAudioError(AudioError):
    """
    The source may be a recording, of a kind that is refused or cannot be read.

    Attributes:
        got: What was found, such as ``"ffconcat playlist"`` or ``"1 Hz"``.
        wanted: What would have been accepted; empty where no list helps.
    """

    def __init__(
        self,
        message: str,
        *,
        source: str | None = None,
        got: str = "",
        wanted: str = "",
    ) -> None:
        """Keep what was found beside what would have been accepted."""
        super().__init__(message, source=source)
        self.got: str = got
        self.wanted: str = wanted


class TruncatedAudioError(AudioError):
    """
    The recording ends before its own end.

    Attributes:
        decoded_s: Seconds of sound that could be decoded.
        declared_s: Seconds the container promises, ``None`` where it does not say.
    """

    def __init__(
        self,
        message: str,
        *,
        source: str | None = None,
        decoded_s: float = 0.0,
        declared_s: float | None = None,
    ) -> None:
        """Keep how much was there and how much was promised."""
        super().__init__(message, source=source)
        self.decoded_s: float = decoded_s
        self.declared_s: float | None = declared_s


class DamagedAudioError(AudioError):
    """
    The recording's data breaks before its end.

    Attributes:
        at_s: Position of the first damage, in seconds from the start.
    """

    def __init__(
        self, message: str, *, source: str | None = None, at_s: float = 0.0
    ) -> None:
        """Keep where the damage begins."""
        super().__init__(message, source=source)
        self.at_s: float = at_s


class DecoderCrashedError(AudioError):
    """
    The process in which the recording was decoded died of it.

    Attributes:
        returncode: The process's exit status; negative for the signal that killed it,
            ``None`` where it is not known.
        retryable: Whether something else may have killed it: true for SIGKILL, which a
            system short of memory sends.
    """

    def __init__(
        self,
        message: str,
        *,
        source: str | None = None,
        returncode: int | None = None,
    ) -> None:
        """Keep how the process ended."""
        super().__init__(message, source=source)
        self.returncode: int | None = returncode
        self.retryable: bool = returncode == -9


class DecoderTimeoutError(AudioError, TimeoutError):
    """
    Decoding took longer than it may.

    Attributes:
        limit_s: The limit that was passed, seconds.
    """

    def __init__(
        self, message: str, *, source: str | None = None, limit_s: float = 0.0
    ) -> None:
        """Keep the limit."""
        super().__init__(message, source=source)
        self.limit_s: float = limit_s
