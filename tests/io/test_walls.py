"""No content makes the decoder open a file that it was not given."""

from __future__ import annotations

import io
import os
import sys
from typing import TYPE_CHECKING, Any

import av
import numpy as np
import pytest
import soundfile as sf
from make_audio import encode, signal
from open_watch import Watch

from voicepipe.errors import AudioError, UnsupportedAudioError
from voicepipe.io.decode import open_audio
from voicepipe.io.ffmpeg.opening import safe_options
from voicepipe.io.read import read_audio
from voicepipe.io.write import standardize


if TYPE_CHECKING:
    from pathlib import Path


PLAYLISTS = {
    "ffconcat": "ffconcat version 1.0\nfile victim.wav\n",
    "indented": "\ufeff  ffconcat version 1.0\nfile victim.wav\n",
    "m3u8": (
        "#EXTM3U\n#EXT-X-VERSION:3\n#EXT-X-TARGETDURATION:10\n"
        "#EXTINF:10.0,\nvictim.wav\n#EXT-X-ENDLIST\n"
    ),
    "sdp": "v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\nm=audio 5004 RTP/AVP 0\r\n",
}


@pytest.fixture
def victim(tmp_path: Path) -> Path:
    """Somebody else's recording, in the same directory."""
    path = tmp_path / "victim.wav"
    sf.write(path, np.full(8_000, 0.25, np.float32), 8_000)
    return path


@pytest.fixture
def watch(victim: Path) -> Any:
    if sys.platform != "linux":
        pytest.skip("inotify tells who opens a file on Linux only")
    watch = Watch(victim)
    yield watch
    watch.close()


def bait(directory: Path, text: str, name: str = "call.wav") -> Path:
    path = directory / name
    path.write_text(text, "utf-8", newline="")
    return path


def decode(path: Path, **walls: Any) -> int:
    with path.open("rb") as file, av.open(file, **walls) as opened:
        return sum(frame.samples for frame in opened.decode(audio=0))


def test_without_walls_the_neighbour_is_read(
    tmp_path: Path, victim: Path, watch: Watch
) -> None:
    # If this fails, the others prove nothing.
    assert decode(bait(tmp_path, PLAYLISTS["ffconcat"])) == 8_000
    assert watch.opened()


@pytest.mark.parametrize("name", ["call.wav", "call.mp3", "call.m3u8", "call"])
@pytest.mark.parametrize("playlist", PLAYLISTS)
async def test_a_playlist_is_refused_and_no_neighbour_opened(
    tmp_path: Path, watch: Watch, playlist: str, name: str
) -> None:
    path = bait(tmp_path, PLAYLISTS[playlist], name)

    with pytest.raises(UnsupportedAudioError) as error:
        await read_audio(path)
    with pytest.raises(UnsupportedAudioError), path.open("rb") as file:
        await read_audio(file)
    with pytest.raises(UnsupportedAudioError):
        await standardize(path.read_bytes(), tmp_path / "out.wav")

    assert error.value.got
    assert not watch.opened()
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted([name, "victim.wav"])


@pytest.mark.parametrize(
    "walls",
    [
        {"format": "wav"},
        {"options": {"format_whitelist": safe_options("wav")["format_whitelist"]}},
        {
            "format": "concat",
            "options": {
                "protocol_whitelist": safe_options("wav")["protocol_whitelist"]
            },
        },
    ],
    ids=["named demuxer", "allowed demuxers", "allowed protocols"],
)
def test_each_wall_behind_the_sniffing_is_enough_alone(
    tmp_path: Path, watch: Watch, walls: dict[str, Any]
) -> None:
    path = bait(tmp_path, PLAYLISTS["ffconcat"])

    with pytest.raises((av.error.FFmpegError, ValueError)):
        decode(path, **walls)

    assert not watch.opened()


async def test_a_playlist_behind_a_recordings_magic_opens_nothing(
    tmp_path: Path, watch: Watch
) -> None:
    for magic in (b"RIFF\x24\x00\x00\x00WAVE", b"fLaC\x00", b"OggS\x00", b"ID3"):
        path = tmp_path / "call.wav"
        path.write_bytes(magic + PLAYLISTS["ffconcat"].encode())
        with pytest.raises(AudioError):
            await read_audio(path)

    assert not watch.opened()


class Turncoat(io.BytesIO):
    """A recording while it is sniffed, a playlist when it is decoded."""

    def __init__(self) -> None:
        super().__init__(encode("mp3-plain", signal(8_000, 1, 0.5), 8_000))
        self.turned = False
        self.looks = 0

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        self.looks += offset == 0 and whence == os.SEEK_SET
        if self.looks == 2 and not self.turned:
            super().seek(0)
            self.write(PLAYLISTS["ffconcat"].encode())
            self.truncate()
            self.turned = True
        return super().seek(offset, whence)


def test_a_file_that_becomes_a_playlist_opens_nothing(
    tmp_path: Path, watch: Watch, monkeypatch: pytest.MonkeyPatch
) -> None:
    # FFmpeg would look beside the file, or here for one without a name.
    monkeypatch.chdir(tmp_path)
    source = Turncoat()

    with pytest.raises(AudioError):
        open_audio(source)

    assert source.turned
    assert not watch.opened()
