"""What is no recording is told by its content, and nothing of it is kept."""

from __future__ import annotations

import gzip
import zipfile
from io import BytesIO
from typing import TYPE_CHECKING

import pytest
from downloading import fetch, limits, names
from fault_answers import Serve, chunked, framed, page, status, wav_of
from make_audio import EIGHT, encode, signal

from voicepipe.errors import (
    EmptyAudioError,
    NotAudioError,
    UnsupportedAudioError,
    VoicepipeError,
)


if TYPE_CHECKING:
    from pathlib import Path

    from fault_answers import Answer
    from fault_server import FaultServer


WAV = wav_of(50_000)

LOGIN = b"""<!DOCTYPE html><html><head><title>Sign in</title></head><body>
<form action="/login"><input name="password" type="password"></form></body></html>"""
S3 = b"""<?xml version="1.0" encoding="UTF-8"?>
<Error><Code>AccessDenied</Code><RequestId>656c76696e6727</RequestId></Error>"""
API = b'{"RestException": {"Status": 404, "Message": "call has no recording"}}'


def zipped() -> bytes:
    buffer = BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("a.wav", WAV)
    return buffer.getvalue()


FOREIGN: dict[str, bytes] = {
    "a login page": LOGIN,
    "HTML after blanks": b"\r\n\n \t" + LOGIN,
    "HTML with a byte order mark": b"\xef\xbb\xbf" + LOGIN,
    "HTML in UTF-16": LOGIN.decode().encode("utf-16"),
    "HTML in capitals": LOGIN.upper(),
    "JSON": API,
    "a list in JSON": b"[" + API + b"]",
    "XML": S3,
    "plain text": b"Unauthorized",
    "a long text": b"Too many requests. " * 10_000,
    "one byte": b"\n",
    "a ZIP archive": zipped(),
    "gzip": gzip.compress(WAV),
    "PDF": b"%PDF-1.7\n" + bytes(1_000),
    "PNG": b"\x89PNG\r\n\x1a\n" + bytes(1_000),
    "a program": b"\x7fELF\x02\x01\x01" + bytes(1_000),
    "zeros": bytes(100_000),
}


@pytest.mark.parametrize("kind", ["audio/wav", None], ids=["claimed", "untold"])
@pytest.mark.parametrize("case", FOREIGN)
async def test_what_is_no_recording_is_refused_by_its_content(
    case: str, kind: str | None, server: FaultServer, tmp_path: Path
) -> None:
    header = [] if kind is None else [f"Content-Type: {kind}"]
    url = server.on("/a.wav", status(200, *header, body=FOREIGN[case]))

    with pytest.raises(NotAudioError) as told:
        await fetch(limits(server), f"{url}?sig=5", tmp_path / "a.wav")

    assert not told.value.retryable
    assert "sig" not in str(told.value)
    assert len(server.requests) == 1
    assert names(tmp_path) == set()


EMPTY: dict[str, Answer] = {
    "no bytes": status(200, "Content-Type: audio/wav"),
    "no chunks": framed(b"0\r\n\r\n", "Transfer-Encoding: chunked"),
    "no length": framed(b""),
}


@pytest.mark.parametrize("case", EMPTY)
async def test_an_empty_body_is_told(
    case: str, server: FaultServer, tmp_path: Path
) -> None:
    url = server.on("/a.wav", EMPTY[case])

    with pytest.raises(EmptyAudioError):
        await fetch(limits(server), url, tmp_path / "a.wav")

    assert len(server.requests) == 1
    assert names(tmp_path) == set()


PLAYLISTS = {
    "ffconcat": b"ffconcat version 1.0\nfile victim.wav\n",
    "M3U8": b"#EXTM3U\n#EXTINF:1,\nfile:///etc/passwd\n",
    "SDP": b"v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\n",
    "PLS": b"[playlist]\nFile1=http://127.0.0.1/\n",
}


@pytest.mark.parametrize("case", PLAYLISTS)
async def test_a_playlist_is_refused(
    case: str, server: FaultServer, tmp_path: Path
) -> None:
    url = server.on("/a.wav", page(PLAYLISTS[case], "audio/mpeg"))

    with pytest.raises(UnsupportedAudioError):
        await fetch(limits(server), url, tmp_path / "a.wav")

    assert names(tmp_path) == set()


async def test_nothing_is_written_before_it_begins_like_a_recording(
    server: FaultServer, tmp_path: Path
) -> None:
    """Not even a part: whoever looks at the folder never sees a page."""
    seen: set[str] = set()

    def slowly(exchange: object) -> None:
        exchange.head(200, f"Content-Length: {len(LOGIN)}")  # type: ignore[attr-defined]
        for place in range(0, len(LOGIN), 10):
            exchange.body(LOGIN[place : place + 10])  # type: ignore[attr-defined]
            exchange.sleep(0.005)  # type: ignore[attr-defined]
            for path in tmp_path.iterdir():
                seen.update({path.name} if path.stat().st_size else ())

    url = server.on("/a.wav", slowly)

    with pytest.raises(NotAudioError):
        await fetch(limits(server), url, tmp_path / "a.wav")

    assert not {name for name in seen if name.endswith((".part", ".wav"))}


@pytest.mark.parametrize("kind", EIGHT)
@pytest.mark.parametrize("piece", [1_000, 1 << 20])
async def test_every_kind_of_recording_is_taken(
    kind: str, piece: int, server: FaultServer, tmp_path: Path
) -> None:
    body = encode(kind, signal(8_000, 1, 2.0), 8_000)
    url = server.on("/a", Serve(body=body, piece=piece, kind="text/html"))

    got = await fetch(limits(server), url, tmp_path / "a")

    assert (tmp_path / "a").read_bytes() == body
    assert got.content_type == "text/html"


@pytest.mark.parametrize("kind", EIGHT)
async def test_every_kind_without_a_length_is_taken(
    kind: str, server: FaultServer, tmp_path: Path
) -> None:
    body = encode(kind, signal(8_000, 1, 2.0), 8_000)
    url = server.on("/a", framed(body))

    got = await fetch(limits(server), url, tmp_path / "a")

    assert (tmp_path / "a").read_bytes() == body
    assert not got.length_verified


CUT_KINDS = [kind for kind in EIGHT if kind not in {"mp3", "aac"}]
"""MP3 and ADTS have no end of their own: cut between two frames they are whole."""


@pytest.mark.parametrize("kind", CUT_KINDS)
async def test_a_cut_recording_without_a_length_is_refused(
    kind: str, server: FaultServer, tmp_path: Path
) -> None:
    body = encode(kind, signal(8_000, 1, 2.0), 8_000)
    url = server.on("/a", framed(body[: len(body) * 2 // 3]))

    with pytest.raises(VoicepipeError):
        await fetch(limits(server, attempts=1), url, tmp_path / "a")

    assert not (tmp_path / "a").exists()


async def test_a_file_of_any_kind_is_taken_where_that_is_wanted(
    server: FaultServer, tmp_path: Path
) -> None:
    url = server.on("/a", page(LOGIN, "text/html"))

    got = await fetch(limits(server, require_audio=False), url, tmp_path / "a")

    assert (tmp_path / "a").read_bytes() == LOGIN
    assert got.size == len(LOGIN)


async def test_a_recording_in_tiny_chunks_is_taken(
    server: FaultServer, tmp_path: Path
) -> None:
    body = chunked(WAV, piece=7) + b"0\r\n\r\n"
    url = server.on("/a.wav", framed(body, "Transfer-Encoding: chunked"))

    await fetch(limits(server), url, tmp_path / "a.wav")

    assert (tmp_path / "a.wav").read_bytes() == WAV


async def test_what_a_server_calls_a_file_is_no_path(
    server: FaultServer, tmp_path: Path
) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    answer = Serve(
        body=WAV,
        headers=('Content-Disposition: attachment; filename="../../evil.wav"',),
    )
    url = server.on("/..%2f..%2fevil.wav", answer)

    got = await fetch(limits(server), url, folder / "a.wav")

    assert got.path == folder / "a.wav"
    assert names(folder) == {"a.wav"}
    assert names(tmp_path) == {"in"}


@pytest.mark.parametrize(
    ("headers", "kind", "etag"),
    [
        (("Content-Type: audio/x-wav; a=b", 'ETag: "x"'), "audio/x-wav; a=b", '"x"'),
        (('ETag: W/"x"',), None, 'W/"x"'),
        ((), None, None),
    ],
)
async def test_a_download_tells_what_the_server_said(
    headers: tuple[str, ...],
    kind: str | None,
    etag: str | None,
    server: FaultServer,
    tmp_path: Path,
) -> None:
    url = server.on("/a.wav", status(200, *headers, body=WAV))

    got = await fetch(limits(server), f"{url}?x=1#y", tmp_path / "a.wav")

    assert (got.content_type, got.etag) == (kind, etag)
    assert (got.url, got.path, got.size) == (url, tmp_path / "a.wav", len(WAV))
    assert (got.bytes_resumed, got.reused) == (0, False)
