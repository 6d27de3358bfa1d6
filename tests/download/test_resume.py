"""A download that breaks goes on where it was, and only with the same file."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import anyio
import attrs
import pytest
from downloading import fetch, limits, names, parts
from fault_answers import (
    Serve,
    http_date,
    page,
    redirect,
    status,
    wav_of,
)

from voicepipe.errors import BadResponseError, FetchError, NotAudioError
from voicepipe.io.download.downloader import Downloader


if TYPE_CHECKING:
    from pathlib import Path

    from fault_answers import Answer
    from fault_server import Exchange, FaultServer

    from voicepipe.io.download.values import Download


pytestmark = pytest.mark.usefixtures("both_ways")


SIZE = 400_000
OLD = wav_of(SIZE, seed=1)
NEW = wav_of(SIZE, seed=2)
HALF = SIZE // 2


def sha(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


async def broken_off(server: FaultServer, path: Path, first: Serve) -> str:
    """Download until the server hangs up, once, and give the URL."""
    url = server.on("/a.wav", first)
    with pytest.raises(FetchError) as told:
        await fetch(limits(server, attempts=1), url, path)
    assert told.value.retryable
    assert not path.exists()
    return url


async def again(server: FaultServer, path: Path, *answers: Answer) -> Download:
    url = server.on("/a.wav", *answers)
    return await fetch(limits(server), url, path)


PLACES = [0, 1, 43, 44, 45, 65_535, 65_536, 65_537, HALF, SIZE - 1]


@pytest.mark.parametrize("reset", [False, True], ids=["closed", "reset"])
async def test_a_cut_body_goes_on_where_it_was(
    server: FaultServer, tmp_path: Path, *, reset: bool
) -> None:
    async def one(place: int) -> None:
        cut = Serve(body=OLD, cut=place, reset=reset)
        url = server.on(f"/{place}", cut, Serve(body=OLD))
        got = await downloader.fetch(url, tmp_path / str(place))
        assert (got.size, got.sha256, got.attempts) == (SIZE, sha(OLD), 2), place

    async with (
        Downloader(limits(server, connections_per_host=32)) as downloader,
        anyio.create_task_group() as group,
    ):
        for place in PLACES:
            group.start_soon(one, place)

    assert names(tmp_path) == {str(place) for place in PLACES}
    for place in PLACES:
        assert (tmp_path / str(place)).read_bytes() == OLD
        # A reset may take away what was on its way.
        again = server.sent(f"/{place}", least=SIZE) - SIZE
        assert 0 <= again <= (65_536 if reset else 0), place


async def test_a_body_that_is_cut_all_the_time_arrives_in_the_end(
    server: FaultServer, tmp_path: Path
) -> None:
    """Attempts count only in a row without anything new."""
    url = server.on("/a.wav", *[Serve(body=OLD, cut=90_000)] * 4, Serve(body=OLD))

    got = await fetch(limits(server, attempts=2), url, tmp_path / "a.wav")

    assert got.sha256 == sha(OLD)
    assert got.attempts == 5
    assert server.sent("/a.wav", least=SIZE) == SIZE


async def test_another_process_goes_on_too(server: FaultServer, tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    await broken_off(server, path, Serve(body=OLD, cut=HALF))
    assert parts(tmp_path) == [".json", ".part"]

    got = await again(server, path, Serve(body=OLD))

    assert path.read_bytes() == OLD
    assert (got.bytes_resumed, got.attempts) == (HALF, 1)
    first, second = server.asked("/a.wav")
    assert first.header("range") is None
    assert second.header("range") == f"bytes={HALF}-"
    assert second.header("if-range") == '"one"'
    assert names(tmp_path) == {"a.wav"}


async def test_what_is_there_already_is_not_fetched_again(
    server: FaultServer, tmp_path: Path
) -> None:
    """All bytes came, the last line did not: the length tells that it is whole."""
    path = tmp_path / "a.wav"
    await broken_off(server, path, Serve(body=OLD, cut=SIZE - 1))

    got = await again(server, path, Serve(body=OLD))

    assert got.bytes_resumed == SIZE - 1
    assert path.read_bytes() == OLD
    assert server.sent("/a.wav", least=SIZE) == SIZE


NO_RESUME: dict[str, tuple[Serve, Answer]] = {
    "ranges are not known": (Serve(body=OLD), Serve(body=OLD, ranges=False)),
    "the file has changed": (Serve(body=NEW), Serve(body=NEW, etag='"two"')),
    "the file has changed and its server does not compare": (
        Serve(body=NEW),
        lambda exchange: _blind(exchange, NEW, '"two"'),
    ),
    "the entity tag is weak": (
        Serve(body=NEW, etag='W/"one"'),
        Serve(body=NEW, etag='W/"one"'),
    ),
    "nothing tells two versions apart": (
        Serve(body=NEW, etag=None),
        Serve(body=NEW, etag=None),
    ),
    "its date lies ahead": (
        Serve(body=NEW, etag=None, last_modified=http_date(-86_400)),
        Serve(body=NEW, etag=None, last_modified=http_date(-86_400)),
    ),
    "its date is none": (
        Serve(body=NEW, etag=None, last_modified="yesterday"),
        Serve(body=NEW, etag=None, last_modified="yesterday"),
    ),
    "the range begins somewhere else": (Serve(body=OLD), Serve(body=OLD, shift=1)),
    "the range has another total": (Serve(body=OLD), Serve(body=OLD, total=SIZE + 1)),
    "the range has no total": (
        Serve(body=OLD),
        lambda exchange: _range(exchange, f"bytes {HALF}-{SIZE - 1}/*"),
    ),
    "the range has no numbers": (
        Serve(body=OLD),
        lambda exchange: _range(exchange, "bytes all"),
    ),
    "the range is told twice": (
        Serve(body=OLD),
        lambda exchange: _range(
            exchange,
            f"bytes {HALF}-{SIZE - 1}/{SIZE}",
            f"Content-Range: bytes 0-{SIZE - 1}/{SIZE}",
        ),
    ),
    "the range ends before it begins": (
        Serve(body=OLD),
        lambda exchange: _range(exchange, f"bytes {HALF}-{HALF - 1}/{SIZE}"),
    ),
    "the range is of another unit": (
        Serve(body=OLD),
        lambda exchange: _range(exchange, f"seconds {HALF}-{SIZE - 1}/{SIZE}"),
    ),
    "there are many ranges": (
        Serve(body=OLD),
        lambda exchange: _range(exchange, None, "Content-Type: multipart/byteranges"),
    ),
    "the rest is refused": (Serve(body=OLD), status(416)),
    "the rest is refused, with another size": (
        Serve(body=OLD),
        status(416, f"Content-Range: bytes */{SIZE - 5}"),
    ),
    "the rest came with another entity tag": (
        Serve(body=NEW),
        lambda exchange: _range(
            exchange, f"bytes {HALF}-{SIZE - 1}/{SIZE}", 'ETag: "two"'
        ),
    ),
}


def _blind(exchange: Exchange, body: bytes, etag: str) -> None:
    """Serve a range of another version, whatever If-Range says."""
    begin = int((exchange.seen.header("range") or "bytes=0-")[6:-1])
    exchange.head(
        206 if begin else 200,
        f"Content-Length: {len(body) - begin}",
        f"ETag: {etag}",
        f"Content-Range: bytes {begin}-{len(body) - 1}/{len(body)}",
    )
    exchange.body(body[begin:])


def _range(exchange: Exchange, told: str | None, *headers: str) -> None:
    """Answer 206 with what a range never says, and the second half of a file."""
    place = [] if told is None else [f"Content-Range: {told}"]
    etag = [] if any(one.startswith("ETag") for one in headers) else ['ETag: "one"']
    exchange.head(206, f"Content-Length: {HALF}", *place, *etag, *headers)
    exchange.body(OLD[HALF:])


@pytest.mark.parametrize("case", NO_RESUME)
async def test_two_versions_are_never_joined(
    case: str, server: FaultServer, tmp_path: Path
) -> None:
    """Where it is not sure that the rest belongs to the part, all is fetched again."""
    path = tmp_path / "a.wav"
    served, second = NO_RESUME[case]
    await broken_off(server, path, attrs.evolve(served, body=OLD, cut=HALF))

    got = await again(server, path, second, served, served)

    assert path.read_bytes() == served.body
    assert (got.sha256, got.bytes_resumed) == (sha(served.body), 0)
    assert names(tmp_path) == {"a.wav"}


async def test_a_date_that_is_old_enough_guards_too(
    server: FaultServer, tmp_path: Path
) -> None:
    served = Serve(body=OLD, etag=None, last_modified=http_date(3_600))
    path = tmp_path / "a.wav"
    await broken_off(server, path, attrs.evolve(served, cut=HALF))

    got = await again(server, path, served)

    assert got.bytes_resumed == HALF
    assert server.requests[-1].header("if-range") == served.last_modified
    assert path.read_bytes() == OLD


async def test_a_date_that_is_too_new_does_not_guard(
    server: FaultServer, tmp_path: Path
) -> None:
    """A second change within the same second would have the same date."""
    path = tmp_path / "a.wav"
    served = Serve(body=NEW, etag=None, last_modified=http_date(5))
    await broken_off(server, path, attrs.evolve(served, body=OLD, cut=HALF))

    await again(server, path, served)

    assert path.read_bytes() == NEW


async def test_a_changed_file_with_an_old_date_is_told(
    server: FaultServer, tmp_path: Path
) -> None:
    served = Serve(body=OLD, etag=None, last_modified=http_date(7_200), cut=HALF)
    path = tmp_path / "a.wav"
    await broken_off(server, path, served)
    changed = Serve(body=NEW, etag=None, last_modified=http_date(3_600))

    got = await again(server, path, changed)

    assert (got.sha256, got.bytes_resumed) == (sha(NEW), 0)


async def test_a_weak_tag_is_never_sent_as_a_guard(
    server: FaultServer, tmp_path: Path
) -> None:
    """RFC 9110, 13.1.5: the date beside it may stand in."""
    served = Serve(body=OLD, etag='W/"one"', last_modified=http_date(3_600))
    path = tmp_path / "a.wav"
    await broken_off(server, path, attrs.evolve(served, cut=HALF))

    got = await again(server, path, served)

    assert path.read_bytes() == OLD
    assert "W/" not in (server.requests[-1].header("if-range") or "")
    assert got.sha256 == sha(OLD)


async def test_ranges_that_change_in_the_middle_of_a_call_are_told(
    server: FaultServer, tmp_path: Path
) -> None:
    url = server.on(
        "/a.wav",
        Serve(body=OLD, cut=HALF),
        Serve(body=NEW, etag='"two"', cut=HALF),
        Serve(body=NEW, etag='"two"'),
    )

    got = await fetch(limits(server, attempts=3), url, tmp_path / "a.wav")

    assert (tmp_path / "a.wav").read_bytes() == NEW
    assert got.bytes_resumed == 0


async def test_a_file_that_became_shorter_is_fetched_anew(
    server: FaultServer, tmp_path: Path
) -> None:
    path = tmp_path / "a.wav"
    short = wav_of(50_000, seed=3)
    await broken_off(server, path, Serve(body=OLD, cut=HALF))

    got = await again(server, path, Serve(body=short, etag='"two"'))

    assert path.read_bytes() == short
    assert (got.size, got.bytes_resumed) == (50_000, 0)


async def test_a_range_that_is_cut_again_goes_on_from_there(
    server: FaultServer, tmp_path: Path
) -> None:
    path = tmp_path / "a.wav"
    await broken_off(server, path, Serve(body=OLD, cut=100_000))

    got = await again(server, path, Serve(body=OLD, cut=100_000), Serve(body=OLD))

    assert path.read_bytes() == OLD
    assert got.bytes_resumed == 100_000
    ranges = [seen.header("range") for seen in server.requests]
    assert ranges == [None, "bytes=100000-", "bytes=200000-"]


@pytest.mark.parametrize("size", [HALF - 1, HALF + 1])
async def test_a_range_of_another_length_than_it_says_is_not_taken(
    size: int, server: FaultServer, tmp_path: Path
) -> None:
    def wrong(exchange: Exchange) -> None:
        exchange.head(
            206,
            f"Content-Length: {size}",
            'ETag: "one"',
            f"Content-Range: bytes {HALF}-{SIZE - 1}/{SIZE}",
        )
        exchange.body((OLD[HALF:] + b"x")[:size])

    path = tmp_path / "a.wav"
    await broken_off(server, path, Serve(body=OLD, cut=HALF))

    await again(server, path, wrong, Serve(body=OLD))

    assert path.read_bytes() == OLD


async def test_a_shorter_range_than_was_asked_for_is_followed_by_the_rest(
    server: FaultServer, tmp_path: Path
) -> None:
    """A server may give less (RFC 9110, 15.3.7)."""

    def some(exchange: Exchange) -> None:
        exchange.stay = True
        exchange.head(
            206,
            "Content-Length: 1000",
            'ETag: "one"',
            f"Content-Range: bytes {HALF}-{HALF + 999}/{SIZE}",
        )
        exchange.body(OLD[HALF : HALF + 1_000])

    path = tmp_path / "a.wav"
    await broken_off(server, path, Serve(body=OLD, cut=HALF))

    await again(server, path, some, Serve(body=OLD))

    assert path.read_bytes() == OLD


async def test_the_rest_without_a_length_is_taken_when_it_is_all(
    server: FaultServer, tmp_path: Path
) -> None:
    def chunks(exchange: Exchange) -> None:
        exchange.head(
            206,
            "Transfer-Encoding: chunked",
            'ETag: "one"',
            f"Content-Range: bytes {HALF}-{SIZE - 1}/{SIZE}",
        )
        exchange.raw(b"%x\r\n%b\r\n0\r\n\r\n" % (HALF, OLD[HALF:]))

    path = tmp_path / "a.wav"
    await broken_off(server, path, Serve(body=OLD, cut=HALF))

    got = await again(server, path, chunks)

    assert path.read_bytes() == OLD
    assert got.bytes_resumed == HALF


async def test_a_login_page_in_place_of_the_rest_is_no_recording(
    server: FaultServer, tmp_path: Path
) -> None:
    path = tmp_path / "a.wav"
    await broken_off(server, path, Serve(body=OLD, cut=HALF))

    with pytest.raises(NotAudioError):
        await again(server, path, page(b"<html>Log in", "text/html"))

    assert not path.exists()


async def test_each_redirect_to_a_new_signature_still_resumes(
    server: FaultServer, tmp_path: Path
) -> None:
    """Stores sign a new URL for each request; the file behind it is the same."""
    path = tmp_path / "a.wav"
    server.on("/store.wav", Serve(body=OLD, cut=HALF), Serve(body=OLD))
    url = server.on(
        "/a.wav", redirect("/store.wav?sig=1"), redirect("/store.wav?sig=2")
    )

    got = await fetch(limits(server), url, path)

    assert path.read_bytes() == OLD
    assert got.attempts == 2
    first, second = server.asked("/store.wav")
    assert (first.header("range"), second.header("range")) == (None, f"bytes={HALF}-")
    assert server.sent("/store.wav", least=SIZE) == SIZE


@pytest.mark.parametrize(
    "spoil",
    [b"", b"{", b"null", b"[]", b"\0" * 100, b'{"etag": 5}', b"{}"],
    ids=["empty", "half", "null", "list", "zeros", "other types", "nothing"],
)
async def test_a_state_that_cannot_be_read_means_a_new_beginning(
    spoil: bytes, server: FaultServer, tmp_path: Path
) -> None:
    path = tmp_path / "a.wav"
    await broken_off(server, path, Serve(body=OLD, cut=HALF))
    (state,) = tmp_path.glob(".voicepipe-*.json")
    state.write_bytes(spoil)

    got = await again(server, path, Serve(body=OLD))

    assert path.read_bytes() == OLD
    assert got.bytes_resumed == 0
    assert names(tmp_path) == {"a.wav"}


@pytest.mark.parametrize("lost", [".json", ".part"])
async def test_half_of_what_was_kept_means_a_new_beginning(
    lost: str, server: FaultServer, tmp_path: Path
) -> None:
    path = tmp_path / "a.wav"
    await broken_off(server, path, Serve(body=OLD, cut=HALF))
    next(tmp_path.glob(f".voicepipe-*{lost}")).unlink()

    got = await again(server, path, Serve(body=OLD))

    assert path.read_bytes() == OLD
    assert got.bytes_resumed == 0
    assert names(tmp_path) == {"a.wav"}


async def test_a_part_that_is_shorter_than_its_state_is_not_trusted_beyond_its_end(
    server: FaultServer, tmp_path: Path
) -> None:
    """As after a power cut, or somebody's hand."""
    path = tmp_path / "a.wav"
    await broken_off(server, path, Serve(body=OLD, cut=HALF))
    (part,) = tmp_path.glob(".voicepipe-*.part")
    part.write_bytes(OLD[:1_000])

    await again(server, path, Serve(body=OLD))

    assert path.read_bytes() == OLD


async def test_a_part_that_is_longer_than_its_state_is_cut(
    server: FaultServer, tmp_path: Path
) -> None:
    path = tmp_path / "a.wav"
    await broken_off(server, path, Serve(body=OLD, cut=HALF))
    (part,) = tmp_path.glob(".voicepipe-*.part")
    with part.open("ab") as file:
        file.write(bytes(SIZE))

    await again(server, path, Serve(body=OLD))

    assert path.read_bytes() == OLD


async def test_another_url_does_not_go_on_with_the_part(
    server: FaultServer, tmp_path: Path
) -> None:
    path = tmp_path / "a.wav"
    await broken_off(server, path, Serve(body=OLD, cut=HALF))
    url = server.on("/b.wav", Serve(body=NEW))

    got = await fetch(limits(server), url, path)

    assert path.read_bytes() == NEW
    assert got.bytes_resumed == 0


async def test_a_checksum_that_differs_takes_the_part_away(
    server: FaultServer, tmp_path: Path
) -> None:
    url = server.on("/a.wav", Serve(body=OLD))

    with pytest.raises(BadResponseError, match=r"(?i)sha"):
        await fetch(limits(server), url, tmp_path / "a.wav", sha256=sha(NEW))

    assert names(tmp_path) == set()


async def test_a_resumed_file_is_held_to_its_checksum(
    server: FaultServer, tmp_path: Path
) -> None:
    """A server may lie about its tags; the sum of all bytes does not."""
    path = tmp_path / "a.wav"
    await broken_off(server, path, Serve(body=OLD, cut=HALF))
    url = server.on("/a.wav", Serve(body=NEW))

    with pytest.raises(BadResponseError):
        await fetch(limits(server), url, path, sha256=sha(NEW))

    assert names(tmp_path) == set()
    got = await fetch(limits(server), url, path, sha256=sha(NEW).upper())
    assert got.sha256 == sha(NEW)


async def test_a_file_that_is_there_is_replaced_only_by_a_whole_one(
    server: FaultServer, tmp_path: Path
) -> None:
    path = tmp_path / "a.wav"
    path.write_bytes(NEW)
    url = server.on("/a.wav", Serve(body=OLD, cut=HALF), Serve(body=OLD))

    with pytest.raises(FetchError):
        await fetch(limits(server, attempts=1), url, path)
    assert path.read_bytes() == NEW

    async with Downloader(limits(server)) as downloader:
        await downloader.fetch(url, path)
    assert path.read_bytes() == OLD
