"""
A server that plays OpenAI's transcription API, strictly.

It hears what is in the files that it is sent: words are hidden in speech as pairs of
tones above it, so that what comes back, and when, can be checked to the word.
"""

from __future__ import annotations

import functools
import io
import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import attrs
import numpy as np
import numpy.typing as npt
import python_multipart
import soundfile
import soxr
from upload_server import UploadExchange, UploadServer

from voicepipe.types import Audio


if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from fault_server import Exchange


Sound: TypeAlias = npt.NDArray[np.float32]

PATH = "/v1/audio/transcriptions"
KEY = "sk-proj-4f7Qx2mVt9Lb31ZsR8kW"
RATE = 16_000
WORD_S = 0.3
STEP_S = 0.4
"""A word, and from the start of one to that of the next in a sentence."""

_TONES = 28
_LOW, _HIGH, _APART = 4_800, 5_980, 40
_SAMPLE = Path(__file__).parents[1] / "examples" / "data" / "sample_call.flac"

_FORMATS = {
    "whisper-1": {"json", "text", "srt", "verbose_json", "vtt"},
    "gpt-4o-transcribe": {"json", "text"},
    "gpt-4o-mini-transcribe": {"json", "text"},
    "gpt-4o-transcribe-diarize": {"json", "text", "diarized_json"},
}
_KNOWN = {
    "file",
    "model",
    "language",
    "prompt",
    "response_format",
    "temperature",
    "timestamp_granularities[]",
    "chunking_strategy",
}


@functools.cache
def _speech() -> tuple[Sound, list[int]]:
    """Give speech without what is above 4 kHz, and where its utterances begin."""
    call, rate = soundfile.read(_SAMPLE, dtype="float32")
    turns = json.loads(_SAMPLE.with_suffix(".json").read_text("utf-8"))["turns"]
    pieces = [
        call[round(a * rate) : round(b * rate), turn["channel"]]
        for turn in turns
        for a, b in turn["speech"]
    ]
    narrow = [
        soxr.resample(soxr.resample(piece, rate, 8_000), 8_000, RATE)
        for piece in pieces
    ]
    begins = np.cumsum([0, *map(len, narrow[:-1])]).tolist()
    return np.concatenate([*narrow, *narrow]), begins


@functools.cache
def _code(number: int) -> Sound:
    time = np.arange(round(WORD_S * RATE)) / RATE
    low, high = divmod(number % _TONES**2, _TONES)
    tones = np.sin(2 * np.pi * (_LOW + _APART * low) * time)
    tones += np.sin(2 * np.pi * (_HIGH + _APART * high) * time)
    fade = np.minimum(1.0, np.minimum(time, time[::-1]) / 0.01)
    return (0.02 * fade * tones).astype(np.float32)


@attrs.frozen(kw_only=True)
class Said:
    """A word and where it begins, seconds."""

    number: int
    start: float

    @property
    def text(self) -> str:
        return f"w{self.number % _TONES**2}"


def sentence(start: float, first: int, count: int) -> list[Said]:
    """Give the words of a sentence."""
    return [
        Said(number=first + place, start=start + place * STEP_S)
        for place in range(count)
    ]


def spoken(words: Iterable[Said], duration: float) -> Sound:
    """Give the sound in which these words are said, shape ``(n,)``."""
    speech, begins = _speech()
    sound = np.zeros(round(duration * RATE), np.float32)
    length = round(STEP_S * RATE)
    place, end, count = 0, -1.0, 0
    for word in words:
        at = round(word.start * RATE)
        if word.start > end + 0.01:
            # A sentence begins as somebody begins to speak.
            place = begins[count % len(begins)]
            count += 1
        end = word.start + STEP_S
        # Speech goes on between the words of a sentence.
        here = sound[at : at + length]
        here += 0.8 * speech[place : place + len(here)]
        place = (place + length) % (len(speech) // 2)
        code = _code(word.number)
        sound[at : at + len(code)] += code[: len(sound) - at]
    return sound


def audio(*channels: Sound) -> Audio:
    """Make audio of channels."""
    return Audio(samples=np.clip(np.stack(channels, axis=1), -1, 1), rate=RATE)


def heard(sound: Sound) -> list[tuple[str, float, float]]:
    """Find the words and their times: text, start, end."""
    hop, width = 80, 320
    window = np.hanning(width).astype(np.float32)
    loud: list[npt.NDArray[np.bool_]] = []
    first = round(_LOW * width / RATE) - 1
    last = round((_HIGH + _APART * _TONES) * width / RATE) + 1
    for at in range(0, max(len(sound) - width, 0) + 1, 1 << 20):
        block = sound[at : at + (1 << 20) + width - hop]
        if len(block) < width:
            break
        frames = np.lib.stride_tricks.sliding_window_view(block, width)[::hop]
        power = np.abs(np.fft.rfft(frames * window, axis=1)[:, first:last])
        loud.append(power.max(axis=1) > 0.4)
    flags = np.concatenate([[False], *loud, [False]])
    edges = np.flatnonzero(np.diff(flags.astype(np.int8)))
    found = []
    for begin, end in edges.reshape(-1, 2).tolist():
        a, b = begin * hop + width // 2, (end - 1) * hop + width // 2
        if b - a >= 0.02 * RATE:
            found.append((_number(sound[a:b]), a / RATE, b / RATE))
    return [(f"w{number}", start, end) for number, start, end in found]


def _number(burst: Sound) -> int:
    size = 1 << 15
    power = np.abs(np.fft.rfft(burst * np.hanning(len(burst)), size))

    def loudest(base: int) -> int:
        bins = [round((base + _APART * k) * size / RATE) for k in range(_TONES)]
        return int(np.argmax([power[b - 20 : b + 21].max() for b in bins]))

    return loudest(_LOW) * _TONES + loudest(_HIGH)


@attrs.frozen(kw_only=True)
class Asked:
    """A request that was understood: its fields in their order, and its file."""

    fields: list[tuple[str, str]]
    name: str
    kind: str
    size: int
    seconds: float

    def all(self, name: str) -> list[str]:
        return [value for key, value in self.fields if key == name]


class RefusedError(Exception):
    """The request is wrong."""

    def __init__(self, status: int, message: str, code: str | None = None) -> None:
        super().__init__(message)
        self.status, self.code = status, code


class OpenAIService(UploadServer):
    """
    The service.

    Attributes:
        asked: What was understood.
        language: What it says of the language.
        most_bytes: The largest request it takes.
        most_s: The longest sound it takes, for models that have such a limit.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.files: list[Asked] = []
        self.language = "english"
        self.most_bytes = 26_214_400
        self.most_s = {name: 1_400.0 for name in _FORMATS if name != "whisper-1"}
        self.base = self.url("/v1")
        self.answers()

    def answers(self, *first: Callable[[Exchange], None]) -> None:
        """Say how it answers at first; then as it should."""
        self.on(PATH, *first, self.transcribe)

    def transcribe(self, exchange: Exchange) -> None:
        """Answer as OpenAI would."""
        assert isinstance(exchange, UploadExchange)
        try:
            kind, body = self._answered(exchange)
            status = 200
        except RefusedError as exc:
            kind, status = "application/json", exc.status
            error = {
                "message": str(exc),
                "type": "invalid_request_error",
                "param": None,
                "code": exc.code,
            }
            body = json.dumps({"error": error}).encode()
        # Bodies are large, and what was in them is known.
        exchange.uploaded.body = b""
        exchange.stay = not exchange._left
        exchange.head(status, f"Content-Type: {kind}", f"Content-Length: {len(body)}")
        exchange.body(body)
        if exchange._left:
            exchange.hold()

    def _answered(self, exchange: UploadExchange) -> tuple[str, bytes]:
        seen = exchange.uploaded
        self._check_key(seen.header("authorization"))
        if seen.method != "POST":
            raise RefusedError(405, "Not allowed to " + seen.method)
        length = int(seen.header("content-length") or 0)
        if length > self.most_bytes:
            exchange.take(1 << 20)
            limit = f"Maximum content size limit ({self.most_bytes}) exceeded"
            raise RefusedError(413, f"{limit} ({length} bytes read)")
        fields, name, kind, data = _parsed(seen.headers, exchange.take())
        asked, sound = self._understood(fields, name, kind, data)
        self.files.append(asked)
        return self._said(asked, heard(sound))

    def _check_key(self, value: str | None) -> None:
        if value is None:
            raise RefusedError(401, "You didn't provide an API key.")
        if value != f"Bearer {KEY}":
            key = value.removeprefix("Bearer ")
            shown = f"{key[:8]}{'*' * 8}{key[-4:]}"
            raise RefusedError(
                401, f"Incorrect API key provided: {shown}.", "invalid_api_key"
            )

    def _understood(
        self, fields: list[tuple[str, str]], name: str, kind: str, data: bytes
    ) -> tuple[Asked, Sound]:
        values = dict(fields)
        if unknown := set(values) - _KNOWN:
            raise RefusedError(
                400, f"Unrecognized request argument supplied: {unknown}"
            )
        model = values.get("model", "")
        if model not in _FORMATS:
            raise RefusedError(
                404, f"The model `{model}` does not exist", "model_not_found"
            )
        self._check_fields(values, model)
        ending = Path(name).suffix.removeprefix(".")
        if ending not in {"flac", "wav", "mp3", "ogg"} or kind != f"audio/{ending}":
            raise RefusedError(400, f"Invalid file format: {name!r}, {kind!r}")
        try:
            sound, rate = soundfile.read(io.BytesIO(data), dtype="float32")
        except soundfile.LibsndfileError:
            raise RefusedError(400, "The audio file could not be decoded") from None
        assert rate == RATE and sound.ndim == 1  # noqa: PT018
        seconds = len(sound) / rate
        if seconds < 0.1:
            raise RefusedError(400, "Audio file is too short. Minimum is 0.1 seconds.")
        most = self.most_s.get(model, float("inf"))
        if seconds > most:
            raise RefusedError(
                400,
                f"audio duration {seconds} seconds is longer than {most:g} seconds "
                "which is the maximum for this model",
                "invalid_value",
            )
        asked = Asked(
            fields=fields, name=name, kind=kind, size=len(data), seconds=seconds
        )
        return asked, sound

    @staticmethod
    def _check_fields(values: dict[str, str], model: str) -> None:
        answer = values.get("response_format", "json")
        if answer not in _FORMATS[model]:
            raise RefusedError(
                400,
                f"response_format '{answer}' is not compatible with model '{model}'",
            )
        if "timestamp_granularities[]" in values and answer != "verbose_json":
            raise RefusedError(400, "timestamp_granularities wants verbose_json")
        if not 0 <= float(values.get("temperature", "0")) <= 1:
            raise RefusedError(400, "temperature is out of its range")
        if not re.fullmatch("[a-z]{2,3}", values.get("language", "en")):
            raise RefusedError(400, "Language parameter must be in ISO-639-1 format.")
        if model.endswith("diarize") and "chunking_strategy" not in values:
            raise RefusedError(400, "chunking_strategy is required")

    def _said(
        self, asked: Asked, words: list[tuple[str, float, float]]
    ) -> tuple[str, bytes]:
        sentences: list[list[tuple[str, float, float]]] = []
        for word in words:
            if not sentences or word[1] - sentences[-1][-1][2] > 0.5:
                sentences.append([])
            sentences[-1].append(word)
        texts = [" " + " ".join(w for w, *_ in one) + "." for one in sentences]
        text = "".join(texts).strip()
        answer = dict(asked.fields).get("response_format", "json")
        if answer == "text":
            return "text/plain; charset=utf-8", text.encode() + b"\n"
        data: dict[str, Any] = {"text": text}
        if answer in {"verbose_json", "diarized_json"}:
            data |= {
                "task": "transcribe",
                "language": self.language,
                "duration": asked.seconds,
            }
            granularities = asked.all("timestamp_granularities[]")
            if "word" in granularities:
                data["words"] = [
                    {"word": w, "start": round(a, 2), "end": round(b, 2)}
                    for w, a, b in words
                ]
            if answer == "diarized_json" or granularities in ([], ["word", "segment"]):
                data["segments"] = [
                    _segment(place, said, one, diarized=answer == "diarized_json")
                    for place, (said, one) in enumerate(
                        zip(texts, sentences, strict=True)
                    )
                ]
        return "application/json", json.dumps(data).encode()


def _segment(
    place: int, text: str, words: list[tuple[str, float, float]], *, diarized: bool
) -> dict[str, Any]:
    times = {"start": round(words[0][1], 2), "end": round(words[-1][2], 2)}
    if diarized:
        kind = {"id": f"seg_{place}", "type": "transcript.text.segment", "speaker": "A"}
        return {**kind, **times, "text": text}
    return {
        "id": place,
        "seek": 0,
        **times,
        "text": text,
        "tokens": [50364, 50514],
        "temperature": 0.0,
        "avg_logprob": -0.2,
        "compression_ratio": 1.1,
        "no_speech_prob": 0.01,
    }


def _parsed(
    headers: tuple[tuple[str, str], ...], body: bytes
) -> tuple[list[tuple[str, str]], str, str, bytes]:
    """Take a form apart by a parser that others have written."""
    kind = dict(headers).get("content-type", "")
    if not kind.startswith("multipart/form-data"):
        raise RefusedError(400, "Could not parse multipart form")
    fields: list[tuple[str, str]] = []
    files: list[Any] = []
    parser = python_multipart.create_form_parser(
        {"Content-Type": kind.encode()},
        lambda field: fields.append(
            (field.field_name.decode(), (field.value or b"").decode())
        ),
        files.append,
        config={"MAX_MEMORY_FILE_SIZE": 1 << 26},
    )
    parser.write(body)
    parser.finalize()
    parser.close()
    if len(files) != 1 or files[0].field_name != b"file":
        raise RefusedError(400, "one file is wanted")
    [file] = files
    name = (file.file_name or b"").decode()
    # The parser does not tell a part's own type.
    found = re.search(rb"(?i)\r\nContent-Type: ([\w/+-]+)\r\n", body[:8192])
    file.file_object.seek(0)
    data = file.file_object.read()
    file.close()
    return fields, name, found[1].decode() if found else "", data
