from __future__ import annotations

import fractions
import io
import itertools
import sys
import warnings
from typing import TYPE_CHECKING

import av
import numpy as np
import pytest
import soundfile as sf
from hypothesis import given
from hypothesis import strategies as st

from voicepipe.stream.g711 import G711Decoder, G711Encoder, compress, expand
from voicepipe.testing import check_stage
from voicepipe.types.audio import pcm16


if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import numpy.typing as npt

    from voicepipe.stream.g711 import G711Law

    Codes = npt.NDArray[np.uint8]
    Pcm = npt.NDArray[np.int16]


LAWS: tuple[G711Law, ...] = ("mulaw", "alaw")
ALL_CODES = np.arange(256, dtype=np.uint8)
ALL_SAMPLES = np.arange(-32_768, 32_768).astype(np.int16)

# Where segments begin and their number of steps, from the first columns of tables
# 1a and 2a of G.711; and what its values are multiplied by to fill 16 bits.
SEGMENTS = {
    "mulaw": {0: 1, 1: 15, 31: 16, 95: 16, 223: 16, 479: 16, 991: 16}
    | {2_015: 16, 4_063: 16, 8_159: 0},
    "alaw": {0: 32, 64: 16, 128: 16, 256: 16, 512: 16, 1_024: 16, 2_048: 16, 4_096: 0},
}
SCALE = {"mulaw": 4, "alaw": 8}


def decision_values(law: G711Law) -> list[int]:
    """Give column 4 of table 1a or 2a, in 16 bits: 129 values, the last one virtual."""
    values = []
    ends = list(SEGMENTS[law].items())
    for (begin, steps), (end, _) in itertools.pairwise(ends):
        values += [begin + (end - begin) // steps * index for index in range(steps)]
    return [SCALE[law] * value for value in [*values, ends[-1][0]]]


def soundfile_decode(codes: Codes, law: G711Law) -> Pcm:
    subtype = {"mulaw": "ULAW", "alaw": "ALAW"}[law]
    file = io.BytesIO(codes.tobytes())
    return sf.read(
        file, dtype="int16", samplerate=8_000, channels=1, format="RAW", subtype=subtype
    )[0]


def soundfile_encode(samples: Pcm, law: G711Law) -> Codes:
    subtype = {"mulaw": "ULAW", "alaw": "ALAW"}[law]
    file = io.BytesIO()
    sf.write(file, samples, 8_000, format="RAW", subtype=subtype)
    return np.frombuffer(file.getvalue(), np.uint8)


def av_decode(codes: Codes, law: G711Law) -> Pcm:
    codec = av.CodecContext.create(f"pcm_{law}", "r")
    codec.sample_rate, codec.layout = 8_000, "mono"
    frames = codec.decode(av.Packet(codes.tobytes())) + codec.decode(None)
    return np.concatenate([frame.to_ndarray().reshape(-1) for frame in frames])


def av_encode(samples: Pcm, law: G711Law) -> Codes:
    codec = av.CodecContext.create(f"pcm_{law}", "w")
    codec.sample_rate, codec.layout, codec.format = 8_000, "mono", "s16"
    codec.time_base = fractions.Fraction(1, 8_000)
    frame = av.AudioFrame.from_ndarray(samples[None, :], format="s16", layout="mono")
    frame.sample_rate = 8_000
    packets = codec.encode(frame) + codec.encode(None)
    return np.frombuffer(b"".join(map(bytes, packets)), np.uint8)


def audioop_decode(codes: Codes, law: G711Law) -> Pcm:
    decode = {"mulaw": audioop.ulaw2lin, "alaw": audioop.alaw2lin}[law]
    return np.frombuffer(decode(codes.tobytes(), 2), np.int16)


def audioop_encode(samples: Pcm, law: G711Law) -> Codes:
    encode = {"mulaw": audioop.lin2ulaw, "alaw": audioop.lin2alaw}[law]
    return np.frombuffer(encode(samples.tobytes(), 2), np.uint8)


DECODERS: dict[str, Callable[[Codes, G711Law], Pcm]] = {
    "soundfile": soundfile_decode,
    "PyAV": av_decode,
}
# How many of 65,536 samples others encode otherwise, always to the code beside ours.
# libsndfile differs where a negative sample is a decision value: there are 127. FFmpeg
# takes the nearest value, also where segments meet and G.711 has the decision value off
# the middle. audioop has its A-law from the ITU's program as we do; its µ-law takes
# -1 to -4 for -8.
ENCODERS: list[tuple[Callable[[Pcm, G711Law], Codes], dict[G711Law, int]]] = [
    (soundfile_encode, {"mulaw": 127, "alaw": 127}),
    (av_encode, {"mulaw": 964, "alaw": 964}),
]
if sys.version_info < (3, 13):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        import audioop
    DECODERS["audioop"] = audioop_decode
    ENCODERS.append((audioop_encode, {"mulaw": 508, "alaw": 0}))


@pytest.mark.parametrize("law", LAWS)
@pytest.mark.parametrize("decode", DECODERS.values(), ids=DECODERS)
def test_all_256_codes_are_decoded_as_others_decode_them(
    law: G711Law, decode: Callable[[Codes, G711Law], Pcm]
) -> None:
    expected = decode(ALL_CODES, law)

    assert np.array_equal(expand(ALL_CODES, law), expected)
    (samples,) = G711Decoder(law).push(ALL_CODES.tobytes())
    assert samples.dtype == np.float32
    assert np.array_equal(samples[:, 0] * 32_768, expected)


@pytest.mark.parametrize(("law", "most"), [("mulaw", 32_124), ("alaw", 32_256)])
def test_the_loudest_codes_stay_below_full_scale(law: G711Law, most: int) -> None:
    values = expand(ALL_CODES, law)

    assert (values.min(), values.max()) == (-most, most)


@pytest.mark.parametrize("law", LAWS)
def test_values_are_the_middles_of_the_steps_in_the_tables(law: G711Law) -> None:
    ends = decision_values(law)
    middles = [(low + high) // 2 for low, high in itertools.pairwise(ends)]
    if law == "mulaw":
        middles[0] = 0  # table 2a, the last row

    assert sorted(expand(ALL_CODES, law).tolist()) == sorted(
        middles + [-middle for middle in middles]
    )


@pytest.mark.parametrize("law", LAWS)
def test_all_65536_samples_are_encoded_by_the_decision_values_in_the_tables(
    law: G711Law,
) -> None:
    """A sample that is one of them belongs to the step above it."""
    ends = decision_values(law)
    positive = np.searchsorted(ends, np.arange(32_768), side="right") - 1
    negative = np.searchsorted(ends, np.arange(1, 32_769), side="left") - 1
    steps = np.concatenate([-1 - negative[::-1], positive]).clip(-128, 127)

    # The codes in the order of their values, the two zeros of µ-law as -0 and +0.
    order = np.lexsort((ALL_CODES, expand(ALL_CODES, law)))

    assert np.array_equal(compress(ALL_SAMPLES, law), order[steps + 128])


@pytest.mark.parametrize("law", LAWS)
@pytest.mark.parametrize(("encode", "differing"), ENCODERS)
def test_other_encoders_differ_by_one_step_for_a_few_samples(
    law: G711Law,
    encode: Callable[[Pcm, G711Law], Codes],
    differing: dict[G711Law, int],
) -> None:
    ours, theirs = compress(ALL_SAMPLES, law), encode(ALL_SAMPLES, law)
    rank = np.empty(256, np.int64)
    rank[np.lexsort((ALL_CODES, expand(ALL_CODES, law)))] = range(256)

    assert np.count_nonzero(ours != theirs) == differing[law]
    assert np.abs(rank[ours] - rank[theirs]).max() <= 1


@pytest.mark.parametrize("law", LAWS)
def test_samples_come_back_within_half_a_step(law: G711Law) -> None:
    samples = ALL_SAMPLES.astype(np.int64)
    error = np.abs(expand(compress(ALL_SAMPLES, law), law) - samples)
    ends = np.array(decision_values(law))
    step = np.where(
        samples < 0,
        np.searchsorted(ends, -samples, side="left"),
        np.searchsorted(ends, samples, side="right"),
    ).clip(1, 128)
    half = (ends[step] - ends[step - 1]) / 2
    if law == "mulaw":
        half[step == 1] = 4  # its value is zero, and not its middle
        # What is louder than the table's end is clipped to its last value.
        half = np.maximum(half, np.abs(samples) - 32_124)

    assert (error <= half).all()
    assert error.max() == {"mulaw": 644, "alaw": 512}[law]


@pytest.mark.parametrize("law", LAWS)
def test_all_codes_come_back_but_minus_zero(law: G711Law) -> None:
    codes = compress(expand(ALL_CODES, law), law)

    expected = ALL_CODES.copy()
    if law == "mulaw":
        expected[0x7F] = 0xFF
    assert np.array_equal(codes, expected)


@given(
    data=st.data(),
    law=st.sampled_from(LAWS),
    channels=st.integers(1, 4),
    codes=st.binary(max_size=400),
)
def test_how_codes_are_cut_does_not_matter(
    data: st.DataObject, law: G711Law, channels: int, codes: bytes
) -> None:
    cut = st.lists(st.integers(0, len(codes)), max_size=6)
    places = [0, *sorted(data.draw(cut)), len(codes)]
    pieces = [codes[a:b] for a, b in itertools.pairwise(places)]
    whole = expand(np.frombuffer(codes, np.uint8), law).astype(np.float32) / 32_768
    whole = whole[: len(codes) // channels * channels]

    def join(output: Sequence[npt.NDArray[np.float32]]) -> bytes:
        assert all(block.shape[1] == channels for block in output)
        assert all(len(block) for block in output)
        return b"".join(block.tobytes() for block in output)

    check_stage(
        lambda: G711Decoder(law, channels),
        [[codes], pieces, [codes[at : at + 1] for at in range(len(codes))]],
        join=join,
    )
    decoder = G711Decoder(law, channels)
    assert join([out for piece in pieces for out in decoder.push(piece)]) == (
        whole.tobytes()
    )


@given(
    data=st.data(),
    law=st.sampled_from(LAWS),
    channels=st.integers(1, 4),
    frames=st.integers(0, 100),
)
def test_how_samples_are_cut_does_not_matter(
    data: st.DataObject, law: G711Law, channels: int, frames: int
) -> None:
    seed = data.draw(st.integers(0, 1_000))
    shape = (frames, channels)
    samples = np.random.default_rng(seed).uniform(-1, 1, shape).astype(np.float32)
    places = [0, *sorted(data.draw(st.lists(st.integers(0, frames)))), frames]

    check_stage(
        lambda: G711Encoder(law, channels),
        [
            [samples],
            [samples[a:b] for a, b in itertools.pairwise(places)],
        ],
        join=b"".join,
    )
    encoded = G711Encoder(law, channels).push(samples)
    assert all(encoded)
    assert b"".join(encoded) == compress(pcm16(samples), law).tobytes()


@pytest.mark.parametrize("law", LAWS)
def test_samples_beyond_full_scale_are_clipped(law: G711Law) -> None:
    loud = np.array([[2.0], [1.0], [-2.0], [-1.0]], np.float32)

    (codes,) = G711Encoder(law).push(loud)

    assert codes == {"mulaw": b"\x80\x80\x00\x00", "alaw": b"\xaa\xaa\x2a\x2a"}[law]


@pytest.mark.parametrize("stage", [G711Decoder, G711Encoder])
def test_wrong_arguments_are_refused(stage: type[G711Decoder | G711Encoder]) -> None:
    with pytest.raises(ValueError, match="law"):
        stage("ulaw")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="channels"):
        stage("mulaw", 0)


def test_samples_of_the_wrong_shape_are_refused() -> None:
    for shape in ((8,), (8, 1), (8, 3)):
        with pytest.raises(ValueError, match="samples must be"):
            G711Encoder("alaw", 2).push(np.zeros(shape, np.float32))
