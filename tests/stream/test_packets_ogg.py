"""Ogg with Opus in pieces: lost pages, padding, other streams, and its end."""

from __future__ import annotations

import functools
import struct
from typing import TYPE_CHECKING

import numpy as np
import pytest
from coded_bytes import OGG_FIRST, OGG_LAST, ogg_changed, ogg_page, ogg_pages
from make_audio import encode, signal
from packet_files import data_of, decoded, joined, opus, pieces, read, split
from riff_bytes import DATA, FORM, riff
from webm_bytes import FRAMES, head, packets_of

from voicepipe.errors import DamagedAudioError, UnsupportedAudioError
from voicepipe.stream.packets.ogg import OggSplitter
from voicepipe.stream.packets.opus import MAX_PACKET_BYTES


if TYPE_CHECKING:
    from collections.abc import Sequence


CONTINUED = 1
TAGS = b"OpusTags" + struct.pack("<I4sI", 4, b"test", 0)
NO_POSITION = (1 << 64) - 1


@functools.cache
def packets() -> tuple[bytes, ...]:
    return tuple(packets_of(opus("opus"), "ogg"))


def lacing_of(data: Sequence[bytes]) -> bytes:
    """Write lengths as runs of 255 and a rest."""
    return b"".join(
        b"\xff" * (len(one) // 255) + bytes([len(one) % 255]) for one in data
    )


def page(
    data: Sequence[bytes], position: int, number: int, flags: int = 0, serial: int = 1
) -> bytes:
    """Make a page of whole packets."""
    body = b"".join(data)
    return ogg_page(flags, position, serial, number, lacing=lacing_of(data), body=body)


def beginning(lead: int = 0, tags: bytes = TAGS) -> bytes:
    return page([head(lead=lead)], 0, 0, OGG_FIRST) + page([tags], 0, 1)


def ogg(
    many: int = 5, *, last: int | None = None, flags: int = OGG_LAST
) -> list[bytes]:
    """Make a file, as its pages, of so many packets each."""
    pages = [page([head()], 0, 0, OGG_FIRST), page([TAGS], 0, 1)]
    for at in range(0, len(packets()), many):
        some = packets()[at : at + many]
        ends = at + many >= len(packets())
        position = FRAMES * (at + len(some))
        if ends and last is not None:
            position = last
        pages.append(page(some, position, len(pages), flags if ends else 0))
    return pages


@functools.cache
def sound():  # noqa: ANN201
    return joined(read("ogg", [b"".join(ogg())])[0])


@pytest.mark.parametrize("many", [1, 17])
@pytest.mark.parametrize("less", [0, 1, 959, 960, 961, 2_000])
def test_the_last_page_tells_where_the_sound_ends(many: int, less: int) -> None:
    total = FRAMES * len(packets())
    data = b"".join(ogg(many, last=total - less))

    samples = joined(read("ogg", pieces(data, [99] * 200))[0])

    # Whole packets are left out, too, where they are on the last page.
    kept = total - less if many > 1 or less <= FRAMES else total - FRAMES
    assert len(samples) == kept
    assert np.array_equal(samples, sound()[:kept])
    assert np.array_equal(samples, decoded(data).samples)


@pytest.mark.parametrize("lost", [3, 4])
def test_a_lost_page_is_silence_of_the_same_length(lost: int) -> None:
    pages = ogg(10)
    data = b"".join(pages[:lost] + pages[lost + 1 :])

    samples = joined(read("ogg", pieces(data, [7] * 3_000))[0])

    first, behind = (lost - 2) * 10 * FRAMES, (lost - 1) * 10 * FRAMES
    assert len(samples) == len(sound())
    assert np.array_equal(samples[:first], sound()[:first])
    assert not samples[first:behind].any()


@pytest.mark.parametrize("at", [10, 26, 30, 400])
def test_a_damaged_page_is_silence_and_is_counted(at: int) -> None:
    pages = ogg(10)
    pages[4] = pages[4][:at] + bytes([pages[4][at] ^ 0x10]) + pages[4][at + 1 :]

    once = split(OggSplitter(), b"".join(pages))
    samples = joined(read("ogg", [b"".join(pages)])[0])

    for length in (1, 13):
        found, splitter = split(OggSplitter(), b"".join(pages), [length] * 20_000)
        assert found == once[0]
        assert splitter.dropped == once[1].dropped == len(pages[4])
        assert splitter.damaged == 1
    assert len(samples) == len(sound())
    assert not samples[20 * FRAMES : 30 * FRAMES].any()


def test_a_lost_last_page_is_no_silence() -> None:
    samples = joined(read("ogg", [b"".join(ogg()[:-1])])[0])

    assert np.array_equal(samples, sound()[: len(samples)])


def over_pages(packet: bytes, number: int, position: int, most: int) -> list[bytes]:
    """Make pages of a packet that is too long for one."""
    whole, at, pages = lacing_of([packet]), 0, []
    for begin in range(0, len(whole), most):
        lacing = whole[begin : begin + most]
        ends = begin + most >= len(whole)
        body = packet[at : at + sum(lacing)]
        at += len(body)
        pages.append(
            ogg_page(
                CONTINUED if begin else 0,
                position if ends else NO_POSITION,
                1,
                number + len(pages),
                lacing=lacing,
                body=body,
            )
        )
    return pages


LONG = b"\x03\x30" + bytes(range(256)) * 100
"""Forty-eight frames of 10 ms are no packet, but its bytes are told from others."""


@pytest.mark.parametrize("most", [1, 20, 100])
def test_a_packet_over_several_pages_is_joined(most: int) -> None:
    parts = over_pages(LONG, 2, 0, most)
    data = beginning() + b"".join(parts)
    data += page(packets()[:2], 2 * FRAMES, 2 + len(parts))

    for length in (9, len(data)):
        found, splitter = split(OggSplitter(), data, [length] * (len(data) // length))
        assert data_of(found) == (LONG, *packets()[:2])
        assert splitter.damaged == splitter.dropped == 0


@pytest.mark.parametrize("lost", [0, 1, -1])
def test_a_packet_of_which_a_page_is_lost_is_given_up(lost: int) -> None:
    parts = over_pages(LONG, 2, 0, 20)
    number = 2 + len(parts)
    del parts[lost]
    data = beginning() + b"".join(parts) + page(packets()[:2], 2 * FRAMES, number)

    found, splitter = split(OggSplitter(), data, [100] * 999)

    assert data_of(found) == packets()[:2]
    assert splitter.damaged == (lost != 0)


def test_a_packet_that_never_ends_is_not_kept() -> None:
    endless = over_pages(bytes(1_000_000), 2, 0, 255)
    splitter = OggSplitter()
    splitter.push(beginning())

    for one in endless:
        splitter.push(one)
        assert len(splitter.state()[1]) <= MAX_PACKET_BYTES
    found = splitter.push(page(packets()[:2], 1_920, 2 + len(endless)))

    assert data_of(found) == packets()[:2]
    assert splitter.damaged == 1


@pytest.mark.parametrize("size", [10, 255, 70_000, 400_000])
def test_comments_of_any_size_are_passed_over(size: int) -> None:
    tags = over_pages(TAGS + bytes(size), 1, 0, 200)
    data = page([head()], 0, 0, OGG_FIRST) + b"".join(tags)
    data += page(packets()[:3], 3 * FRAMES, 1 + len(tags))

    assert data_of(split(OggSplitter(), data, [4_001] * 999)[0]) == packets()[:3]


def test_streams_beside_it_are_passed_over() -> None:
    pages = ogg()
    other = [page([b"\x80theora"], 0, 0, OGG_FIRST, serial=9)]
    other += [page([b"picture" * 500], 5, k + 1, serial=9) for k in range(len(pages))]
    mixed = [pages[0], other[0], pages[1]]
    for mine, theirs in zip(pages[2:], other[1:], strict=False):
        mixed += [theirs, mine]

    found, splitter = split(OggSplitter(), b"".join(mixed), [1_000] * 999)

    assert data_of(found) == packets()
    assert splitter.damaged == splitter.dropped == 0


def test_a_stream_may_begin_anywhere_in_time() -> None:
    data = ogg_changed(
        b"".join(ogg(flags=0)), granule=lambda n, at: at + 10**9 * (n > 1)
    )

    assert np.array_equal(joined(read("ogg", [data])[0]), sound())


@pytest.mark.parametrize("length", [1, 50, 1_000_000])
@pytest.mark.parametrize("second", ["opus", "webm", "wav"])
def test_another_header_ends_the_file(second: str, length: int) -> None:
    first = opus("opus")
    rest = riff(FORM, DATA) if second == "wav" else opus(second)
    stream = first + rest
    splitter, at, found = OggSplitter(), 0, []
    while splitter.ended is None:
        found += splitter.push(stream[at : at + length])
        at = min(len(stream), at + length)

    assert at - len(splitter.ended) == len(first) == splitter.total
    assert data_of(found) == packets()
    assert splitter.flush() == []
    assert splitter.dropped == splitter.damaged == 0


@pytest.mark.parametrize(
    ("data", "error", "message"),
    [
        (b"OggT" * 20, DamagedAudioError, "does not begin"),
        (page([TAGS], 0, 1), UnsupportedAudioError, "no beginning"),
        (encode("ogg", signal(8_000, 1, 0.3), 8_000), UnsupportedAudioError, "Vorbis"),
        (
            page([b"Speex   1.2"], 0, 0, OGG_FIRST) + page([b"x"], 0, 1),
            UnsupportedAudioError,
            "Speex",
        ),
        (page([b"OpusHead\x01"], 0, 0, OGG_FIRST), DamagedAudioError, "header"),
        (
            page([b"OpusHead\x21" + head()[9:]], 0, 0, OGG_FIRST),
            UnsupportedAudioError,
            "version",
        ),
    ],
    ids=lambda part: part if isinstance(part, str) else "",
)
def test_what_cannot_be_read_is_refused(
    data: bytes, error: type[Exception], message: str
) -> None:
    for length in (1, len(data)):
        with pytest.raises(error, match=message):
            split(OggSplitter(), data, [length] * (len(data) // length))


def test_pages_are_those_of_the_file() -> None:
    """The files that are made here are as FFmpeg makes them."""
    data = b"".join(ogg())

    assert packets_of(data, "ogg") == list(packets())
    assert list(ogg_pages(data)) == ogg()
