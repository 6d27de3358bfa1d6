"""
Every error that voicepipe raises on purpose, on one page.

::

    VoicepipeError
    ├── MissingExtraError (also ImportError)   an optional package is not installed
    ├── AudioError                             something about a recording
    │   ├── EmptyAudioError                    no bytes, or not one frame of sound
    │   ├── NotAudioError                      text, HTML, an archive: no recording
    │   ├── UnsupportedAudioError              a recording of a kind that is refused
    │   ├── TruncatedAudioError                ends before its own end
    │   ├── DamagedAudioError                  breaks in the middle
    │   ├── DecoderCrashedError                it took the decoder's process down
    │   └── DecoderTimeoutError (also TimeoutError)  it kept the decoder for too long
    ├── DiskFullError (also OSError)           no space left to write to (retryable)
    ├── TranscriptionError                     an engine failed on good audio
    ├── DiarizationError                       a diarizer failed on good audio
    ├── AnalysisError                          an analyzer failed on a good transcript
    ├── ChildCrashedError                      a helper process died (retryable)
    └── JobError                               something about a stored job
        ├── JobNotFoundError (also LookupError)
        ├── JobStateError                      the job's status forbids it
        ├── LeaseLostError                     another attempt owns the job now
        └── StoreError                         the database failed

``retryable`` says whether the same call may succeed later without any change; whether
to try again is the caller's decision. Misuse by the programmer stays ``ValueError`` or
``TypeError``, cancellation is never caught, and a foreign exception is always kept as
``__cause__``. Messages never hold audio, transcript text or credentials.
"""

from __future__ import annotations


__all__ = [
    "AnalysisError",
    "AudioError",
    "ChildCrashedError",
    "DamagedAudioError",
    "DecoderCrashedError",
    "DecoderTimeoutError",
    "DiarizationError",
    "DiskFullError",
    "EmptyAudioError",
    "JobError",
    "JobNotFoundError",
    "JobStateError",
    "LeaseLostError",
    "MissingExtraError",
    "NotAudioError",
    "StoreError",
    "TranscriptionError",
    "TruncatedAudioError",
    "UnsupportedAudioError",
    "VoicepipeError",
]


class VoicepipeError(Exception):
    """
    Base of every error that voicepipe raises on purpose.

    Attributes:
        retryable: Whether the same call may succeed later without any change.
    """

    retryable: bool = False


class MissingExtraError(VoicepipeError, ImportError):
    """
    An optional package is needed and not installed.

    Attributes:
        extra: The extra of voicepipe that brings the package, such as ``"sql"``.
        package: The import name that was not found.
    """

    def __init__(self, package: str, extra: str = "all") -> None:
        """Name the missing package and the extra that brings it."""
        super().__init__(
            f"{package!r} is not installed; run: pip install 'voicepipe[{extra}]'"
        )
        self.package: str = package
        self.extra: str = extra

    def __reduce__(self) -> tuple[type[MissingExtraError], tuple[str, str]]:
        """Pickle by the names: the message is derived from them."""
        return (type(self), (self.package, self.extra))


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


class DiskFullError(VoicepipeError, OSError):
    """
    There is no space left to write to, or no quota.

    Attributes:
        errno: As of any ``OSError``: ``ENOSPC`` or ``EDQUOT``.
        filename: The file that was written.
    """

    retryable = True


class _EngineError(VoicepipeError):
    """Shared by the engines' errors: which engine, and whether to try again."""

    def __init__(
        self, message: str, *, model: str = "", retryable: bool = False
    ) -> None:
        """Keep the engine's name."""
        super().__init__(message)
        self.model: str = model
        self.retryable: bool = retryable


class TranscriptionError(_EngineError):
    """
    A speech recognition engine failed on good audio.

    Attributes:
        model: The engine's name, as in ``Transcript.model``.
        retryable: Whether the same call may succeed later.
    """


class DiarizationError(_EngineError):
    """
    A diarizer failed on good audio.

    Attributes:
        model: The diarizer's name.
        retryable: Whether the same call may succeed later.
    """


class AnalysisError(_EngineError):
    """
    An analyzer failed on a good transcript.

    Attributes:
        model: The analyzer's name, as in ``Analysis.model``.
        retryable: Whether the same call may succeed later.
    """


class ChildCrashedError(VoicepipeError):
    """
    A helper process died during a call; the next call gets a fresh one.

    Attributes:
        returncode: The exit status; negative is the number of the killing signal,
            ``None`` where it could not be told.
    """

    retryable: bool = True

    def __init__(self, message: str, *, returncode: int | None = None) -> None:
        """Keep the exit status."""
        super().__init__(message)
        self.returncode: int | None = returncode


class JobError(VoicepipeError):
    """
    Something is wrong with a stored job.

    Attributes:
        job_id: The job's id, ``None`` where no single job is meant.
    """

    def __init__(self, message: str, *, job_id: int | None = None) -> None:
        """Keep the job's id."""
        super().__init__(message)
        self.job_id: int | None = job_id


class JobNotFoundError(JobError, LookupError):
    """No job has this id."""


class JobStateError(JobError):
    """
    The job's status forbids what was asked, such as running a running job.

    Attributes:
        status: The job's status at that moment.
    """

    def __init__(
        self, message: str, *, job_id: int | None = None, status: str = ""
    ) -> None:
        """Keep the status that stood in the way."""
        super().__init__(message, job_id=job_id)
        self.status: str = status


class LeaseLostError(JobError):
    """
    The attempt is no longer the job's current one; nothing was written.

    Attributes:
        attempt: The attempt number that was refused.
    """

    def __init__(
        self, message: str, *, job_id: int | None = None, attempt: int = 0
    ) -> None:
        """Keep the refused attempt's number."""
        super().__init__(message, job_id=job_id)
        self.attempt: int = attempt


class StoreError(JobError):
    """
    The job database failed, was busy for too long, or is not ours.

    Attributes:
        retryable: Whether the same call may succeed later, as after a busy time-out.
    """

    def __init__(
        self, message: str, *, job_id: int | None = None, retryable: bool = False
    ) -> None:
        """Keep whether another try may help."""
        super().__init__(message, job_id=job_id)
        self.retryable: bool = retryable
