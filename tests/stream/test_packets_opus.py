"""What holds of Opus in each of its containers."""

from __future__ import annotations

import pytest
from packet_files import data_of, opus
from riff_bytes import DATA, FORM, riff
from webm_bytes import packets_of

from voicepipe.errors import DamagedAudioError
from voicepipe.stream.packets.ogg import OggSplitter
from voicepipe.stream.packets.splitter import MAX_JUNK_BYTES
from voicepipe.stream.packets.webm import WebmSplitter


Container = tuple[type[OggSplitter | WebmSplitter], str, str]

containers = pytest.mark.parametrize(
    "container",
    [(OggSplitter, "opus", "ogg"), (WebmSplitter, "webm-live", "matroska")],
    ids=["ogg", "webm"],
)


@containers
@pytest.mark.parametrize("length", [1, 50, 1_000_000])
@pytest.mark.parametrize("second", ["webm", "opus", "wav"])
def test_another_header_ends_the_file(
    container: Container, second: str, length: int
) -> None:
    make, kind, demuxer = container
    first = opus(kind)
    rest = riff(FORM, DATA) if second == "wav" else opus(second)
    stream = first + rest
    splitter, at, found = make(), 0, []
    while splitter.ended is None:
        found += splitter.push(stream[at : at + length])
        at = min(len(stream), at + length)

    assert stream[len(first) : at] == splitter.ended
    assert splitter.total == len(first)
    assert data_of(found) == tuple(packets_of(first, demuxer))
    assert splitter.flush() == []
    assert splitter.dropped == splitter.damaged == 0


@containers
def test_too_much_garbage_is_the_end(container: Container) -> None:
    make, kind, _ = container
    splitter = make()
    splitter.push(opus(kind))
    for _ in range(MAX_JUNK_BYTES // 65_536):
        splitter.push(bytes(65_536))

    with pytest.raises(DamagedAudioError, match="no sound"):
        splitter.push(bytes(65_536))
