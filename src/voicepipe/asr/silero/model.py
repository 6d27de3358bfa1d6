"""The one place that knows onnxruntime: the probability of speech, every 32 ms."""

from __future__ import annotations

import functools
import importlib.util
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from voicepipe.asr.silero.spans import HOP
from voicepipe.errors import MissingExtraError, ModelUnavailableError


if TYPE_CHECKING:
    import numpy.typing as npt

    from voicepipe.types.audio import Samples


CONTEXT = 64
"""Frames before each hop that the model hears as well."""

_STATE = (1, 1, 128)
_INPUTS = {"input", "h", "c"}
_EXTRA = "whisper"

# The model takes any number of hops in one call. More than these are no faster, and
# its memory grows with them.
_HOPS_AT_ONCE = 64


class SpeechProbabilities:
    """
    Gives the probability of speech in every 512 frames at 16 kHz; a ``Stage``.

    All streams of a process share one model; what has been heard is kept here, so that
    streams in any number of threads know nothing of each other. A new stream is a new
    object.

    Chunk invariance: what the model computes for one hop does not depend on how many
    hops go with it (measured: bit for bit, on x86-64).

    Raises:
        MissingExtraError: If faster-whisper, or one with the model, is not installed.
        ModelUnavailableError: If the model in it is damaged, or of an unknown form.
    """

    def __init__(self) -> None:
        """Begin in silence."""
        self._session = _session()
        self._h = np.zeros(_STATE, np.float32)
        self._c = np.zeros(_STATE, np.float32)
        # The context, then what is less than a hop.
        self._rest = np.zeros(CONTEXT, np.float32)
        self._flushed = False

    def push(self, samples: Samples, /) -> tuple[npt.NDArray[np.float32], ...]:
        """
        Take samples; give the probabilities of the hops that are complete.

        Args:
            samples: Float32 at 16 kHz, shape ``(frames, 1)``.

        Returns:
            Arrays of shape ``(hops,)``, none of them empty.

        Raises:
            ValueError: If there is more than one channel, or after ``flush``.
        """
        self._check_open()
        if samples.ndim != 2 or samples.shape[1] != 1:
            msg = f"samples must be (frames, 1), not {samples.shape}"
            raise ValueError(msg)
        step = _HOPS_AT_ONCE * HOP
        blocks = [
            self._listen(samples[at : at + step, 0])
            for at in range(0, len(samples), step)
        ]
        return tuple(block for block in blocks if len(block))

    def flush(self) -> tuple[npt.NDArray[np.float32], ...]:
        """
        End the stream; give one more probability.

        It is that of what is left, filled up with zeros; where nothing is left, of
        zeros.
        A stream has ``frames // 512 + 1`` probabilities, as in faster-whisper.

        Raises:
            ValueError: If the stream has been flushed before.
        """
        self._check_open()
        self._flushed = True
        return (self._listen(np.zeros(HOP + CONTEXT - len(self._rest), np.float32)),)

    def _listen(self, samples: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        data = np.concatenate([self._rest, samples])
        hops = (len(data) - CONTEXT) // HOP
        self._rest = data[hops * HOP :].copy()
        if hops == 0:
            return np.zeros(0, np.float32)
        around = np.lib.stride_tricks.sliding_window_view(data, CONTEXT + HOP)
        heard = np.ascontiguousarray(around[: hops * HOP : HOP])
        found, self._h, self._c = self._session.run(
            None, {"input": heard, "h": self._h, "c": self._c}
        )
        probabilities: npt.NDArray[np.float32] = found.reshape(hops)
        return probabilities

    def _check_open(self) -> None:
        if self._flushed:
            msg = "the stream has been flushed"
            raise ValueError(msg)


def model_file() -> Path | None:
    """Give the newest Silero model inside faster-whisper, without importing it."""
    spec = importlib.util.find_spec("faster_whisper")
    for folder in (spec and spec.submodule_search_locations) or ():
        files = sorted(Path(folder, "assets").glob("silero_vad*.onnx"))
        if files:
            return files[-1]
    return None


def is_installed() -> bool:
    """Whether the packages and the model are here; imports neither."""
    return importlib.util.find_spec("onnxruntime") is not None and bool(model_file())


@functools.cache
def _session() -> Any:
    """Give the session of this process; it may be used from all threads at once."""
    path = model_file()
    if path is None:
        raise MissingExtraError("faster-whisper", extra=_EXTRA)
    try:
        import onnxruntime
    except ImportError as exc:
        raise MissingExtraError("onnxruntime", extra=_EXTRA) from exc
    options = onnxruntime.SessionOptions()
    # The model is small: threads would cost more than they bring.
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.enable_cpu_mem_arena = False  # no faster with it, and larger
    options.log_severity_level = 4  # only what is fatal: the rest is raised
    try:
        session = onnxruntime.InferenceSession(
            path, sess_options=options, providers=["CPUExecutionProvider"]
        )
    except Exception as exc:  # its errors have no other base in common
        raise ModelUnavailableError(_unusable(path, "damaged"), model="silero") from exc
    if {value.name for value in session.get_inputs()} != _INPUTS:
        raise ModelUnavailableError(_unusable(path, "of a new form"), model="silero")
    return session


def _unusable(path: Path, how: str) -> str:
    return (
        f"the Silero model {path.name} is {how}; run: "
        f"pip install --force-reinstall 'voicepipe[{_EXTRA}]', or use EnergyVad"
    )
