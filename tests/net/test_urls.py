from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from voicepipe.errors import InvalidUrlError
from voicepipe.net.urls import parse_url, redact_url, url_digest


@pytest.mark.parametrize(
    ("text", "host", "port", "target"),
    [
        ("http://example.com", "example.com", 80, b"/"),
        ("HTTPS://Example.COM/a?b=c#d", "example.com", 443, b"/a?b=c"),
        ("http://example.com.:8080/x", "example.com", 8080, b"/x"),
        ("https://[2001:db8::1]:8443/x", "2001:db8::1", 8443, b"/x"),
        ("http://bücher.example/ä", "xn--bcher-kva.example", 80, b"/%C3%A4"),
    ],
)
def test_a_url_is_read(text: str, host: str, port: int, target: bytes) -> None:
    url = parse_url(text)

    assert (url.host, url.port, url.target) == (host, port, target)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "example.com/a.mp3",
        "//example.com/a",
        "http:///a",
        "http://",
        "file:///etc/passwd",
        "ftp://example.com/a",
        "gopher://example.com/1",
        "data:audio/wav;base64,UklGRg==",
        "http://example.com:65536/",
        "http://example.com:x/",
        "http://exa mple.com/",
        " http://example.com/",
        "http://example.com/\n",
        "http://example.com/a\r\nX: 1",
        "http://example.com\\@127.0.0.1/",
        "http://example.com/\x00",
        "http://" + "a" * 64 + ".com/",
        "http://example.com/" + "a" * 20_000,
        "http://[::1/",
        None,
        7,
        b"http://example.com/",
    ],
)
def test_what_is_no_url_is_refused_without_being_quoted(text: object) -> None:
    with pytest.raises(InvalidUrlError) as caught:
        parse_url(text)  # type: ignore[arg-type]

    assert isinstance(caught.value, ValueError)
    assert "example" not in str(caught.value)


def test_a_url_is_shown_without_what_may_be_secret() -> None:
    text = "https://user:hunter2@example.com:8443/a%20b.mp3?sig=deadbeef#frag"

    assert redact_url(text) == "https://example.com:8443/a%20b.mp3"
    assert str(parse_url(text)) == redact_url(text)
    assert "hunter2" not in repr(parse_url(text))
    assert "deadbeef" not in repr(parse_url(text))


@given(st.text(max_size=60))
def test_showing_a_url_never_fails_and_gives_one_printable_line(text: str) -> None:
    shown = redact_url(text)

    assert shown.isprintable()
    assert shown.isascii()


@given(st.text(min_size=1, max_size=20), st.text(max_size=20))
def test_user_and_password_come_back_as_basic_credentials(
    user: str, password: str
) -> None:
    import base64
    from urllib.parse import quote

    url = parse_url(f"http://{quote(user, '')}:{quote(password, '')}@example.com/")

    assert url.authorization is not None
    kind, token = url.authorization.split()
    assert kind == "Basic"
    assert base64.b64decode(token).decode() == f"{user}:{password}"


@pytest.mark.parametrize(
    ("location", "joined"),
    [
        ("/b", "http://example.com:8080/b"),
        ("b?c=1", "http://example.com:8080/x/b"),
        ("//other.example/c", "http://other.example/c"),
        ("https://other.example/c", "https://other.example/c"),
        ("?again=1", "http://example.com:8080/x/a"),
    ],
)
def test_a_location_is_joined(location: str, joined: str) -> None:
    url = parse_url("http://u:p@example.com:8080/x/a?q=1")

    assert str(url.join(location)) == joined


def test_a_location_elsewhere_takes_no_credentials_along() -> None:
    url = parse_url("http://u:p@example.com/x")

    assert url.join("http://other.example/").authorization is None


@pytest.mark.parametrize(
    "location",
    ["file:///etc/passwd", "http://[::1", "\\\\host\\x", "ftp://a/b", "a\nb"],
)
def test_a_location_that_cannot_be_fetched_is_refused(location: str) -> None:
    with pytest.raises(InvalidUrlError):
        parse_url("http://example.com/").join(location)


def test_the_digest_tells_urls_apart_by_their_query_too() -> None:
    one, other = "http://example.com/a?id=1", "http://example.com/a?id=2"

    assert url_digest(one) != url_digest(other)
    assert url_digest(one) == url_digest(one)
    assert len(url_digest("http://example.com/\udcff")) == 64
