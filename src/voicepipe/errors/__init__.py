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
    ├── SettingsError (also ValueError)        a setting of a server is wrong
    ├── FetchError                             something about a URL
    │   ├── InvalidUrlError (also ValueError)  no URL that can be fetched
    │   ├── BlockedUrlError                    leads to where it may not
    │   ├── ConnectionFailedError              no connection, or it broke
    │   ├── FetchTimeoutError (also TimeoutError)  took too long (retryable)
    │   ├── HttpStatusError                    the server answered with an error
    │   ├── BadResponseError                   the answer contradicts itself
    │   └── TooLargeError                      more bytes than are allowed
    ├── InvalidIdError (also ValueError)       an id that is no part of a file name
    ├── CallError                              something about a call
    │   ├── CallNotFoundError (also LookupError)
    │   └── NoRecordingError (also LookupError)
    ├── BatchError                             its list or its ledger cannot be used
    ├── CaptureError                           something about a recorded session
    │   ├── SessionNotFoundError (also LookupError)
    │   ├── SessionClosedError                 it is completed
    │   │   └── SessionFullError               by its longest duration
    │   ├── SessionBusyError                   another connection writes (retryable)
    │   ├── OffsetGapError                     bytes would be missing
    │   ├── TooManySessionsError               (retryable)
    │   ├── TooManyConnectionsError            (retryable)
    │   └── ChunkTooLargeError
    ├── StreamError                            a stream to a server cannot go on
    │   ├── StreamRefusedError                 the server does not want it
    │   └── StreamLostError                    no connection any more (retryable)
    ├── DiskFullError (also OSError)           no space left to write to (retryable)
    ├── TranscriptionError                     an engine failed on good audio
    │   └── ModelUnavailableError              its model is not to be had
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

from voicepipe.errors.audio import (
    AudioError,
    DamagedAudioError,
    DecoderCrashedError,
    DecoderTimeoutError,
    EmptyAudioError,
    NotAudioError,
    TruncatedAudioError,
    UnsupportedAudioError,
)
from voicepipe.errors.base import (
    ChildCrashedError,
    DiskFullError,
    MissingExtraError,
    SettingsError,
    VoicepipeError,
)
from voicepipe.errors.capture import (
    CaptureError,
    ChunkTooLargeError,
    OffsetGapError,
    SessionBusyError,
    SessionClosedError,
    SessionFullError,
    SessionNotFoundError,
    StreamError,
    StreamLostError,
    StreamRefusedError,
    TooManyConnectionsError,
    TooManySessionsError,
)
from voicepipe.errors.engines import (
    AnalysisError,
    DiarizationError,
    ModelUnavailableError,
    TranscriptionError,
)
from voicepipe.errors.fetch import (
    BadResponseError,
    BatchError,
    BlockedUrlError,
    CallError,
    CallNotFoundError,
    ConnectionFailedError,
    FetchError,
    FetchTimeoutError,
    HttpStatusError,
    InvalidIdError,
    InvalidUrlError,
    NoRecordingError,
    TooLargeError,
)
from voicepipe.errors.jobs import (
    JobError,
    JobNotFoundError,
    JobStateError,
    LeaseLostError,
    StoreError,
)


__all__ = [
    "AnalysisError",
    "AudioError",
    "BadResponseError",
    "BatchError",
    "BlockedUrlError",
    "CallError",
    "CallNotFoundError",
    "CaptureError",
    "ChildCrashedError",
    "ChunkTooLargeError",
    "ConnectionFailedError",
    "DamagedAudioError",
    "DecoderCrashedError",
    "DecoderTimeoutError",
    "DiarizationError",
    "DiskFullError",
    "EmptyAudioError",
    "FetchError",
    "FetchTimeoutError",
    "HttpStatusError",
    "InvalidIdError",
    "InvalidUrlError",
    "JobError",
    "JobNotFoundError",
    "JobStateError",
    "LeaseLostError",
    "MissingExtraError",
    "ModelUnavailableError",
    "NoRecordingError",
    "NotAudioError",
    "OffsetGapError",
    "SessionBusyError",
    "SessionClosedError",
    "SessionFullError",
    "SessionNotFoundError",
    "SettingsError",
    "StoreError",
    "StreamError",
    "StreamLostError",
    "StreamRefusedError",
    "TooLargeError",
    "TooManyConnectionsError",
    "TooManySessionsError",
    "TranscriptionError",
    "TruncatedAudioError",
    "UnsupportedAudioError",
    "VoicepipeError",
]

# The page is the errors' home: a traceback names it, not the file it is divided into.
for _name in __all__:
    globals()[_name].__module__ = __name__
