from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from voicepipe.servers.origin import OriginGuard
from voicepipe.servers.protect import protect
from voicepipe.servers.settings import ServerSettings


if TYPE_CHECKING:
    from collections.abc import Callable

    from voicepipe.servers.asgi import App


LISTED = "https://app.example.com"
PUBLIC = "calls.example.com"


@pytest.fixture(scope="module")
def default(serving: Callable[..., int], app: App) -> int:
    return serving(protect(app, ServerSettings(rate_limit=0)))


@pytest.fixture(scope="module")
def keyed(serving: Callable[..., int], app: App) -> int:
    return serving(protect(app, ServerSettings(api_key="k", rate_limit=0)))


@pytest.fixture(scope="module")
def listing(serving: Callable[..., int], app: App) -> int:
    origins = (LISTED, "http://other.example:81")
    return serving(protect(app, ServerSettings(allowed_origins=origins, rate_limit=0)))


FOREIGN = [
    "https://evil.example",
    "null",
    "",
    "https://app.example.com.evil",
    "https://evilapp.example.com",
    "https://app.example.com:444",
    "https://app.example.com/",
    "HTTPS://APP.EXAMPLE.COM",
    "http://app.example.com",
    "http://localhost.evil.example",
    "http://evil.localhost",
    "http://127.0.0.1.evil.example",
    "http://user@localhost",
    "http://LOCALHOST:3000",
    "file://localhost",
    "localhost",
    "https://app.example.com, https://evil.example",
]


@pytest.mark.parametrize("origin", [*FOREIGN, LISTED])
def test_pages_of_others_are_refused(
    default: int,
    ask: Callable[..., object],
    ask_ws: Callable[..., int],
    origin: str,
) -> None:
    assert ask(default, "/data", f"Origin: {origin}").status == 403
    assert ask_ws(default, "/ws", f"Origin: {origin}") == 403


@pytest.mark.parametrize(
    "origin", [*FOREIGN, "http://localhost:3000", "HTTP://LOCALHOST"]
)
def test_where_a_list_is_set_it_is_taken_by_the_letter(
    listing: int,
    ask: Callable[..., object],
    ask_ws: Callable[..., int],
    origin: str,
) -> None:
    answer = ask(listing, "/data", f"Origin: {origin}")

    assert answer.status == 403
    assert "access-control-allow-origin" not in answer.headers
    assert ask_ws(listing, "/ws", f"Origin: {origin}") == 403


@pytest.mark.parametrize(
    "origin",
    [
        "http://localhost",
        "http://localhost:3000",
        "https://localhost:5173",
        "http://127.0.0.1:9",
        "http://[::1]:8080",
    ],
)
def test_pages_of_this_machine_may_come_by_default(
    default: int, ask_ws: Callable[..., int], origin: str
) -> None:
    assert ask_ws(default, "/ws", f"Origin: {origin}") == 101


def test_pages_of_the_visitors_machine_may_not(
    keyed: int, ask_ws: Callable[..., int]
) -> None:
    headers = ["Authorization: Bearer k", "Origin: http://localhost:3000"]

    assert ask_ws(keyed, "/ws", *headers) == 101
    assert ask_ws(keyed, "/ws", *headers, "X-Forwarded-For: 192.0.2.7") == 403


@pytest.mark.parametrize(
    ("server", "peer", "status"),
    [
        (("127.0.0.1", 80), "127.0.0.1", 200),
        (("::1", 80), "::1", 200),
        (None, "127.0.0.1", 200),
        (("192.0.2.1", 80), "127.0.0.1", 403),
        (("127.0.0.1", 80), "192.0.2.7", 403),
        (("/run/socket", None), "127.0.0.1", 403),
    ],
)
async def test_both_ends_must_be_on_this_machine_for_a_page_of_localhost(
    server: tuple[str, int | None] | None, peer: str, status: int
) -> None:
    statuses = []

    async def inside(
        scope: object, receive: object, send: Callable[..., object]
    ) -> None:
        await send({"type": "http.response.start", "status": 200})

    async def receive() -> dict[str, object]:
        return {"type": "http.request"}

    async def send(message: dict[str, object]) -> None:
        statuses.append(message.get("status"))

    headers = [(b"origin", b"http://localhost:3000"), (b"host", b"localhost")]
    scope = {"type": "http", "scheme": "http", "path": "/", "method": "GET"}
    scope |= {"headers": headers, "server": server, "client": (peer, 1)}
    await OriginGuard(inside, ServerSettings(api_key="k"))(scope, receive, send)

    assert statuses[0] == status


@pytest.mark.parametrize(
    ("host", "proto", "origin", "status"),
    [
        (PUBLIC, "https", f"https://{PUBLIC}", 101),
        (PUBLIC, "http", f"http://{PUBLIC}", 101),
        (f"{PUBLIC}:8443", "https", f"https://{PUBLIC}:8443", 101),
        (f"{PUBLIC}:443", "https", f"https://{PUBLIC}", 101),
        (f"{PUBLIC}:80", "https", f"https://{PUBLIC}", 403),
        (PUBLIC, "http", f"https://{PUBLIC}", 403),
        (PUBLIC, "https", f"http://{PUBLIC}", 403),
        (PUBLIC, "https", f"https://{PUBLIC}:8443", 403),
        (f"{PUBLIC}:8443", "https", f"https://{PUBLIC}", 403),
        (PUBLIC, "https", f"https://{PUBLIC.upper()}", 403),
        (PUBLIC, "https", f"https://x{PUBLIC}", 403),
        (PUBLIC, "https", f"https://{PUBLIC}.evil", 403),
    ],
)
def test_the_servers_own_pages_are_those_of_its_scheme_host_and_port(
    keyed: int,
    ask: Callable[..., object],
    ask_ws: Callable[..., int],
    host: str,
    proto: str,
    origin: str,
    status: int,
) -> None:
    headers = ["Authorization: Bearer k", f"X-Forwarded-Proto: {proto}"]
    headers.append(f"Origin: {origin}")

    assert ask_ws(keyed, "/ws", *headers, host=host) == status
    assert ask(keyed, "/data", *headers, host=host).status == {101: 200}.get(
        status, status
    )


def test_listed_pages_may_come_and_read_the_answers(
    listing: int, ask: Callable[..., object], ask_ws: Callable[..., int]
) -> None:
    answer = ask(listing, "/data", f"Origin: {LISTED}")

    assert answer.status == 200
    assert answer.headers["access-control-allow-origin"] == LISTED
    assert answer.headers["vary"] == "Origin"
    assert ask_ws(listing, "/ws", f"Origin: {LISTED}") == 101
    # Its own page goes on being its own.
    assert ask_ws(listing, "/ws", f"Origin: http://127.0.0.1:{listing}") == 101


def test_two_origins_are_refused(listing: int, ask: Callable[..., object]) -> None:
    assert ask(listing, "/data", f"Origin: {LISTED}", f"Origin: {LISTED}").status == 403


PREFLIGHT = ("Access-Control-Request-Method: POST",)


def test_a_preflight_of_a_listed_page_is_answered(
    listing: int, ask: Callable[..., object]
) -> None:
    headers = [f"Origin: {LISTED}", "Access-Control-Request-Headers: authorization,x-y"]
    answer = ask(listing, "/data", *PREFLIGHT, *headers, method="OPTIONS")

    assert answer.status == 204
    assert answer.headers["access-control-allow-origin"] == LISTED
    assert "POST" in answer.headers["access-control-allow-methods"]
    assert answer.headers["access-control-allow-headers"] == "authorization,x-y"


def test_a_preflight_needs_no_key_and_gives_none(
    serving: Callable[..., int], app: App, ask: Callable[..., object]
) -> None:
    settings = ServerSettings(api_key="k", allowed_origins=(LISTED,))
    port = serving(protect(app, settings))
    origin = f"Origin: {LISTED}"

    assert ask(port, "/data", *PREFLIGHT, origin, method="OPTIONS").status == 204
    refused = ask(port, "/data", origin)
    assert refused.status == 401
    # The page may read why.
    assert refused.headers["access-control-allow-origin"] == LISTED


@pytest.mark.parametrize("origin", ["https://evil.example", "null"])
def test_no_other_preflight_is(
    listing: int, ask: Callable[..., object], origin: str
) -> None:
    answer = ask(listing, "/data", *PREFLIGHT, f"Origin: {origin}", method="OPTIONS")

    assert answer.status == 403
    assert not [name for name in answer.headers if name.startswith("access-control")]


def test_without_a_list_there_is_no_cors(
    default: int, ask: Callable[..., object]
) -> None:
    answer = ask(
        default, "/data", *PREFLIGHT, "Origin: http://localhost:1", method="OPTIONS"
    )

    assert not [name for name in answer.headers if name.startswith("access-control")]


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "evil.example:8000",
        "localhost.evil.example",
        "192.0.2.1",
        "127.0.0.1.nip.io",
        "2130706433",
        "0.0.0.0",
        "",
    ],
)
def test_a_name_that_was_turned_to_this_machine_is_refused(
    default: int,
    keyed: int,
    ask: Callable[..., object],
    ask_ws: Callable[..., int],
    host: str,
) -> None:
    host = host or " "
    same = f"Origin: http://{host}"

    assert ask(default, "/health", host=host).status == 403
    assert ask_ws(default, "/ws", same, host=host) == 403
    # With a key the page would need it, and a proxy may pass any name.
    assert ask(keyed, "/health", host=host).status == 200


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:1", "127.9.9.9", "[::1]:80"])
def test_the_names_of_this_machine_are_not(
    default: int, ask: Callable[..., object], host: str
) -> None:
    assert ask(default, "/data", host=host).status == 200


def test_the_host_of_a_listed_origin_is_known(
    listing: int, ask: Callable[..., object]
) -> None:
    assert ask(listing, "/data", host="app.example.com").status == 200
    assert ask(listing, "/data", host="other.example:81").status == 200
    assert ask(listing, "/data", host="other.example").status == 403


def test_every_answer_says_not_to_guess_and_not_to_tell(
    keyed: int, ask: Callable[..., object]
) -> None:
    for path in ("/health", "/data"):
        headers = ask(keyed, path).headers
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["referrer-policy"] == "no-referrer"
