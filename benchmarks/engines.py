"""Recognition against what it is built on."""

from __future__ import annotations

import functools
import importlib
import json
import os
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anyio
import faster_whisper.vad  # noqa: TID253 - the peer
import numpy as np
import pocketsphinx  # noqa: TID253 - the peer
import soundfile
from case import Case

from voicepipe import (
    Audio,
    PocketSphinxTranscriber,
    SileroOptions,
    SileroVad,
    WhisperOptions,
    WhisperSetup,
    WhisperTranscriber,
)


if TYPE_CHECKING:
    import numpy.typing as npt


ROOT = Path(__file__).parents[1]
SAMPLE = ROOT / "examples" / "data" / "sample_call.flac"
TINY = ROOT / "tests" / "tiny_whisper"
RATE = 16_000
AT_ONCE = 4


def transcribe_case() -> Case:
    """The sample call, both channels, against a decoder in the same process."""
    samples, rate = soundfile.read(SAMPLE, dtype="int16")
    audio = Audio(samples=samples, rate=rate)
    engine = PocketSphinxTranscriber()
    decoder = pocketsphinx.Decoder(bestpath=True, cmn="batch", loglevel="FATAL")
    noise = np.random.default_rng(0).integers(-1, 2, samples.shape, np.int16)
    dithered = np.where(samples == 0, noise, samples)

    def bare() -> None:
        for channel in range(dithered.shape[1]):
            bare_pocketsphinx(decoder, dithered[:, channel].tobytes())

    return Case(
        name="`PocketSphinxTranscriber`, the sample call, 2 channels",
        peer_name="pocketsphinx itself, one channel after the other",
        ours=lambda: anyio.run(engine.transcribe, audio),
        peer=bare,
    )


def bare_pocketsphinx(decoder: Any, pcm: bytes) -> None:
    """Endpoint and decode one channel, as pocketsphinx's own example does."""
    endpointer = pocketsphinx.Endpointer(sample_rate=16_000)
    size = endpointer.frame_bytes
    for at in range(0, len(pcm) - size + 1, size):
        was_speaking = endpointer.in_speech
        speech = endpointer.process(pcm[at : at + size])
        if speech is None:
            continue
        if not was_speaking:
            decoder.start_utt()
        decoder.process_raw(speech)
        if not endpointer.in_speech:
            decoder.end_utt()
            list(decoder.seg() or ())
    if endpointer.in_speech:
        decoder.end_utt()


def voice_cases() -> list[Case]:
    """One side of the sample call, with the same rules: at once, and in pieces."""
    samples, rate = soundfile.read(SAMPLE, dtype="float32", always_2d=True)
    side = np.ascontiguousarray(samples[:, :1])
    options = SileroOptions()
    same = faster_whisper.vad.VadOptions(
        min_speech_duration_ms=round(1_000 * options.min_speech_s),
        min_silence_duration_ms=round(1_000 * options.min_silence_s),
        speech_pad_ms=round(1_000 * options.pad_s),
    )

    def ours(step: int) -> None:
        vad = SileroVad(rate, options=options)
        for at in range(0, len(side), step):
            vad.push(side[at : at + step])
        vad.flush()

    def peer() -> None:
        faster_whisper.vad.get_speech_timestamps(side[:, 0], same)

    return [
        Case(
            name=f"`SileroVad`, one side of the sample call, {how}",
            peer_name="`faster_whisper.vad.get_speech_timestamps`, in one call",
            ours=functools.partial(ours, step),
            peer=peer,
        )
        for how, step in (
            ("in one push", len(side)),
            ("pushes of 1 s", rate),
            ("pushes of 20 ms", rate // 50),
        )
    ]


def whisper_cases() -> list[Case]:
    """
    The tests' tiny Whisper, where what is not the network's work shows most.

    Same weights, same arrays, same options. Both sides keep their model.
    """
    sounds = [spoken(seed, seconds=60.0) for seed in range(AT_ONCE)]
    return [
        one_file(sounds[0], batch_size=None),
        one_file(sounds[0], batch_size=8),
        many_files(sounds, "its defaults"),
        many_files(sounds, f"`num_workers={AT_ONCE}`", num_workers=AT_ONCE),
        many_files(sounds, "as many workers and threads", **like_ours()),
    ]


def one_file(pcm: npt.NDArray[np.int16], *, batch_size: int | None) -> Case:
    """One recording, after the other's; both with all cores."""
    engine = transcriber(batch_size=batch_size, setup=WhisperSetup(workers=1))
    model = faster_whisper.WhisperModel(
        str(TINY / "model"),
        device="cpu",
        compute_type="int8",
        cpu_threads=os.cpu_count() or 1,
    )
    batched = faster_whisper.BatchedInferencePipeline(model)
    how = "sequential" if batch_size is None else f"batches of {batch_size}"
    if batch_size is None:
        peer = functools.partial(bare_whisper, model.transcribe, pcm)
    else:
        peer = functools.partial(
            bare_whisper, batched.transcribe, pcm, batch_size=batch_size
        )
    return Case(
        name=f"`WhisperTranscriber`, 1 min of phrases, tiny, int8, {how}",
        peer_name="faster-whisper itself, the same array and options",
        ours=functools.partial(transcribe_all, engine, [pcm]),
        peer=peer,
    )


def like_ours() -> dict[str, int]:
    """Give the peer's settings that are our defaults on this machine."""
    workers, threads = WhisperSetup().shared_out()
    return {"num_workers": workers, "cpu_threads": threads}


def many_files(sounds: list[npt.NDArray[np.int16]], how: str, **setup: int) -> Case:
    """Several recordings at once; ours with its defaults."""
    engine = transcriber(batch_size=None, setup=WhisperSetup())
    model = faster_whisper.WhisperModel(
        str(TINY / "model"), device="cpu", compute_type="int8", **setup
    )

    def peer() -> None:
        with ThreadPoolExecutor(AT_ONCE) as pool:
            list(pool.map(functools.partial(bare_whisper, model.transcribe), sounds))

    return Case(
        name=f"`WhisperTranscriber`, {AT_ONCE} times 1 min at once, tiny, int8",
        peer_name=f"faster-whisper in {AT_ONCE} threads, one model, {how}",
        ours=functools.partial(transcribe_all, engine, sounds),
        peer=peer,
    )


def transcriber(*, batch_size: int | None, setup: WhisperSetup) -> WhisperTranscriber:
    """Make ours, with the options of ``bare_whisper``."""
    options = WhisperOptions(
        language="en", batch_size=batch_size, temperatures=(0.0,), beam_size=5
    )
    return WhisperTranscriber(TINY / "model", setup=setup, options=options)


def transcribe_all(
    engine: WhisperTranscriber, sounds: list[npt.NDArray[np.int16]]
) -> None:
    """Transcribe recordings at once."""

    async def work() -> None:
        async with anyio.create_task_group() as group:
            for pcm in sounds:
                audio = Audio(samples=pcm, rate=RATE)
                group.start_soon(engine.transcribe, audio)

    anyio.run(work)


def bare_whisper(transcribe: Any, pcm: npt.NDArray[np.int16], **mode: Any) -> None:
    """Transcribe one recording as faster-whisper's own example does."""
    segments, _ = transcribe(
        pcm.astype(np.float32) / 32_768,
        language="en",
        beam_size=5,
        temperature=0.0,
        word_timestamps=True,
        condition_on_previous_text=False,
        vad_filter=True,
        **mode,
    )
    list(segments)


def spoken(seed: int, *, seconds: float) -> npt.NDArray[np.int16]:
    """Say phrases of the tests' list with pauses, by ``espeak-ng`` and ``flite``."""
    sys.path.insert(0, str(TINY.parent))
    speech = importlib.import_module("tiny_whisper.speech")
    phrases = json.loads((TINY / "evaluation.json").read_text("utf-8"))
    phrases = [*phrases["long espeak"], *phrases["long flite"]]
    rng = np.random.default_rng(seed)
    parts: list[npt.NDArray[np.float32]] = []
    while sum(map(len, parts)) < seconds * RATE:
        said = phrases[rng.integers(len(phrases))]
        voice = speech.Voice(said["engine"], said["name"])
        pause = rng.uniform(0.2, 3.0)
        parts.append(speech.phrase(voice, said["text"], after=pause).samples)
    sound = np.concatenate(parts)[: round(seconds * RATE)]
    return np.round(sound * 32_767).astype(np.int16)
