"""Downloading, and URLs to WAVs, against what people use for it."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import os
import shutil
import socket
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anyio
import numpy as np
import soundfile
import soxr
from audio import SAMPLE, encode, installed
from case import Case

from voicepipe import (
    Downloader,
    DownloadOptions,
    DownloadRequest,
    Recording,
    fetch_wavs,
)


if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence


FILES = 2_000
CALLS = 400
BIG_BYTES = 1_000_000_000
SHARED_MEMORY = Path("/dev/shm")

CONFIG = """
worker_processes 1;
pid {folder}/pid;
error_log {folder}/errors;
events {{ worker_connections 512; }}
http {{
    access_log off;
    sendfile on;
    tcp_nopush on;
    keepalive_requests 1000000;
    types {{ audio/mpeg mp3; audio/wav wav; }}
    client_body_temp_path {folder}/t1;
    proxy_temp_path {folder}/t2;
    fastcgi_temp_path {folder}/t3;
    uwsgi_temp_path {folder}/t4;
    scgi_temp_path {folder}/t5;
    server {{ listen 127.0.0.1:{port}; root {folder}/data; }}
}}
"""


@contextlib.contextmanager
def web_server(folder: Path) -> Iterator[str | None]:
    """Serve ``folder/data`` with nginx; gives host and port, ``None`` without nginx."""
    program = shutil.which("nginx")
    if program is None:
        yield None
        return
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    config = folder / "nginx.conf"
    config.write_text(CONFIG.format(folder=folder, port=port), encoding="utf-8")
    command = [program, "-c", config, "-g", "daemon off;"]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as server:
        try:
            for _ in range(100):
                with contextlib.suppress(OSError):
                    socket.create_connection(("127.0.0.1", port)).close()
                    break
                time.sleep(0.05)
            yield f"127.0.0.1:{port}"
        finally:
            server.terminate()


def make_files(data: Path) -> None:
    """Make calls of one minute (240 kB of MP3), of 30 s, and a gigabyte of WAV."""
    data.mkdir(parents=True, exist_ok=True)
    samples, rate = soundfile.read(SAMPLE, dtype="float32")
    samples = soxr.resample(samples.mean(axis=1), rate, 8_000)
    minute = np.tile(samples, 2)[: 60 * 8_000, np.newaxis]
    for number in range(20):
        call = np.roll(minute, 1_000 * number)
        encode(data / f"minute{number}.mp3", "libmp3lame", call, 8_000, bitrate=32_000)
        encode(data / f"call{number}.mp3", "libmp3lame", call[: 30 * 8_000], 8_000)
    for number in range(FILES):
        (data / f"f{number}.mp3").hardlink_to(data / f"minute{number % 20}.mp3")
    for number in range(CALLS):
        (data / f"c{number}.mp3").hardlink_to(data / f"call{number % 20}.mp3")
    noise = np.random.default_rng(0).integers(-9_000, 9_000, 1 << 22, np.int16)
    with soundfile.SoundFile(data / "big.wav", "w", 16_000, 1, "PCM_16") as big:
        for _ in range(BIG_BYTES // 2 // len(noise)):
            big.write(noise)


def download_cases(folder: Path, host: str | None) -> list[Case]:
    """Many small files, a large one, and calls that become WAVs."""
    places = {"disk": folder / "out"}
    if SHARED_MEMORY.is_dir():
        places["tmpfs"] = SHARED_MEMORY / f"voicepipe-bench-{os.getpid()}"
    cases = []
    for kind, place in places.items():
        cases += small_cases(kind, place, host)
        cases += big_cases(kind, place, host)
        cases += wav_cases(kind, place, host)
    return cases


def options(host: str, **more: Any) -> DownloadOptions:
    """Let the server on this machine be asked."""
    return DownloadOptions(allow_hosts=(host,), **more)


def emptied(place: Path) -> Path:
    """Give an empty folder."""
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir(parents=True)
    return place


def small_cases(kind: str, place: Path, host: str | None) -> list[Case]:
    """Two thousand files of 240 kB, flushed to disk and hashed by ours."""
    urls = [f"http://{host}/f{number}.mp3" for number in range(FILES)]

    def ours() -> None:
        anyio.run(fetch_files, host, urls, emptied(place))

    peers: list[tuple[str, Callable[[], None] | None]] = [
        (
            "`aria2c -j16`, its defaults",
            None
            if host is None or shutil.which("aria2c") is None
            else lambda: by_aria2c(urls, emptied(place)),
        ),
        (
            "`img2dataset`, 2 processes, 32 threads, SHA-256, not encoded or flushed",
            None
            if host is None or installed("img2dataset") is None
            else lambda: by_img2dataset(urls, emptied(place)),
        ),
        (
            "`aiohttp`, 8 connections, SHA-256; fsync, rename, fsync in threads",
            None
            if host is None or installed("aiohttp") is None
            else lambda: by_aiohttp(urls, emptied(place)),
        ),
    ]
    return [
        Case(
            name=f"`Downloader.fetch_all`, {FILES:,} x 240 kB, on {kind}",
            peer_name=name,
            ours=ours,
            peer=peer,
        )
        for name, peer in peers
    ]


async def fetch_files(host: str, urls: Sequence[str], place: Path) -> None:
    """Download as a user would."""
    requests = (
        DownloadRequest(url=url, path=place / url.rpartition("/")[2]) for url in urls
    )
    async with (
        Downloader(options(host)) as downloader,
        downloader.fetch_all(requests) as outcomes,
    ):
        async for outcome in outcomes:
            if outcome.error is not None:
                raise outcome.error


def by_aria2c(urls: Sequence[str], place: Path) -> None:
    """Download as its manual says."""
    subprocess.run(
        ["aria2c", "-q", "-j16", "-d", place, "-i", "-"],
        input="\n".join(urls),
        text=True,
        check=True,
    )
    complete(place, len(urls))


def by_img2dataset(urls: Sequence[str], place: Path) -> None:
    """Download without any work on what is no image."""
    listing = place / "urls.txt"
    listing.write_text("\n".join(urls), encoding="utf-8")
    program = (
        "from img2dataset import download; import sys; download(url_list=sys.argv[1], \
output_folder=sys.argv[2], output_format='files', processes_count=2, thread_count=32, \
resize_mode='no', disable_all_reencoding=True, compute_hash='sha256', \
number_sample_per_shard=500, enable_wandb=False)"
    )
    subprocess.run(
        [sys.executable, "-c", program, listing, place / "files"],
        check=True,
        capture_output=True,
    )
    found = sum(1 for path in place.rglob("*.jpg") if path.stat().st_size > 100_000)
    if found != len(urls):
        msg = f"img2dataset: {found} of {len(urls)} files"
        raise RuntimeError(msg)


def by_aiohttp(urls: Sequence[str], place: Path) -> None:
    """Download with the same promises: hashed, flushed, renamed when whole."""
    import asyncio  # noqa: PLC0415, TID251 - the peer runs on nothing else

    aiohttp = installed("aiohttp")

    def finish(file: int, part: Path) -> None:
        os.fsync(file)
        os.close(file)
        part.rename(part.with_suffix(""))
        folder = os.open(place, os.O_RDONLY)
        os.fsync(folder)
        os.close(folder)

    async def fetch() -> None:
        left = iter(urls)
        loop = asyncio.get_running_loop()

        async def work() -> None:
            for url in left:
                part = place / f"{url.rpartition('/')[2]}.part"
                file = os.open(part, os.O_WRONLY | os.O_CREAT, 0o666)
                digest = hashlib.sha256()
                async with session.get(url) as answer:
                    answer.raise_for_status()
                    async for piece in answer.content.iter_any():
                        os.write(file, piece)
                        digest.update(piece)
                digest.hexdigest()
                await loop.run_in_executor(pool, finish, file, part)

        connector = aiohttp.TCPConnector(limit=8)
        with ThreadPoolExecutor(8) as pool:
            async with aiohttp.ClientSession(connector=connector) as session:
                await asyncio.gather(*(work() for _ in range(16)))

    asyncio.run(fetch())
    complete(place, len(urls))


def complete(place: Path, count: int) -> None:
    """Look whether a peer has done it."""
    found = sum(path.stat().st_size > 10_000 for path in place.iterdir())
    if found != count:
        msg = f"{found} of {count} files"
        raise RuntimeError(msg)


def big_cases(kind: str, place: Path, host: str | None) -> list[Case]:
    """A gigabyte in one file."""
    url = f"http://{host}/big.wav"

    async def fetch(*, durable: bool) -> None:
        async with Downloader(options(str(host), durable=durable)) as downloader:
            await downloader.fetch(url, emptied(place) / "big.wav")

    def by_curl(*, durable: bool) -> None:
        target = emptied(place) / "big.wav"
        subprocess.run(["curl", "-sf", "-o", target, url], check=True)
        if durable:
            subprocess.run(["sha256sum", target], check=True, capture_output=True)
            subprocess.run(["sync", target], check=True)

    there = host is not None and shutil.which("curl") is not None
    return [
        Case(
            name=f"`Downloader.fetch`{ours}, 1 GB, on {kind}",
            peer_name=peer,
            ours=functools.partial(
                anyio.run, functools.partial(fetch, durable=durable)
            ),
            peer=functools.partial(by_curl, durable=durable) if there else None,
        )
        for ours, peer, durable in (
            (", `durable=False`", "`curl`, neither hashed nor flushed", False),
            ("", "`curl`, `sha256sum`, `sync`", True),
        )
    ]


def wav_cases(kind: str, place: Path, host: str | None) -> list[Case]:
    """Four hundred telephone calls of 30 s, from URLs to 16 kHz WAVs."""
    urls = [f"http://{host}/c{number}.mp3" for number in range(CALLS)]

    async def fetch(wavs: Path) -> None:
        recordings = (
            Recording(conversation_id=f"c{number}", url=url)
            for number, url in enumerate(urls)
        )
        async with (
            Downloader(options(str(host))) as downloader,
            fetch_wavs(downloader, recordings, wavs, workers=2) as outcomes,
        ):
            async for outcome in outcomes:
                if outcome.error is not None:
                    raise outcome.error

    def by_programs(ffmpeg: str) -> None:
        mp3s, wavs = emptied(place / "mp3s"), emptied(place / "wavs")
        by_aria2c(urls, mp3s)
        subprocess.run(
            [
                *("xargs", "-P2", "-I{}", ffmpeg, "-v", "error", "-y"),
                *("-i", mp3s / "{}.mp3", "-ar", "16000", "-ac", "1", wavs / "{}.wav"),
            ],
            input="\n".join(f"c{number}" for number in range(CALLS)),
            check=True,
            text=True,
        )
        complete(wavs, CALLS)

    ffmpeg = shutil.which("ffmpeg")
    there = host is not None and ffmpeg is not None and shutil.which("aria2c")
    return [
        Case(
            name=f"`fetch_wavs(workers=2)`, {CALLS} telephone MP3s, 30 s, on {kind}",
            peer_name="`aria2c -j16`, then `xargs -P2 ffmpeg` (the system's)",
            ours=lambda: anyio.run(fetch, emptied(place)),
            peer=functools.partial(by_programs, str(ffmpeg)) if there else None,
        )
    ]


def clean() -> None:
    """Give the shared memory back."""
    for left in SHARED_MEMORY.glob("voicepipe-bench-*"):
        shutil.rmtree(left, ignore_errors=True)
