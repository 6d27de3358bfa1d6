from __future__ import annotations

import itertools

import numpy as np
import pytest
from diarization_error import diarization_error
from speaker_calls import UNSEEN, SpeakerCall, Voice, speaker_call

from voicepipe import Audio, ChannelDiarizer, EnergyVad, Turn
from voicepipe.asr.speakers.call import CallDiarizer
from voicepipe.asr.speakers.diarizer import SpeakerDiarizer
from voicepipe.asr.speakers.options import SpeakerOptions
from voicepipe.testing import check_diarizer


# Engines take their time on a busy machine.

RMS = Voice("flite", "rms")
SLT = Voice("flite", "slt")
MARCO = Voice("espeak", "en-us+Marco")
BELINDA = Voice("espeak", "en-us+belinda")


def diarize(
    diarizer: SpeakerDiarizer | CallDiarizer | ChannelDiarizer,
    audio: Audio,
    *,
    step_s: float = 1e9,
) -> tuple[Turn, ...]:
    session = diarizer.session(rate=audio.rate, channels=audio.channels)
    turns: list[Turn] = []
    at = 0.0
    while at < audio.duration:
        turns.extend(session.push(audio.cut(at, at + step_s)))
        at += step_s
    return (*turns, *session.flush())


@pytest.fixture(scope="module")
def call() -> SpeakerCall:
    return speaker_call([RMS, SLT], seed=3, seconds=100.0)


def names(turns: tuple[Turn, ...]) -> list[str]:
    return sorted({turn.speaker for turn in turns})


def test_two_voices_are_told_apart(call: SpeakerCall) -> None:
    found = diarize(SpeakerDiarizer(), call.audio)

    assert names(found) == ["Speaker00", "Speaker01"]
    assert diarization_error(call.turns, found, collar=0.25).rate < 0.05
    assert diarization_error(call.turns, found).rate < 0.12


@pytest.mark.parametrize("sound", ["noise", "telephone"])
def test_noise_and_telephones_do_not_hide_who_speaks(sound: str) -> None:
    heard = speaker_call([MARCO, BELINDA], seed=5, seconds=100.0, sound=sound)  # type: ignore[arg-type]
    found = diarize(SpeakerDiarizer(), heard.audio)

    assert names(found) == ["Speaker00", "Speaker01"]
    assert diarization_error(heard.turns, found, collar=0.25).rate < 0.08


def test_three_voices_are_three() -> None:
    heard = speaker_call([RMS, SLT, BELINDA], seed=4, seconds=100.0)
    found = diarize(SpeakerDiarizer(), heard.audio)

    assert len(names(found)) == 3
    assert diarization_error(heard.turns, found, collar=0.25).rate < 0.1


@pytest.mark.parametrize("voice", [RMS, *UNSEEN["f"][:1]])
def test_one_voice_is_one(voice: Voice) -> None:
    heard = speaker_call([voice], seed=6, seconds=100.0)

    assert names(diarize(SpeakerDiarizer(), heard.audio)) == ["Speaker00"]


def test_the_number_of_speakers_may_be_told(call: SpeakerCall) -> None:
    one = SpeakerDiarizer(SpeakerOptions(speakers=1))
    few = SpeakerDiarizer(SpeakerOptions(min_speakers=3, max_speakers=3))

    assert names(diarize(one, call.audio)) == ["Speaker00"]
    assert len(names(diarize(few, call.audio))) == 3


def test_most_speakers_bound_what_is_found() -> None:
    heard = speaker_call([RMS, SLT, BELINDA], seed=4, seconds=100.0)
    two = SpeakerDiarizer(SpeakerOptions(max_speakers=2))

    assert len(names(diarize(two, heard.audio))) == 2


def test_turns_are_in_order_and_apart(call: SpeakerCall) -> None:
    found = diarize(SpeakerDiarizer(), call.audio)

    assert found[0].speaker == "Speaker00"
    assert all(turn.end > turn.start for turn in found)
    assert all(a.end <= b.start for a, b in itertools.pairwise(found))
    assert found[-1].end <= call.audio.duration
    assert {turn.channel for turn in found} == {None}


def test_turns_do_not_depend_on_how_sound_is_cut() -> None:
    audio = speaker_call([RMS, SLT], seed=9, seconds=20.0, sound="telephone").audio
    whole = diarize(SpeakerDiarizer(), audio)

    assert whole
    assert diarize(SpeakerDiarizer(), audio, step_s=0.37) == whole
    assert diarize(SpeakerDiarizer(), audio, step_s=7.001) == whole


def test_any_detector_of_speech_will_do(call: SpeakerCall) -> None:
    found = diarize(SpeakerDiarizer(detector=EnergyVad), call.audio)

    assert diarization_error(call.turns, found, collar=0.25).rate < 0.08


async def test_the_law_of_diarizers_is_kept(call: SpeakerCall) -> None:
    speech = call.audio.cut(0.0, 5.0)

    await check_diarizer(SpeakerDiarizer(), speech=speech)
    await check_diarizer(CallDiarizer(), speech=speech)


@pytest.mark.parametrize("seconds", [0.0, 0.005, 0.04, 0.2, 0.7])
def test_short_sounds_do_no_harm(seconds: float) -> None:
    noise = np.random.default_rng(0).uniform(-0.5, 0.5, round(seconds * 16_000))
    padded = np.concatenate([np.zeros(16_000), noise, np.zeros(16_000)])
    for samples in (noise, padded):
        audio = Audio(samples=samples.astype(np.float32), rate=16_000)
        found = diarize(SpeakerDiarizer(detector=EnergyVad), audio)

        assert len(names(found)) <= 1
        assert all(0.0 <= turn.start < turn.end for turn in found)


def test_an_ended_session_takes_no_more(call: SpeakerCall) -> None:
    session = SpeakerDiarizer().session(rate=16_000, channels=1)
    session.flush()

    with pytest.raises(ValueError, match="flushed"):
        session.push(call.audio)
    with pytest.raises(ValueError, match="flushed"):
        session.flush()


def test_channels_that_differ_are_the_speakers(call: SpeakerCall) -> None:
    quiet = np.zeros_like(call.audio.samples)
    sides = [quiet.copy(), quiet.copy()]
    for turn in call.turns:
        part = slice(round(turn.start * 16_000), round(turn.end * 16_000))
        sides[turn.speaker == "voice1"][part] = call.audio.samples[part]
    stereo = Audio(samples=np.concatenate(sides, axis=1), rate=16_000)
    found = diarize(CallDiarizer(), stereo)

    assert {(turn.speaker, turn.channel) for turn in found} == {
        ("Speaker00", 0),
        ("Speaker01", 1),
    }


def test_channels_that_carry_one_signal_are_heard_as_one(call: SpeakerCall) -> None:
    stereo = Audio(samples=np.repeat(call.audio.samples, 2, axis=1), rate=16_000)
    mono = diarize(SpeakerDiarizer(), call.audio)

    assert diarize(CallDiarizer(), stereo) == mono
    assert diarize(CallDiarizer(), call.audio) == mono


def test_windows_beyond_a_lot_are_grouped_as_well(
    monkeypatch: pytest.MonkeyPatch, call: SpeakerCall
) -> None:
    # Lots of 512 s would take a recording of more than that.
    monkeypatch.setattr("voicepipe.asr.speakers.cluster._AT_ONCE", 24)
    monkeypatch.setattr("voicepipe.asr.speakers.cluster._KEPT", 6)
    found = diarize(SpeakerDiarizer(), call.audio)

    assert names(found) == ["Speaker00", "Speaker01"]
    assert diarization_error(call.turns, found, collar=0.25).rate < 0.08


@pytest.mark.parametrize(
    "wrong",
    [
        {"speakers": 0},
        {"speakers": 9},
        {"min_speakers": 0},
        {"max_speakers": 9},
        {"min_speakers": 3, "max_speakers": 2},
        {"distance": 0.0},
        {"least_s": -1.0},
    ],
)
def test_options_out_of_range_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        SpeakerOptions(**wrong)  # type: ignore[arg-type]
