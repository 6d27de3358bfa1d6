from __future__ import annotations

import httpcore
import pytest

from voicepipe.errors import BadResponseError, HttpStatusError
from voicepipe.io.download.resume import Remote, Resumption, whole
from voicepipe.net.answer import Answer
from voicepipe.net.engine import HttpLimits
from voicepipe.net.urls import parse_url


URL = parse_url("http://example.com/a.mp3?secret=1")
DATE = "Sat, 21 Nov 2026 12:00:00 GMT"


def answer(status: int, **headers: str) -> Answer:
    fields = [(name.replace("_", "-"), value) for name, value in headers.items()]
    return Answer(httpcore.Response(status, headers=fields), URL, HttpLimits())


def remote(**headers: str) -> Remote:
    return whole(answer(200, **headers))


@pytest.mark.parametrize(
    ("headers", "validator"),
    [
        ({"etag": '"v1"'}, '"v1"'),
        ({"etag": 'W/"v1"'}, None),
        ({"etag": "v1"}, None),
        ({}, None),
        (
            {"last_modified": "Sat, 21 Nov 2026 11:59:00 GMT", "date": DATE},
            "Sat, 21 Nov 2026 11:59:00 GMT",
        ),
        ({"last_modified": "Sat, 21 Nov 2026 11:59:01 GMT", "date": DATE}, None),
        ({"last_modified": "Sat, 21 Nov 2026 11:00:00 GMT"}, None),
        ({"last_modified": "yesterday", "date": DATE}, None),
        (
            {
                "etag": 'W/"v1"',
                "last_modified": "Sat, 21 Nov 2026 11:00:00 GMT",
                "date": DATE,
            },
            "Sat, 21 Nov 2026 11:00:00 GMT",
        ),
    ],
)
def test_only_a_strong_validator_tells_versions_apart(
    headers: dict[str, str], validator: str | None
) -> None:
    assert remote(**headers).validator == validator


@pytest.mark.parametrize(
    ("have", "size", "start"),
    [(1, 1000, 1), (999, 1000, 999), (1000, 1000, 999), (500, None, 500)],
)
def test_what_is_missing_is_asked_for(have: int, size: int | None, start: int) -> None:
    version = Remote(validator='"v1"', etag='"v1"', size=size)

    resumption = Resumption.after(have, version)

    assert resumption is not None
    assert resumption.conditions == {"range": f"bytes={start}-", "if-range": '"v1"'}


@pytest.mark.parametrize(
    ("have", "version"),
    [(0, Remote(validator='"v1"')), (10, Remote()), (10, None)],
)
def test_without_bytes_or_a_validator_it_begins_anew(
    have: int, version: Remote | None
) -> None:
    assert Resumption.after(have, version) is None


RESUMPTION = Resumption(
    remote=Remote(validator='"v1"', etag='"v1"', size=1000), start=400
)


def test_the_rest_of_the_same_version_continues_it() -> None:
    for headers in (
        {"content_range": "bytes 400-999/1000"},
        {
            "content_range": "bytes 400-999/1000",
            "etag": '"v1"',
            "content_length": "600",
        },
        {"content_range": "Bytes 400-500/1000", "content_length": "101"},
    ):
        assert RESUMPTION.continues(answer(206, **headers))


@pytest.mark.parametrize(
    ("status", "headers"),
    [
        (200, {}),
        (416, {"content_range": "bytes */1000"}),
        (206, {}),
        (206, {"content_range": "bytes 0-999/1000"}),
        (206, {"content_range": "bytes 401-999/1000"}),
        (206, {"content_range": "bytes 399-999/1000"}),
        (206, {"content_range": "bytes 400-999/1001"}),
        (206, {"content_range": "bytes 400-999/*"}),
        (206, {"content_range": "bytes 400-1000/1000"}),
        (206, {"content_range": "bytes 400-399/1000"}),
        (206, {"content_range": "items 400-999/1000"}),
        (206, {"content_range": "bytes 400-999/1000", "etag": '"v2"'}),
        (206, {"content_range": "bytes 400-999/1000", "content_length": "599"}),
        (206, {"content_type": "multipart/byteranges; boundary=x"}),
    ],
)
def test_nothing_else_does(status: int, headers: dict[str, str]) -> None:
    assert not RESUMPTION.continues(answer(status, **headers))


@pytest.mark.parametrize("status", [201, 202, 203, 204, 206, 226, 300, 304])
def test_a_success_without_the_file_is_an_error(status: int) -> None:
    with pytest.raises(BadResponseError, match=str(status)) as caught:
        whole(answer(status))

    assert not caught.value.retryable
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("status", "retryable"),
    [
        (400, False),
        (401, False),
        (403, False),
        (404, False),
        (408, True),
        (410, False),
        (425, True),
        (429, True),
        (500, True),
        (501, False),
        (503, True),
        (524, True),
    ],
)
def test_an_error_status_says_whether_to_try_again(
    status: int, *, retryable: bool
) -> None:
    with pytest.raises(HttpStatusError) as caught:
        whole(answer(status, retry_after="7"))

    assert (caught.value.status, caught.value.retryable) == (status, retryable)
    assert caught.value.retry_after == 7.0
