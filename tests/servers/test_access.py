from __future__ import annotations

import contextlib
import socket
from typing import TYPE_CHECKING
from urllib.parse import quote

import pytest

from voicepipe.servers.access import AccessGuard
from voicepipe.servers.protect import AppRules, protect
from voicepipe.servers.settings import ServerSettings


if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from voicepipe.servers.asgi import App


KEY = "k+/= \u00e9-9f2c"
ENCODED = quote(KEY, safe="")


@pytest.fixture(scope="module")
def keyed(serving: Callable[..., int], app: App) -> int:
    rules = AppRules(open_prefixes=("/static/",))
    return serving(protect(app, ServerSettings(api_key=KEY, rate_limit=0), rules))


@pytest.fixture(scope="module")
def keyless(serving: Callable[..., int], app: App) -> int:
    return serving(protect(app, ServerSettings(rate_limit=0)))


ACCEPTED = {
    "bearer": ("/data", [f"Authorization: Bearer {KEY}"]),
    "bearer in lower case": ("/data", [f"authorization: bearer {KEY}"]),
    "token": (f"/data?token={ENCODED}", []),
    "token among others": (f"/data?a=1&token={ENCODED}&b=%ff", []),
    "token with a plus left alone": (f"/data?token={quote(KEY, safe='+')}", []),
    "token with a plus for a blank": (
        f"/data?token={ENCODED.replace('%20', '+')}",
        [],
    ),
    "token beside another scheme": (
        f"/data?token={ENCODED}",
        ["Authorization: Basic eA=="],
    ),
}


@pytest.mark.parametrize(("target", "headers"), ACCEPTED.values(), ids=ACCEPTED)
def test_whoever_has_the_key_comes_in(
    keyed: int,
    ask: Callable[..., object],
    ask_ws: Callable[..., int],
    target: str,
    headers: list[str],
) -> None:
    assert ask(keyed, target, *headers).status == 200
    assert ask(keyed, target, *headers, method="POST", body=b"x").json["size"] == 1
    assert ask_ws(keyed, target, *headers) == 101


REFUSED = {
    "nothing": ("/data", []),
    "another key": ("/data", ["Authorization: Bearer other"]),
    "an empty key": ("/data", ["Authorization: Bearer "]),
    "a beginning": ("/data", [f"Authorization: Bearer {KEY[:-1]}"]),
    "more": ("/data", [f"Authorization: Bearer {KEY}x"]),
    "another case": ("/data", [f"Authorization: Bearer {KEY.upper()}"]),
    "another scheme": ("/data", [f"Authorization: Basic {KEY}"]),
    "no scheme": ("/data", [f"Authorization: {KEY}"]),
    "bytes that are no text": ("/data?token=%ff%fe", []),
    "an empty token": ("/data?token=", []),
    "another token": ("/data?token=other", []),
    "a name alone": ("/data?token", []),
    "another parameter": (f"/data?Token={ENCODED}&xtoken={ENCODED}", []),
    "two headers": ("/data", [f"Authorization: Bearer {KEY}"] * 2),
    "two headers of which one is right": (
        "/data",
        ["Authorization: Bearer x", f"Authorization: Bearer {KEY}"],
    ),
    "two tokens": (f"/data?token={ENCODED}&token={ENCODED}", []),
    "two tokens of which one is spelt otherwise": (
        f"/data?%74oken=x&token={ENCODED}",
        [],
    ),
    "a wrong header and a right token": (
        f"/data?token={ENCODED}",
        ["Authorization: Bearer x"],
    ),
    "a path that ends like an open one": ("/data/health", []),
    "an open path with a slash": ("/health/", []),
    "a path out of the open ones": ("/static/../data", []),
    "an encoded path out of the open ones": ("/static/%2e%2e/data", []),
    "a path out with a backslash": ("/static/..%5cdata", []),
    "two slashes": ("/static//data", []),
    "a path that begins like an open one": ("/staticdata", []),
}


@pytest.mark.parametrize(("target", "headers"), REFUSED.values(), ids=REFUSED)
def test_nobody_else_does(
    keyed: int,
    ask: Callable[..., object],
    ask_ws: Callable[..., int],
    target: str,
    headers: list[str],
) -> None:
    answer = ask(keyed, target, *headers)

    assert answer.status == 401
    assert answer.headers["www-authenticate"] == "Bearer"
    assert list(answer.json) == ["detail"]
    assert KEY not in answer.body.decode()
    assert ask(keyed, target, *headers, method="DELETE").status == 401
    assert ask(keyed, target, *headers, method="POST", body=b"x" * 99).status == 401
    assert ask_ws(keyed, target, *headers) == 401


@pytest.mark.parametrize(
    "path", ["/", "/health", "/docs", "/static/a/b.js", "/health?x"]
)
def test_open_paths_can_be_read_without_a_key(
    keyed: int,
    ask: Callable[..., object],
    ask_ws: Callable[..., int],
    path: str,
) -> None:
    assert ask(keyed, path).status == 200
    assert ask(keyed, path, method="HEAD").status == 200
    assert ask(keyed, path, method="POST").status == 401
    assert ask_ws(keyed, path) == 401


def test_a_host_header_does_not_move_the_path(
    keyed: int, ask: Callable[..., object]
) -> None:
    assert ask(keyed, "/data", host="x/health?").status == 401
    assert ask(keyed, "http://h/health", host="x").status in {400, 401}


def test_paths_are_those_below_the_root_path(
    serving: Callable[..., int], app: App, ask: Callable[..., object]
) -> None:
    guarded = protect(app, ServerSettings(api_key="k"))
    port = serving(guarded, root_path="/api")

    # uvicorn puts the root path in front.
    assert ask(port, "/health").json["path"] == "/api/health"
    assert ask(port, "/data").status == 401


def test_without_a_key_this_machine_comes_in(
    keyless: int, ask: Callable[..., object], ask_ws: Callable[..., int]
) -> None:
    assert ask(keyless).status == 200
    assert ask_ws(keyless, "/ws") == 101


PROXIED = {
    "an address": "X-Forwarded-For: 192.0.2.7",
    "this machine's": "X-Forwarded-For: 127.0.0.1",
    "a name": "X-Forwarded-For: localhost",
    "the standard's header": "Forwarded: for=127.0.0.1",
    "nginx's header": "X-Real-IP: 127.0.0.1",
}


@pytest.mark.parametrize("path", ["/data", "/health", "/"])
@pytest.mark.parametrize("header", PROXIED.values(), ids=PROXIED)
def test_without_a_key_nobody_comes_through_a_proxy(
    keyless: int,
    ask: Callable[..., object],
    ask_ws: Callable[..., int],
    path: str,
    header: str,
) -> None:
    assert ask(keyless, path, header).status == 403
    assert ask_ws(keyless, path, header) == 403


@pytest.mark.parametrize("kind", ["http", "websocket"])
@pytest.mark.parametrize(
    ("peer", "status"),
    [
        (("192.0.2.7", 1), 403),
        (("10.0.0.1", 1), 403),
        (("fd00::9", 1), 403),
        (("::ffff:10.0.0.1", 1), 403),
        (("localhost", 1), 403),
        (("", 1), 403),
        (None, 403),
        (("127.3.2.1", 1), 200),
        (("::1", 1), 200),
    ],
)
async def test_without_a_key_other_machines_do_not_come_in(
    kind: str, peer: tuple[str, int] | None, status: int
) -> None:
    sent = []

    async def inside(
        scope: object, receive: object, send: Callable[..., object]
    ) -> None:
        await send({"type": "x", "status": 200})

    async def receive() -> dict[str, object]:
        return {"type": "http.request"}

    async def send(message: dict[str, object]) -> None:
        sent.append(message)

    scope = {"type": kind, "path": "/health", "method": "GET", "headers": []}
    scope |= {"client": peer, "extensions": {"websocket.http.response": {}}}
    await AccessGuard(inside, ServerSettings())(scope, receive, send)

    assert sent[0]["status"] == status


def test_with_a_key_other_machines_come_in(
    keyed: int, ask: Callable[..., object]
) -> None:
    headers = ["X-Forwarded-For: 192.0.2.7", f"Authorization: Bearer {KEY}"]

    assert ask(keyed, "/data", *headers).status == 200


def test_insecure_lets_everybody_in(
    serving: Callable[..., int], app: App, ask: Callable[..., object]
) -> None:
    port = serving(protect(app, ServerSettings(insecure=True)))

    assert ask(port, "/data", "X-Forwarded-For: 192.0.2.7").status == 200


@pytest.mark.parametrize(
    ("settings", "status"),
    [
        (ServerSettings(), b"403"),
        (ServerSettings(insecure=True), b"200"),
        (ServerSettings(api_key="k"), b"401"),
    ],
)
def test_a_unix_socket_has_no_address_and_is_not_trusted(
    serving: Callable[..., int],
    app: App,
    tmp_path: Path,
    settings: ServerSettings,
    status: bytes,
) -> None:
    path = str(tmp_path / "s")
    serving(protect(app, settings), uds=path)

    with socket.socket(socket.AF_UNIX) as sock:
        sock.connect(path)
        sock.sendall(b"GET /data HTTP/1.1\r\nHost: h\r\n\r\n")

        assert sock.recv(4_096).split()[1] == status


def test_the_app_says_how_its_errors_look(
    serving: Callable[..., int], app: App, ask: Callable[..., object]
) -> None:
    rules = AppRules(error_key="error")
    port = serving(protect(app, ServerSettings(api_key="k"), rules))

    assert list(ask(port).json) == ["error"]


async def test_a_websocket_is_closed_where_no_status_can_be_sent(app: App) -> None:
    sent = []

    async def receive() -> dict[str, str]:
        return {"type": "websocket.connect"}

    async def send(message: dict[str, object]) -> None:
        sent.append(message)

    scope = {"type": "websocket", "path": "/ws", "headers": [], "client": ("::1", 1)}
    await protect(app, ServerSettings(api_key="k"))(scope, receive, send)

    assert sent == [{"type": "websocket.close", "code": 1008}]


def test_a_prefix_that_ends_within_a_name_is_refused(app: App) -> None:
    with pytest.raises(ValueError, match="slash"):
        protect(app, ServerSettings(), AppRules(open_prefixes=("/static",)))


def test_a_refused_upload_still_hears_why(
    keyed: int,
) -> None:
    with socket.create_connection(("127.0.0.1", keyed), timeout=60) as sock:
        sock.sendall(
            b"POST /data HTTP/1.1\r\nHost: h\r\nContent-Length: 400000\r\n\r\n"
        )
        head = sock.recv(4_096)
        # It is listened to for two seconds, which a busy machine may pass.
        with contextlib.suppress(ConnectionError):
            for _ in range(4):
                sock.sendall(bytes(100_000))
            while sock.recv(4_096):
                pass

    assert head.split()[1] == b"401"
    assert b"connection: close" in head
