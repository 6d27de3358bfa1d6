"""One recording fetched and standardized: the same sound, or nothing at all."""

from __future__ import annotations

import base64
import hashlib
import logging
import os
import signal
import threading
import traceback
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anyio
import attrs
import psutil
import pytest
import soundfile as sf
from coded_bytes import flac_silence, opus_silence
from downloading import Downloader, limits, names, parts, until
from fault_answers import Serve, page, redirect, status, wav_of
from fault_server import a_server  # noqa: F401 - a fixture

from voicepipe import ChildLimits, DecodeOptions, standardize
from voicepipe.errors import (
    AudioError,
    BadResponseError,
    BlockedUrlError,
    DecoderCrashedError,
    DecoderTimeoutError,
    DiskFullError,
    EmptyAudioError,
    FetchError,
    HttpStatusError,
    NotAudioError,
    TruncatedAudioError,
    UnsupportedAudioError,
    VoicepipeError,
)
from voicepipe.io.fetch import fetch_wav
from voicepipe.io.recordings import FetchedWav, Recording
from voicepipe.tasks import task_group


if TYPE_CHECKING:
    from collections.abc import Callable

    from fault_server import FaultServer


SAMPLE = Path(__file__).parents[2] / "examples" / "data" / "sample_call.mp3"

# 13 hours of silence in 0.9 MB, and 3 hours in 0.2 MB: the one is written to disk while
# it comes, the other comes at once. Decoding takes seconds.
LONG = opus_silence(1_600)
LONG_BUT_SMALL = opus_silence(360)


def of(url: str, **changes: Any) -> Recording:
    return Recording(conversation_id="c1", url=url, speaker_label="agent", **changes)


async def fetched(server: FaultServer, folder: Path, url: str, **more: Any) -> Any:
    """Fetch with a downloader of its own; ``channel`` is the recording's."""
    mine = {name: more.pop(name) for name in ("channel", "headers") if name in more}
    async with Downloader(limits(server, attempts=1)) as downloader:
        return await fetch_wav(downloader, of(url, **mine), folder, **more)


def sha(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


@pytest.mark.parametrize(
    ("rate", "channel"), [(16_000, None), (16_000, 0), (8_000, 1), (44_100, None)]
)
async def test_the_file_is_what_standardize_makes_of_the_same_bytes(
    server: FaultServer, tmp_path: Path, rate: int, channel: int | None
) -> None:
    data = SAMPLE.read_bytes()
    url = server.on("/call.mp3", Serve(body=data, etag='"seven"', kind="audio/mpeg"))
    there = tmp_path / "out"
    there.mkdir()
    wanted = await standardize(SAMPLE, tmp_path / "o.wav", rate=rate, channel=channel)

    found = await fetched(server, there, f"{url}?s=1", rate=rate, channel=channel)

    target = there / "c1_agent.wav"
    content = target.read_bytes()
    assert content == wanted.path.read_bytes()
    assert names(there) == {"c1_agent.wav"}
    assert isinstance(found, FetchedWav)
    assert found.recording == of(f"{url}?s=1", channel=channel)
    assert found.file == attrs.evolve(wanted, path=target)
    assert (found.size, found.sha256) == (len(content), sha(content))
    assert (found.source.size, found.source.sha256) == (len(data), sha(data))
    assert (found.source.url, found.source.etag) == (url, '"seven"')
    assert (sf.info(target).samplerate, sf.info(target).channels) == (rate, 1)


@pytest.mark.parametrize("kind", ["wav", "flac", "opus", "m4a"])
async def test_recordings_of_any_kind_are_read(
    server: FaultServer, recording: Callable[..., Path], tmp_path: Path, kind: str
) -> None:
    source = recording(kind, 8_000)
    url = server.on("/a", Serve(body=source.read_bytes(), kind="text/plain"))
    wanted = await standardize(source, tmp_path / "o.wav")

    found = await fetched(server, tmp_path, url)

    assert found.file.path.read_bytes() == wanted.path.read_bytes()
    assert found.file.report == wanted.report
    assert names(tmp_path) == {"o.wav", "c1_agent.wav"}


FAULTS: dict[str, tuple[Callable[[bytes], Any], type[VoicepipeError], dict[str, Any]]]
FAULTS = {
    "404": (lambda _: status(404), HttpStatusError, {}),
    "page": (lambda _: page(b"<html>", "audio/wav"), NotAudioError, {}),
    "late page": (lambda mp3: Serve(body=b"RIFF" + mp3), AudioError, {}),
    "nothing": (lambda _: Serve(body=b""), EmptyAudioError, {}),
    "head alone": (lambda _: Serve(body=wav_of(45)[:44]), AudioError, {}),
    "cut recording": (
        lambda mp3: Serve(body=mp3[:300_000]),
        TruncatedAudioError,
        {},
    ),
    "small cut recording": (
        lambda mp3: Serve(body=mp3[:30_000]),
        TruncatedAudioError,
        {},
    ),
    "too long": (
        lambda _: Serve(body=flac_silence(192_000, 8, 5_000)),
        UnsupportedAudioError,
        {"options": DecodeOptions(max_duration_s=60.0)},
    ),
    "no such channel": (
        lambda mp3: Serve(body=mp3),
        UnsupportedAudioError,
        {"channel": 2},
    ),
    "elsewhere": (lambda _: redirect("http://10.0.0.1/"), BlockedUrlError, {}),
    "another range": (
        lambda _: status(206, "Content-Range: bytes 0-3/4", body=b"RIFF"),
        BadResponseError,
        {},
    ),
}


@pytest.mark.parametrize("name", FAULTS)
async def test_an_error_leaves_the_old_file_and_nothing_else(
    server: FaultServer, tmp_path: Path, name: str
) -> None:
    make, kind, more = FAULTS[name]
    url = server.on("/a.wav", make(SAMPLE.read_bytes()))
    target = tmp_path / "c1_agent.wav"
    target.write_bytes(b"an older one")

    with pytest.raises(kind) as told:
        await fetched(server, tmp_path, f"{url}?sig=canary-1", **more)

    # It is the URL that the caller knows, not the name of what is unfinished.
    if name != "elsewhere":
        assert str(told.value).startswith(f"{url}: ")
    if isinstance(told.value, AudioError):
        assert told.value.source == url
    assert "canary-1" not in str(told.value)
    assert ".voicepipe" not in "\n".join(chain(told.value))
    assert target.read_bytes() == b"an older one"
    assert names(tmp_path) == {"c1_agent.wav"}


async def test_what_breaks_off_is_kept_for_the_next_time(
    server: FaultServer, tmp_path: Path
) -> None:
    data = SAMPLE.read_bytes()
    url = server.on("/a.mp3", Serve(body=data, cut=400_000), Serve(body=data))
    target = tmp_path / "c1_agent.wav"
    target.write_bytes(b"an older one")

    with pytest.raises(FetchError):
        await fetched(server, tmp_path, url)
    assert parts(tmp_path) == [".json", ".part"]
    assert target.read_bytes() == b"an older one"
    found = await fetched(server, tmp_path, url)

    assert found.source.bytes_resumed >= 300_000
    assert found.source.sha256 == sha(data)
    assert found.file.duration == pytest.approx(sf.info(SAMPLE).duration, abs=0.1)
    assert names(tmp_path) == {"c1_agent.wav"}


async def test_who_looks_sees_whole_files_only(
    server: FaultServer, tmp_path: Path, recording: Callable[..., Path]
) -> None:
    bodies = [SAMPLE.read_bytes(), recording("mp3").read_bytes()]
    urls = [server.on(f"/{i}", Serve(body=body)) for i, body in enumerate(bodies)]
    target = tmp_path / "c1_agent.wav"
    whole = set()
    for body in bodies:
        await standardize(body, tmp_path / "o.wav")
        whole.add((tmp_path / "o.wav").read_bytes())
    seen: set[bytes] = set()
    done = threading.Event()

    def look() -> None:
        while not done.is_set():
            if target.exists():
                seen.add(target.read_bytes())

    thread = threading.Thread(target=look)
    thread.start()
    try:
        for url in urls * 2:
            await fetched(server, tmp_path, url)
            await until(lambda: target.read_bytes() in seen)
    finally:
        done.set()
        thread.join()

    assert seen == whole


async def test_it_is_decoded_elsewhere_whatever_the_options_say(
    server: FaultServer, tmp_path: Path
) -> None:
    """Here it would not be held to its processor time."""
    url = server.on("/a", Serve(body=LONG))
    options = DecodeOptions(isolated=False, limits=ChildLimits(cpu_s=1.0))

    with pytest.raises(DecoderTimeoutError, match="processor time") as told:
        await fetched(server, tmp_path, url, options=options)

    assert told.value.source == url
    assert names(tmp_path) == set()


def decoders() -> dict[int, float]:
    """Give the processor time of our helper processes, seconds."""
    found = {}
    for child in psutil.Process().children():
        try:
            if "serve" in " ".join(child.cmdline()):
                found[child.pid] = child.cpu_times().user
        except psutil.Error:
            continue
    return found


async def test_a_decoder_that_is_killed_costs_its_recording_and_no_more(
    server: FaultServer, tmp_path: Path, recording: Callable[..., Path]
) -> None:
    bad = server.on("/bad", Serve(body=LONG))
    good = server.on("/good", Serve(body=recording("wav", 8_000).read_bytes()))
    before = decoders()

    async def kill() -> None:
        while True:
            for pid, used in decoders().items():
                if used - before.get(pid, 0.0) > 0.5:
                    os.kill(pid, signal.SIGSEGV)
                    return
            await anyio.sleep(0.01)

    async def fetch_and_kill() -> None:
        async with task_group() as group:
            group.start_soon(kill)
            await fetched(server, tmp_path, bad)

    with pytest.raises(DecoderCrashedError) as told:
        await fetch_and_kill()
    found = await fetched(server, tmp_path, good)

    assert (told.value.returncode, told.value.source) == (-signal.SIGSEGV, bad)
    assert found.file.frames == 8 * 16_000
    assert names(tmp_path) == {"c1_agent.wav"}


def is_decoding(folder: Path) -> bool:
    """Tell whether there is a second unfinished file: the WAV."""
    return parts(folder).count(".part") == 2


@pytest.mark.parametrize("body", [LONG, LONG_BUT_SMALL], ids=["large", "small"])
async def test_cancelling_while_it_is_decoded_leaves_what_can_be_gone_on_with(
    server: FaultServer, tmp_path: Path, body: bytes
) -> None:
    url = server.on("/a.wav", Serve(body=body))
    target = tmp_path / "c1_agent.wav"

    with anyio.fail_after(60):
        async with anyio.create_task_group() as group:
            group.start_soon(lambda: fetched(server, tmp_path, url))
            await until(lambda: is_decoding(tmp_path))
            group.cancel_scope.cancel()

    assert not target.exists()
    # A part without its state is of no use to anybody.
    assert parts(tmp_path) in ([], [".json", ".part"])
    # All of it has come: it was being decoded.
    sent = server.sent("/a.wav", least=len(body))
    async with Downloader(limits(server)) as downloader:
        await downloader.fetch(url, target)
    assert target.read_bytes() == body
    assert names(tmp_path) == {"c1_agent.wav"}
    if body is LONG:
        assert server.sent("/a.wav") - sent <= 1


async def test_cancelling_while_it_comes_leaves_what_can_be_gone_on_with(
    server: FaultServer, tmp_path: Path
) -> None:
    data = SAMPLE.read_bytes()
    stall = Serve(body=data, cut=400_000, stall=True)
    url = server.on("/a.wav", stall, Serve(body=data))

    def has_come() -> bool:
        kept = sum(path.stat().st_size for path in tmp_path.glob("*.part"))
        return server.sent("/a.wav") == 400_000 and kept > 0

    with anyio.fail_after(60):
        async with anyio.create_task_group() as group:
            group.start_soon(lambda: fetched(server, tmp_path, url))
            await until(has_come)
            group.cancel_scope.cancel()

    assert server.open_connections() == 0
    assert parts(tmp_path) == [".json", ".part"]
    assert names(tmp_path).isdisjoint({"c1_agent.wav"})
    found = await fetched(server, tmp_path, url)
    assert found.source.sha256 == sha(data)
    assert names(tmp_path) == {"c1_agent.wav"}


async def test_a_full_disk_is_told_and_nothing_is_left(
    server: FaultServer, small_disk: Callable[[int], Path]
) -> None:
    """The recording has room; its sound has not."""
    url = server.on("/a", Serve(body=LONG_BUT_SMALL))
    folder = small_disk(4 << 20)

    with pytest.raises(DiskFullError) as told:
        await fetched(server, folder, url)

    assert told.value.filename == os.fspath(folder / "c1_agent.wav")
    assert names(folder) == set()


async def test_a_rate_out_of_range_is_told(server: FaultServer, tmp_path: Path) -> None:
    url = server.on("/a", Serve(body=wav_of(2_000)))

    with pytest.raises(ValueError, match="rate must be 4000 to 192000 Hz, not 1"):
        await fetched(server, tmp_path, url, rate=1)

    assert names(tmp_path) == set()


async def test_a_missing_folder_is_told(server: FaultServer, tmp_path: Path) -> None:
    url = server.on("/a", Serve(body=wav_of(2_000)))

    with pytest.raises(FileNotFoundError):
        await fetched(server, tmp_path / "missing", url)

    assert server.requests == []
    assert names(tmp_path) == set()


def chain(error: BaseException | None) -> list[str]:
    """Give all that an error and what is behind it say."""
    said: list[str] = []
    done: set[int] = set()
    left = [error]
    while left:
        one = left.pop()
        if one is not None and id(one) not in done:
            done.add(id(one))
            said += [str(one), repr(one), repr(vars(one))]
            said += traceback.format_exception_only(one)
            left += [one.__cause__, one.__context__]
    return said


CANARIES = ("canary-user", "canary-pass", "canary-sig", "canary-part", "canary-header")
BASIC = base64.b64encode(b"canary-user:canary-pass").decode()


async def test_no_secret_is_told(
    server: FaultServer, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    data = SAMPLE.read_bytes()
    server.on("/good", Serve(body=data))
    for place, (make, _, _) in enumerate(FAULTS.values()):
        server.on(f"/{place}", make(data))
    headers = {"X-Api-Key": "canary-header"}
    said: list[str] = []
    errors = 0
    short = DecodeOptions(max_duration_s=100.0)
    for path in ("good", *map(str, range(len(FAULTS)))):
        url = f"http://canary-user:canary-pass@{server.host}/{path}"
        request = of(f"{url}?sig=canary-sig#canary-part", headers=headers)
        said += [repr(request)]
        async with Downloader(limits(server, attempts=1)) as downloader:
            try:
                found = await fetch_wav(downloader, request, tmp_path, options=short)
                said.append(repr(found))
            except VoicepipeError as exc:
                errors += 1
                said += chain(exc)
    said += [repr(vars(record)) for record in caplog.records]

    text = "\n".join(said)
    assert [one for one in (*CANARIES, BASIC) if one in text] == []
    # All was listened to, and was sent as it had to be.
    assert errors == len(FAULTS) - 1
    sent = repr(server.requests)
    assert all(one in sent for one in ("canary-sig", "canary-header", BASIC))
