"""
For the tests of your own code, and of your own parts.

Checks (``check_…``) hold an implementation against the law of its protocol and raise
``AssertionError`` with a sentence that says what is wrong; they need no test framework.
Fakes do a part's job at once, without models, network or disk, and pass the checks
themselves.
"""

from __future__ import annotations

from voicepipe.testing.analyzer import check_analyzer
from voicepipe.testing.engines import (
    check_diarizer,
    check_streaming_transcriber,
    check_transcriber,
)
from voicepipe.testing.fakes import (
    FakeAnalyzer,
    FakeDiarizer,
    FakeStreamingTranscriber,
    FakeTranscriber,
)
from voicepipe.testing.job_store import check_job_store
from voicepipe.testing.job_store_fake import FakeJobStore
from voicepipe.testing.stage import check_stage


__all__ = [
    "FakeAnalyzer",
    "FakeDiarizer",
    "FakeJobStore",
    "FakeStreamingTranscriber",
    "FakeTranscriber",
    "check_analyzer",
    "check_diarizer",
    "check_job_store",
    "check_stage",
    "check_streaming_transcriber",
    "check_transcriber",
]
