"""Ids and labels that become a file's name, and those that are refused."""

from __future__ import annotations

import uuid
from pathlib import Path
from string import ascii_letters, digits
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from voicepipe.errors import InvalidIdError
from voicepipe.io.download.values import DownloadRequest
from voicepipe.io.recordings import Recording, check_id, check_label


URL = "https://example.com/a.wav"

BAD = [
    *("", " ", ".", "..", "../a", "a/../../b", "/etc/passwd", "a/b", "a\\b"),
    *("..\\..\\x", "C:\\x", "C:x", "\\\\srv\\share", "a\0.wav", "a\0", "\0"),
    *("a\nb", "a\n", "\na", "a\r\nX-Injected: 1", "\x1b[2J", "a\x1b[2J", "a\x7f"),
    *("-rf", "--help", "_a", ".hidden", "~root", "$HOME", "${jndi:x}", "$(id)"),
    *("a;rm -rf", "a b", "a|b", "a&b", "a*", "a?", '"a"', "'a'", "`id`"),
    *("%2e%2e%2f", "%00", "%252e", "\uff0e\uff0e\uff0fetc", "a\u202egpj"),
    *("a\u200db", "\ufb01le", "\u00e1", "a\u0301", "\ud800", "a\ud800"),
    *("\uff11", "\u0663", "\u0456d", "\u212a", "\U0001f600" * 85, "a" * 256),
    *("a.", "a ", " a", "CON", "con", "nul", "nul.txt", "COM\u00b9", "com1", "LPT9"),
    *("prn", "AUX", "$Mft", "a.part", "a.wav.wav", "a.wav", "a.lock", "db-wal."),
    *("+919999999999", "<script>", "=1+1", "@a", "a,b", "a\tb", "a\u2028b", "a\x85"),
    *(None, 1, 1.5, True, b"a", ["a"], ("a",), pytest.param(object(), id="object")),
]

# What the messages are made of.
PLAIN = {*ascii_letters, *digits, *" ,'-_()"}

GOOD = [
    *("a", "A", "0", "a-", "a_", "A_b-c", "919999999999", "a-wal", "a-shm", "con-1"),
    *("console", "nul_", "com10", "file", str(uuid.UUID(int=0)), "x" * 64),
    str(uuid.UUID(int=2**128 - 1)).upper(),
]


@pytest.mark.parametrize("value", BAD, ids=ascii)
def test_what_could_mean_something_else_is_refused(value: Any) -> None:
    with pytest.raises(InvalidIdError) as as_id:
        Recording(conversation_id=value, url=URL)
    with pytest.raises(InvalidIdError) as as_label:
        Recording(conversation_id="a", url=URL, speaker_label=value)

    for told, name in ((as_id, "conversation_id"), (as_label, "speaker_label")):
        assert isinstance(told.value, ValueError)
        assert str(told.value).startswith(f"{name} must be")
        # A log may show it: it does not hold what somebody else has written.
        assert not isinstance(value, str) or {*str(told.value)} <= PLAIN


@pytest.mark.parametrize("value", GOOD)
def test_plain_ids_and_labels_stay_as_they_are(value: str) -> None:
    found = Recording(conversation_id=value, url=URL, speaker_label=value)

    assert check_id(value) == check_label(value) == value
    assert (found.conversation_id, found.speaker_label) == (value, value)
    assert found.filename == f"{value}_{value}.wav"


def test_a_label_is_speaker_where_none_is_given() -> None:
    assert Recording(conversation_id="c1", url=URL).filename == "c1_speaker.wav"


def test_a_name_is_never_too_long_for_a_file_system() -> None:
    longest = Recording(conversation_id="a" * 128, url=URL, speaker_label="b" * 64)

    assert len(longest.filename) < 255
    with pytest.raises(InvalidIdError, match="1 to 128"):
        check_id("a" * 129)
    with pytest.raises(InvalidIdError, match="1 to 64"):
        check_label("b" * 65)


def test_the_error_says_what_it_is_about() -> None:
    with pytest.raises(InvalidIdError, match=r"^order_id must be 1 to"):
        check_id("a/b", what="order_id")
    with pytest.raises(InvalidIdError, match=r"^order_id must be text, not int$"):
        check_id(5, what="order_id")


near = st.text("aAbB01_-./\\ \n\0é\uff0e", max_size=5) | st.text(max_size=140)


@given(value=near)
def test_a_name_is_one_plain_part_of_a_path(value: str) -> None:
    try:
        name = Recording(conversation_id=value, url=URL).filename
    except InvalidIdError:
        return

    assert name == f"{value}_speaker.wav"
    assert name.isascii()
    assert name.replace("-", "").replace("_", "").removesuffix(".wav").isalnum()
    assert name[0].isalnum()


@given(one=near, two=near, label=st.sampled_from(["agent", "a_b"]))
def test_two_ids_with_one_label_never_share_a_name(
    one: str, two: str, label: str
) -> None:
    try:
        names = {
            Recording(conversation_id=value, url=URL, speaker_label=label).filename
            for value in (one, two)
        }
    except InvalidIdError:
        return

    assert len(names) == len({one, two})


@pytest.mark.parametrize("channel", [-1, -(10**30), 1.5, "0", [0]])
def test_a_channel_counts_from_zero(channel: Any) -> None:
    with pytest.raises((ValueError, TypeError), match="channel"):
        Recording(conversation_id="a", url=URL, channel=channel)

    assert Recording(conversation_id="a", url=URL, channel=0).channel == 0
    assert Recording(conversation_id="a", url=URL, channel=None).channel is None


def test_a_recording_cannot_be_given_another_name_later() -> None:
    recording = Recording(conversation_id="a", url=URL)

    with pytest.raises(AttributeError):
        recording.conversation_id = "../b"  # type: ignore[misc]
    assert recording.filename == "a_speaker.wav"


@pytest.mark.parametrize(
    "headers", [{"X-Key": "a\nb"}, {"Host": "other"}, {"X-Key": "ü"}, {"a b": "c"}]
)
def test_a_header_that_cannot_be_sent_is_refused_where_it_is_given(
    headers: dict[str, str],
) -> None:
    url = "http://example.com/a"
    for make in (
        lambda: Recording(conversation_id="c1", url=url, headers=headers),
        lambda: DownloadRequest(url=url, path=Path("a"), headers=headers),
    ):
        with pytest.raises(ValueError, match="header"):
            make()
