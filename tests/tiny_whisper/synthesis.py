"""Run the two synthesisers, and find out where they say which word."""

from __future__ import annotations

import ctypes
import ctypes.util
import functools
import subprocess
import tempfile
import threading
import wave
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from tiny_whisper.voices import SpeechMissingError, Voice


if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

# Samples, their rate, and the seconds where words start and end.
Said: TypeAlias = "tuple[NDArray[np.float32], int, list[float], list[float]]"


# espeak-ng: the program gives the samples, always the same. Its library, which comes
# with it, tells when words begin; its own samples vary by some milliseconds with what
# was said before. The numbers are those of espeak-ng/speak_lib.h.


class _Event(ctypes.Structure):
    _fields_ = (
        ("type", ctypes.c_int),
        ("message", ctypes.c_uint),
        ("text_position", ctypes.c_int),
        ("length", ctypes.c_int),
        ("audio_position", ctypes.c_int),
        ("sample", ctypes.c_int),
        ("user_data", ctypes.c_void_p),
        ("id", ctypes.c_char * 8),
    )


class _VoiceAsked(ctypes.Structure):
    _fields_ = (
        ("name", ctypes.c_char_p),
        ("languages", ctypes.c_char_p),
        ("identifier", ctypes.c_char_p),
        ("gender_age_variant_xx1", ctypes.c_ubyte * 4),
        ("score", ctypes.c_int),
        ("spare", ctypes.c_void_p),
    )


_HEARD = ctypes.CFUNCTYPE(
    ctypes.c_int,
    ctypes.POINTER(ctypes.c_short),
    ctypes.c_int,
    ctypes.POINTER(_Event),
)
_SYNCHRONOUS, _WORD_EVENT, _RATE, _PITCH, _UTF8 = 2, 1, 1, 3, 1


class _Espeak:
    """The library, which has one voice and one callback for the whole process."""

    def __init__(self) -> None:
        name = ctypes.util.find_library("espeak-ng") or "libespeak-ng.so.1"
        try:
            self._lib = ctypes.CDLL(name)
        except OSError:
            raise SpeechMissingError("espeak") from None
        self._rate = int(self._lib.espeak_Initialize(_SYNCHRONOUS, 0, None, 0))
        if self._rate <= 0:
            raise SpeechMissingError("espeak")
        self._lock = threading.Lock()
        self._frames = 0
        self._starts: dict[int, int] = {}
        self._callback = _HEARD(self._heard)
        self._lib.espeak_SetSynthCallback(self._callback)

    def _heard(self, samples: Any, count: int, events: Any) -> int:
        self._frames += count if samples else 0
        at = 0
        while events[at].type:
            # Positions count characters from 1; 0 marks the end of some texts.
            if events[at].type == _WORD_EVENT and events[at].text_position:
                self._starts[events[at].text_position - 1] = events[at].sample
            at += 1
        return 0

    def _choose(self, name: bytes) -> None:
        if self._lib.espeak_SetVoiceByName(name) == 0:
            return
        # As the program does: some names are languages of a voice.
        asked = _VoiceAsked(languages=name)
        if self._lib.espeak_SetVoiceByProperties(ctypes.byref(asked)) != 0:
            raise ValueError(f"espeak-ng has no voice {name.decode()!r}")

    def starts(self, voice: Voice, text: str) -> tuple[dict[int, float], float]:
        """Give the second at which each word begins, by its place in the text."""
        with self._lock:
            self._frames, self._starts = 0, {}
            self._choose(voice.name.encode())
            self._lib.espeak_SetParameter(_RATE, voice.speed, 0)
            self._lib.espeak_SetParameter(_PITCH, voice.pitch, 0)
            data = text.encode()
            # Parameters: text, size, position, its type, end, flags, id, user data.
            self._lib.espeak_Synth(data, len(data) + 1, 0, 1, 0, _UTF8, None, None)
            self._lib.espeak_Synchronize()
            starts = {at: frame / self._rate for at, frame in self._starts.items()}
            return starts, self._frames / self._rate


@functools.cache
def _espeak_library() -> _Espeak:
    return _Espeak()


def espeak(voice: Voice, words: tuple[str, ...]) -> Said:
    """Let espeak-ng say these words."""
    text = " ".join(words)
    begun, length = _espeak_library().starts(voice, text)
    offsets = [sum(len(word) + 1 for word in words[:i]) for i in range(len(words))]
    if 0 not in begun or any(at not in offsets for at in begun):
        raise ValueError(f"espeak-ng reads {text!r} as other words")
    # Few pairs are one entry of its dictionary, so that the second has no event; of
    # the words here only "no one", whose halves are about as long.
    known = [at for at in offsets if at in begun]
    starts = np.interp(
        [*offsets, len(text) + 1],
        [*known, len(text) + 1],
        [*(begun[at] for at in known), length],
    ).tolist()
    command = ["espeak-ng", "-v", voice.name, "-s", str(voice.speed)]
    command += ["-p", str(voice.pitch), "--", text]
    samples, rate, _ = _run("espeak", command, "-w")
    # A word ends where the next begins; the last one, where the sound does.
    return samples, rate, starts[:-1], starts[1:]


# flite: its program tells each phone and when it ends; a word has as many phones in a
# phrase as alone, though not always the same ("address").


def flite(voice: Voice, words: tuple[str, ...]) -> Said:
    """Let flite say these words."""
    samples, rate, told = _flite_run(voice, " ".join(words))
    begun = [0.0, *(end for _, end in told)]
    phones = [
        (start, end)
        for start, (name, end) in zip(begun, told, strict=False)
        if name != "pau"
    ]
    counts = [_flite_phones(voice.name, word) for word in words]
    if sum(counts) != len(phones):
        raise ValueError(f"flite says {' '.join(words)!r} otherwise than word by word")
    first = np.cumsum([0, *counts])
    starts = [phones[at][0] for at in first[:-1]]
    ends = [phones[at - 1][1] for at in first[1:]]
    return samples, rate, starts, ends


@functools.cache
def _flite_phones(name: str, word: str) -> int:
    told = _flite_run(Voice("flite", name), word)[2]
    return sum(phone != "pau" for phone, _ in told)


def _flite_run(
    voice: Voice, text: str
) -> tuple[NDArray[np.float32], int, list[tuple[str, float]]]:
    """Give the samples, their rate, and each phone with its end in seconds."""
    if voice.name not in _flite_voices():
        # It would speak, as another.
        raise ValueError(f"flite has no voice {voice.name!r}")
    command = ["flite", "-voice", voice.name, "-psdur"]
    command += ["--setf", f"duration_stretch={voice.stretch:.3f}"]
    if voice.f0:
        command += ["--setf", f"int_f0_target_mean={voice.f0}"]
    samples, rate, told = _run("flite", [*command, "-t", text], "-o")
    phones = [item.rsplit(":", 1) for item in told.split()]
    return samples, rate, [(name, float(end)) for name, end in phones]


@functools.cache
def _flite_voices() -> frozenset[str]:
    try:
        told = subprocess.run(
            ["flite", "-lv"], check=True, capture_output=True, text=True
        ).stdout
    except FileNotFoundError:
        raise SpeechMissingError("flite") from None
    return frozenset(told.partition(":")[2].split())


def _run(
    engine: str, command: Sequence[str], into: str
) -> tuple[NDArray[np.float32], int, str]:
    """Run a program that speaks into a file: its samples, rate and printed text."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "said.wav")
        whole = [command[0], into, str(path), *command[1:]]
        try:
            done = subprocess.run(whole, check=False, capture_output=True, text=True)
        except FileNotFoundError:
            raise SpeechMissingError(engine) from None
        if done.returncode or not path.exists():
            raise ValueError(f"{command[0]} could not speak: {done.stderr.strip()}")
        with wave.open(str(path), "rb") as said:
            rate = said.getframerate()
            raw = said.readframes(said.getnframes())
    samples = np.frombuffer(raw, np.int16).astype(np.float32) / np.float32(32768)
    return samples, rate, done.stdout
