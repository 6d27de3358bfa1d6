from __future__ import annotations

import errno
import json
import pickle

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import voicepipe
from voicepipe import (
    AnalysisError,
    DecoderCrashedError,
    DiskFullError,
    MissingExtraError,
    TruncatedAudioError,
    UnsupportedAudioError,
    VoicepipeError,
    errors,
)
from voicepipe.proc.failure import described, rebuilt
from voicepipe.proc.pool import ChildPool


CALLS = "proc_calls"


def crossed(error: Exception) -> Exception:
    """Send an error over, and take it from the other side."""
    return rebuilt(json.loads(json.dumps(described(error))))


OURS = [
    TruncatedAudioError("cut", source="a.wav", decoded_s=1.5, declared_s=None),
    TruncatedAudioError("cut", decoded_s=2, declared_s=3),
    UnsupportedAudioError("no", source=None, got="1 Hz", wanted="8 kHz"),
    DecoderCrashedError("died", returncode=-9),
    voicepipe.DecoderTimeoutError("late", source="a.wav", limit_s=60.0),
    AnalysisError("failed", model="m", retryable=True),
    AnalysisError("failed", model="m", reason="blocked"),
    MissingExtraError("sqlalchemy", extra="sql"),
    voicepipe.JobStateError("no", job_id=3, status="running"),
    DiskFullError(errno.ENOSPC, "No space left on device", "/there/a.wav"),
    VoicepipeError("only this"),
    VoicepipeError(),
]


@pytest.mark.parametrize("error", OURS, ids=lambda error: type(error).__name__)
def test_an_error_of_ours_crosses_whole(error: VoicepipeError) -> None:
    back = crossed(error)

    assert type(back) is type(error)
    assert str(back) == str(error)
    assert vars(back) == vars(error)
    assert getattr(back, "retryable", None) == error.retryable


def test_every_error_of_ours_crosses() -> None:
    for name in errors.__all__:
        kind = getattr(errors, name)
        error = kind("something") if name != "DiskFullError" else kind(28, "full")
        back = crossed(error)

        assert type(back) is kind
        assert str(back) == str(error)
        pickle.dumps(back)


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (FileNotFoundError(errno.ENOENT, "not there", "a.wav"), FileNotFoundError),
        (OSError(errno.EACCES, "no", b"a\xff.wav"), PermissionError),
        (OSError(errno.EMFILE, "Too many"), OSError),
        (OSError("without a number"), OSError),
        (TimeoutError("late"), TimeoutError),
        (ConnectionResetError(), ConnectionResetError),
        (ValueError("bad"), ValueError),
        (TypeError("worse"), TypeError),
        (MemoryError(), MemoryError),
        (json.JSONDecodeError("bad", "secret text", 3), ValueError),
        (KeyError("gone"), RuntimeError),
        (ZeroDivisionError("by zero"), RuntimeError),
        (ImportError("no module"), RuntimeError),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else "",
)
def test_an_error_of_python_crosses_as_the_nearest_kind(
    error: Exception, kind: type[Exception]
) -> None:
    back = crossed(error)

    assert type(back) is kind
    if isinstance(error, OSError):
        assert isinstance(back, OSError)
        assert (back.errno, back.strerror) == (error.errno, error.strerror)
    if kind is RuntimeError:
        assert str(back) == f"{type(error).__name__}: {error}"
    else:
        assert "secret" not in str(back)


def test_a_file_name_that_is_no_text_crosses() -> None:
    back = crossed(OSError(errno.EACCES, "no", b"a\xff.wav"))

    assert isinstance(back, OSError)
    assert back.filename == "a\udcff.wav"


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=10,
)
NAMES = st.sampled_from([*errors.__all__, "OSError", "TimeoutError", "MemoryError"])
STATES = st.dictionaries(
    st.sampled_from(
        ["errno", "strerror", "filename", "source", "decoded_s", "model", "args"]
    )
    | st.text(),
    JSON,
)


@settings(suppress_health_check=list(HealthCheck))
@given(
    JSON
    | st.fixed_dictionaries(
        {"kind": NAMES | st.text(), "message": st.text() | JSON, "state": STATES | JSON}
    )
)
def test_anything_at_all_is_an_error_or_refused(failure: object) -> None:
    try:
        error = rebuilt(failure)
    except ValueError:
        return
    assert isinstance(
        error,
        (VoicepipeError, OSError, ValueError, TypeError, MemoryError, RuntimeError),
    )
    str(error)


async def test_errors_of_a_helper_come_back() -> None:
    pool = ChildPool(1)
    pid = await pool.call(f"{CALLS}:pid", {})

    with pytest.raises(FileNotFoundError) as missing:
        await pool.call(f"{CALLS}:missing_file", {"path": "/nowhere/a.wav"})
    with pytest.raises(DiskFullError) as full:
        await pool.call(f"{CALLS}:disk_full", {})
    with pytest.raises(TypeError, match="unexpected keyword"):
        await pool.call(f"{CALLS}:pid", {"color": "red"})
    with pytest.raises(TypeError, match="not JSON serializable"):
        await pool.call(f"{CALLS}:not_json", {})
    with pytest.raises(MemoryError):
        await pool.call(f"{CALLS}:fail", {"kind": "MemoryError", "arguments": []})

    assert missing.value.filename == "/nowhere/a.wav"
    assert (full.value.errno, full.value.filename) == (errno.ENOSPC, "/there/a.wav")
    assert await pool.call(f"{CALLS}:pid", {}) == pid
    pool.close()
