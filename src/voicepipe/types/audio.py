"""Sound as a value."""

from __future__ import annotations

import io
import wave
from pathlib import Path
from typing import Any, Self, TypeAlias

import attrs
import numpy as np
import numpy.typing as npt

from voicepipe.types import _html, _json


Samples: TypeAlias = npt.NDArray[np.float32]
"""Float32 samples, shape ``(frames, channels)``, in [-1, 1]."""


def _samples(value: npt.ArrayLike) -> Samples:
    array = np.asarray(value)
    if array.dtype == np.int16:
        array = array.astype(np.float32) / np.float32(32768.0)
    elif not np.issubdtype(array.dtype, np.floating):
        msg = f"samples must be floats in [-1, 1] or int16, not {array.dtype}"
        raise TypeError(msg)
    if array.ndim == 1:
        array = array[:, np.newaxis]
    # A view, not the caller's own object: its flag is ours to set.
    samples = np.ascontiguousarray(array, dtype=np.float32).view()
    samples.flags.writeable = False
    return samples


def _check_samples(_: object, __: object, value: Samples) -> None:
    if value.ndim != 2 or value.shape[1] == 0:
        msg = f"samples must have the shape (frames, channels), not {value.shape}"
        raise ValueError(msg)
    # One comparison finds NaN as well: every comparison with NaN is false.
    if value.size and not (value.max() <= 1.0 and value.min() >= -1.0):
        msg = "samples must be finite and within [-1, 1]"
        raise ValueError(msg)


def _check_rate(_: object, __: object, value: int) -> None:
    if value <= 0:
        msg = f"rate must be positive, not {value}"
        raise ValueError(msg)


@attrs.frozen(kw_only=True)
class DecodeReport:
    """
    What decoding a recording has shown, beside its sound.

    Counts are of the source's own frames and samples, before any change of rate.

    Attributes:
        container: What kind of file it is: ``"wav"``, ``"flac"``, ``"ogg"``, ``"mp3"``,
            ``"aac"``, ``"mp4"``, ``"webm"``, or ``"raw"``.
        codec: How the sound is coded, by FFmpeg's name: ``"pcm_s16le"``, ``"mp3"``.
        rate: The source's frames per second, Hz.
        channels: The source's number of channels.
        streams: Audio streams in the file; the first one is read.
        frames: Frames that came out.
        declared_frames: Frames that the file says it has, ``None`` where it does not
            say. Where a format does not tell padding from sound, padding included.
        truncated: Whether the file ends before its own end, or promises more than it
            has.
        unclosed: Whether the length was left open, by a writer that was killed or could
            not go back; it is then that of the bytes on disk, and nobody can tell
            whether sound is missing.
        damaged: Whether sound is lost before the end. Where the file tells how much, as
            many frames of silence stand for it.
        damaged_at_s: Where the first damage is, seconds; ``None`` without damage.
        lost_frames: Frames of silence that stand for what could not be decoded.
        trailing_bytes: Bytes behind the sound that belong to nothing known; counted in
            WAV, MP3 and ADTS files.
        bad_checksums: Frames of an MP3 whose checksum is wrong and that are decoded all
            the same, as everybody does: some encoders could not do better.
        non_finite: Samples that were NaN or infinite, and are zero now.
        clipped: Samples that were beyond [-1, 1], and are at its ends now.
    """

    container: str
    codec: str
    rate: int
    channels: int
    streams: int = 1
    frames: int = 0
    declared_frames: int | None = None
    truncated: bool = False
    unclosed: bool = False
    damaged: bool = False
    damaged_at_s: float | None = None
    lost_frames: int = 0
    trailing_bytes: int = 0
    bad_checksums: int = 0
    non_finite: int = 0
    clipped: int = 0

    @property
    def intact(self) -> bool:
        """Whether the sound is all there and as it was recorded, as far as one sees."""
        return not (self.truncated or self.damaged or self.non_finite)

    def to_json(self, *, indent: int | None = None) -> str:
        """Write the report as JSON text."""
        return _json.to_json(self, indent=indent)

    @classmethod
    def from_json(cls, text: str) -> Self:
        """
        Read what ``to_json`` wrote.

        Raises:
            ValueError: If the text is not JSON, or no report.
        """
        return _json.from_json(text, cls)


@attrs.frozen(kw_only=True, eq=False, repr=False)
class Audio:
    """
    A stretch of sound: samples, their rate, and where they begin in their stream.

    Two-dimensional always: mono is ``(frames, 1)``. The constructor also takes a
    one-dimensional array (as mono) and int16 (divided by 32,768); it keeps a read-only
    view of float32 input and does not copy it. Equality is identity.

    Attributes:
        samples: Float32, ``(frames, channels)``, C-contiguous, read-only, in [-1, 1].
        rate: Frames per second, Hz.
        start: Index of the first frame in the stream this was cut from.
        report: What decoding has shown up to the end of this stretch, ``None`` where
            the sound does not come from a recording.

    Raises:
        TypeError: If the samples are neither floats nor int16.
        ValueError: If the shape is wrong, a sample is not finite or outside [-1, 1], or
            the rate is not positive.

    Example:
        >>> import numpy as np
        >>> Audio(samples=np.zeros((8000, 2)), rate=16_000)
        <Audio 0.500 s, 16000 Hz, 2 channels>
    """

    samples: Samples = attrs.field(converter=_samples, validator=_check_samples)
    rate: int = attrs.field(validator=_check_rate)
    start: int = 0
    report: DecodeReport | None = None

    @property
    def frames(self) -> int:
        """Number of frames."""
        return int(self.samples.shape[0])

    @property
    def channels(self) -> int:
        """Number of channels."""
        return int(self.samples.shape[1])

    @property
    def duration(self) -> float:
        """Length in seconds, from the frames."""
        return self.frames / self.rate

    def channel(self, index: int) -> Audio:
        """
        Give one channel as mono.

        Raises:
            IndexError: If there is no such channel.
        """
        return attrs.evolve(self, samples=self.samples[:, index])

    def mono(self) -> Audio:
        """Give the mean of all channels as mono; mono audio returns itself."""
        return (
            self
            if self.channels == 1
            else attrs.evolve(self, samples=downmix(self.samples))
        )

    def cut(self, start: float, end: float) -> Audio:
        """
        Give the part between two times, clamped to what is there.

        Args:
            start: First second wanted, from the first frame of this audio.
            end: Second to stop before.
        """
        first = min(max(round(start * self.rate), 0), self.frames)
        last = min(max(round(end * self.rate), first), self.frames)
        return attrs.evolve(
            self, samples=self.samples[first:last], start=self.start + first
        )

    def pcm16(self) -> npt.NDArray[np.int16]:
        """
        Give 16-bit samples, shape ``(frames, channels)``.

        Times 32,768, rounded, clipped: the inverse of what the constructor does.
        """
        return pcm16(self.samples)

    def __repr__(self) -> str:
        """Tell length and format, never samples."""
        unit = "channel" if self.channels == 1 else "channels"
        return f"<Audio {self.duration:.3f} s, {self.rate} Hz, {self.channels} {unit}>"

    def _repr_html_(self) -> str:
        """Show a player in a notebook; long audio is cut, and the cut is said."""
        shown = self.cut(0.0, _html.MAX_PLAYER_S)
        buffer = io.BytesIO()
        with wave.open(buffer, "wb") as wav:
            wav.setnchannels(shown.channels)
            wav.setsampwidth(2)
            wav.setframerate(shown.rate)
            wav.writeframes(shown.pcm16().astype("<i2").tobytes())
        return _html.player(
            buffer.getvalue(), repr(self), cut=shown.frames < self.frames
        )


def downmix(samples: Samples) -> Samples:
    """
    Average the channels, shape ``(frames, channels)`` to ``(frames, 1)``.

    Adds column by column: on two channels about ten times as fast as ``mean(axis=1)``,
    and the same bits whatever the number of frames.
    """
    total = samples[:, 0].copy()
    for index in range(1, samples.shape[1]):
        total += samples[:, index]
    total *= np.float32(1.0 / samples.shape[1])
    return total[:, np.newaxis]


def pcm16(samples: npt.NDArray[Any]) -> npt.NDArray[np.int16]:
    """
    Convert float samples in [-1, 1] to int16: times 32,768, rounded, clipped.

    The inverse of dividing by 32,768, so 16-bit audio passes through bit for bit; only
    +1.0 itself, which 16 bits cannot hold, becomes 32,767. What is int16 already stays.
    """
    if samples.dtype == np.int16:
        return samples
    scaled = np.rint(samples * np.float32(32768.0))
    return np.clip(scaled, -32768, 32767).astype(np.int16)


@attrs.frozen(kw_only=True)
class WavFile:
    """
    A WAV file that was written whole.

    Attributes:
        path: Where it is.
        rate: Frames per second, Hz.
        channels: Number of channels.
        frames: Number of frames.
        report: What decoding the source has shown, ``None`` where there was none.
    """

    path: Path
    rate: int
    channels: int
    frames: int
    report: DecodeReport | None = None

    @property
    def duration(self) -> float:
        """Length in seconds."""
        return self.frames / self.rate
