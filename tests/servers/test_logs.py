from __future__ import annotations

import datetime as dt
import io
import logging
import os
import re
import subprocess
import sys
import time
import zoneinfo
from pathlib import Path
from typing import TYPE_CHECKING

import hypothesis.strategies as st
import pytest
from hypothesis import given
from websockets.sync.client import connect as connect_ws

from voicepipe.errors import SettingsError
from voicepipe.servers.logs import Rotation, SafeFormatter, log_zone, setup_logging
from voicepipe.servers.protect import protect
from voicepipe.servers.redact import GONE, Redactor, escape_controls
from voicepipe.servers.request_log import RequestLog
from voicepipe.servers.settings import ServerSettings


if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from voicepipe.servers.asgi import App, Receive, Scope, Send


HERE = Path(__file__).parent
LOGGERS = (
    "",
    "h11",
    "httpcore",
    "httpx",
    "uvicorn",
    "uvicorn.access",
    "uvicorn.asgi",
    "uvicorn.error",
    "websockets",
)


@pytest.fixture
def logged(tmp_path: Path) -> Iterator[Callable[[], str]]:
    """Give what is in the log; put all loggers back behind the test."""
    loggers = [logging.getLogger(name) for name in LOGGERS]
    before = [(lo.level, lo.propagate, list(lo.handlers)) for lo in loggers]
    yield lambda: (tmp_path / "logs" / "app.log").read_text("utf-8")
    for logger, (level, propagate, handlers) in zip(loggers, before, strict=True):
        for handler in logger.handlers:
            if handler not in handlers:
                handler.close()
        logger.handlers[:] = handlers
        logger.setLevel(level)
        logger.propagate = propagate


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        ("https://user:pa55@h.example:81/a/b", "https://h.example:81/a/b"),
        ("https://us%40er:p@ss@h/a", "https://h/a"),
        ("see postgresql://u:pa/ss@db/x now", "see postgresql://db/x now"),
        ("http://h/a?X-Amz-Signature=abc&x=1.", f"http://h/a?{GONE}"),
        ("http://h#access_token=abc", f"http://h?{GONE}"),
        ("http://h:80/a@b/c", "http://h:80/a@b/c"),
        ("http://[::1]:80/a", "http://[::1]:80/a"),
        ("'http://u:it's@h/x'", "'http://h/x'"),
        ("http://u@a.example http://v@b.example", "http://a.example http://b.example"),
        ('"WebSocket /ws?token=abc" [accepted]', f'"WebSocket /ws?{GONE}" [accepted]'),
        ("GET /a/b?c=d HTTP/1.1", f"GET /a/b?{GONE} HTTP/1.1"),
        ("token=abc&x=1", f"token={GONE}&x=1"),
        ("{'token': 'abc', 'n': 1}", f"{{'token': '{GONE}', 'n': 1}}"),
        ("access_token: abc", f"access_token: {GONE}"),
        ("API-KEY=abc", f"API-KEY={GONE}"),
        ("Authorization: Bearer abc", f"Authorization: {GONE}"),
        ("authorization: Digest a=b, c=d\nnext", f"authorization: {GONE}\nnext"),
        (
            "{'authorization': 'Basic abc', 'x': 1}",
            f"{{'authorization': {GONE}, 'x': 1}}",
        ),
        ("(b'authorization', b'Bearer abc')", f"(b'authorization', b{GONE})"),
        ("with Bearer abc.def", f"with Bearer {GONE}"),
        ("the canary sings", f"the {GONE} sings"),
        ("a/b or c? What of d at e", "a/b or c? What of d at e"),
        ("5 tokens, no secrets", "5 tokens, no secrets"),
    ],
)
def test_secrets_are_taken_out(text: str, clean: str) -> None:
    assert Redactor(["canary", ""])(text) == clean


def test_of_two_secrets_the_longer_goes_whole() -> None:
    assert Redactor(["abc", "abcdef"])("abcdef abc") == f"{GONE} {GONE}"


@given(st.text(max_size=40), st.text(min_size=1, max_size=10), st.text(max_size=40))
def test_a_known_secret_never_stays(before: str, secret: str, after: str) -> None:
    clean = Redactor([secret])(before + secret + after)

    assert secret not in clean.replace(GONE, "") or secret in before + after


@given(
    st.from_regex(r"[a-z0-9]{3,12}", fullmatch=True),
    st.text(
        st.characters(exclude_categories=["C", "Z"], exclude_characters="<>/?#"),
        max_size=20,
    ),
)
def test_no_url_keeps_its_password(host: str, noise: str) -> None:
    text = f"get http://{noise}:CANARY{noise}@{host}/path?{noise}CANARY failed"

    assert "CANARY" not in Redactor()(text)


def test_a_line_stays_a_line() -> None:
    evil = "a\r\n2026 INFO forged\x1b[2J\x00\x85\u2028\u202e\ud800\tz"

    assert escape_controls(evil) == (
        "a\\r\\n2026 INFO forged\\x1b[2J\\x00\\x85\\u2028\\u202e\\ud800\\tz"
    )


@given(st.text())
def test_no_text_makes_two_lines_or_fails_to_be_written(text: str) -> None:
    clean = escape_controls(text)

    assert len(clean.splitlines()) <= 1
    clean.encode("utf-8")


def record_of(message: str, *args: object, error: Exception | None = None) -> str:
    formatter = SafeFormatter(log_zone("Asia/Kolkata"), Redactor(["canary"]))
    info = (type(error), error, None) if error else None
    record = logging.LogRecord("n", logging.INFO, "p.py", 1, message, args, info)
    record.created = 1_700_000_000.25
    return formatter.format(record)


def test_a_line_has_time_zone_level_and_process() -> None:
    line = record_of("hello %s", "you")

    assert line.startswith("2023-11-15T03:43:20.250+05:30 INFO n [")
    assert line.endswith("]: hello you")
    assert dt.datetime.fromisoformat(line.split()[0]).timestamp() == 1_700_000_000.25


def test_an_exceptions_text_is_clean_and_set_in() -> None:
    error = ValueError("http://u:canary2@h/?q=x\n2023-11-15 INFO forged canary\x1b")
    first, *rest = record_of("failed", error=error).split("\n")

    assert first.endswith("failed")
    assert len(rest) == 2
    assert all(line.startswith("  | ") for line in rest)
    assert "canary" not in "".join(rest)
    assert "\x1b" not in "".join(rest)


@pytest.mark.parametrize("zone", ["UTC", "Europe/Berlin", "America/St_Johns"])
def test_the_zone_can_be_chosen(zone: str) -> None:
    assert log_zone(zone) == zoneinfo.ZoneInfo(zone)


@pytest.mark.parametrize(
    "zone", ["Mars/Base", "../../etc/passwd", "", "Asia", "/etc/x"]
)
def test_an_unknown_zone_is_told(zone: str) -> None:
    with pytest.raises(SettingsError, match="zone"):
        log_zone(zone)


def outcome_of(code: str) -> tuple[str, str]:
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        check=True,
        env={**os.environ, "PYTHONTZPATH": ""},
        text=True,
    )
    return done.stdout, done.stderr


def test_india_needs_no_time_zone_database() -> None:
    out, _ = outcome_of(
        """
import datetime as dt, sys
sys.modules["tzdata"] = None
from voicepipe.servers.logs import log_zone
print(dt.datetime(2026, 1, 1, tzinfo=log_zone("Asia/Kolkata")).isoformat())
try:
    log_zone("Europe/Berlin")
except ValueError as exc:
    print(exc)
"""
    )

    assert out.startswith("2026-01-01T00:00:00+05:30\n")
    assert "tzdata" in out


def test_records_go_to_the_file_and_to_standard_error(
    tmp_path: Path, logged: Callable[[], str], capsys: pytest.CaptureFixture[str]
) -> None:
    for _ in range(2):
        setup_logging(tmp_path / "logs", "app.log", secrets=["canary"])
    logging.getLogger("x").info("one canary \u20ac")
    logging.getLogger("x").debug("not this")

    assert logged().count("\n") == 1
    assert f"one {GONE} \u20ac" in logged()
    assert capsys.readouterr().err == logged()


def test_a_record_that_cannot_be_written_is_not_printed_raw() -> None:
    out, err = outcome_of(
        """
import logging
from voicepipe.servers.logs import setup_logging
setup_logging(None, "", secrets=["canary"])
logging.getLogger("x").info("%d", "canary")
"""
    )

    assert "canary" not in out + err
    assert "TypeError" in err
    assert "<string>:5" in err


@pytest.mark.parametrize("level", ["LOUD", "info", ""])
def test_an_unknown_level_is_told(level: str, tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="level"):
        setup_logging(tmp_path, "a.log", level=level)


def test_a_folder_that_cannot_be_made_is_told_at_once(tmp_path: Path) -> None:
    (tmp_path / "file").touch()

    with pytest.raises(OSError, match="file"):
        setup_logging(tmp_path / "file", "a.log")
    (tmp_path / "a.log").mkdir()
    with pytest.raises(IsADirectoryError):
        setup_logging(tmp_path, "a.log")


def test_a_file_rotates_and_old_ones_go(
    tmp_path: Path, logged: Callable[[], str]
) -> None:
    assert Rotation() == Rotation(max_bytes=5 * 1024 * 1024, backups=3)
    setup_logging(
        tmp_path / "logs", "app.log", rotation=Rotation(max_bytes=2_000, backups=3)
    )
    for number in range(200):
        logging.getLogger("x").info("line %d", number)
    files = sorted(p.name for p in (tmp_path / "logs").iterdir() if p.name[0] != ".")

    assert files == ["app.log", "app.log.1", "app.log.2", "app.log.3"]
    assert all((tmp_path / "logs" / name).stat().st_size < 2_100 for name in files)
    assert "line 199" in logged()


def test_four_processes_lose_no_line_and_mix_none(tmp_path: Path) -> None:
    count = 700
    writers = [
        subprocess.Popen(
            [
                sys.executable,
                HERE / "log_many.py",
                tmp_path,
                f"writer{number}",
                str(count),
                "30000",
                "200",
            ],
            stderr=subprocess.DEVNULL,
        )
        for number in range(4)
    ]
    assert [writer.wait(100) for writer in writers] == [0] * 4

    files = list(tmp_path.glob("shared.log*"))
    lines = "".join(file.read_text("utf-8") for file in files).splitlines()
    pattern = re.compile(
        r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}\+05:30 INFO many \[\d+\]: "
        r"(writer\d)-(\d+) (x*)"
    )
    found = [pattern.fullmatch(line) for line in lines]

    assert len(files) > 5
    assert all(found)
    assert all(len(m[3]) == int(m[2]) % 97 for m in found if m)
    assert sorted((m[1], int(m[2])) for m in found if m) == [
        (f"writer{w}", n) for w in range(4) for n in range(count)
    ]


CANARY = "canary-7f3a"


async def leaky(scope: Scope, receive: Receive, send: Send) -> None:
    """Fail with secrets in the error and in the log."""
    log = logging.getLogger("leaky")
    log.warning(
        "headers %s of %s?%s", scope["headers"], scope["path"], scope["query_string"]
    )
    log.info("fetching http://me:%s@far.example/a?sig=%s", CANARY, CANARY)
    if scope["type"] == "websocket":
        await receive()
        await send({"type": "websocket.accept"})
    raise RuntimeError(f"http://x:{CANARY}@h/?token={CANARY} Authorization: {CANARY}")


def test_no_canary_reaches_the_log(
    serving: Callable[..., int],
    ask: Callable[..., object],
    tmp_path: Path,
    logged: Callable[[], str],
    capsys: pytest.CaptureFixture[str],
) -> None:
    setup_logging(tmp_path / "logs", "app.log", level="DEBUG", secrets=[CANARY])
    port = serving(protect(leaky, ServerSettings(api_key=CANARY)))
    bearer = f"Authorization: Bearer {CANARY}"

    assert ask(port, "/a", bearer).status == 500
    assert ask(port, f"/b?token={CANARY}&x=1").status == 500
    assert ask(port, f"/c?token={CANARY[:-1]}").status == 401
    assert ask(port, "/health", f"X-Forwarded-For: {CANARY}").status == 500
    with connect_ws(f"ws://127.0.0.1:{port}/d?token={CANARY}", open_timeout=60):
        pass
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        text = logged()
        if text.count("/d ") >= 3 and text.count("Traceback") >= 4:
            break
        time.sleep(0.02)

    for text in (logged(), capsys.readouterr().err):
        assert CANARY[:-1] not in text
        assert text.count("Traceback") >= 4
        assert "far.example" in text


def test_no_canary_reaches_it_either_if_it_is_not_known(
    serving: Callable[..., int],
    ask: Callable[..., object],
    tmp_path: Path,
    logged: Callable[[], str],
) -> None:
    setup_logging(tmp_path / "logs", "app.log", level="DEBUG")
    port = serving(protect(leaky, ServerSettings(api_key=CANARY)))
    ask(port, "/a", f"Authorization: Bearer {CANARY}")
    ask(port, f"/b?token={CANARY}&x=1")
    with connect_ws(f"ws://127.0.0.1:{port}/d?token={CANARY}", open_timeout=60):
        pass

    assert CANARY not in logged()


def test_requests_and_responses_are_logged(
    serving: Callable[..., int],
    app: App,
    ask: Callable[..., object],
    ask_ws: Callable[..., int],
    tmp_path: Path,
    logged: Callable[[], str],
) -> None:
    setup_logging(tmp_path / "logs", "app.log")
    port = serving(protect(app, ServerSettings(rate_limit=0)))
    ask(port, "/a%0a2026%20INFO%20forged?q=secret")
    ask(port, "/b", "Origin: http://evil.example", method="POST", body=b"x")
    ask_ws(port, "/ws", "Origin: http://evil.example")
    url = f"ws://127.0.0.1:{port}/ws?q=secret"
    with connect_ws(url, open_timeout=60, close_timeout=60) as ws:
        ws.close(1000)
    deadline = time.monotonic() + 60
    while "closed" not in logged() and time.monotonic() < deadline:
        time.sleep(0.02)
    lines = [
        line.partition(": ")[2]
        for line in logged().splitlines()
        if "request_log" in line
    ]
    shapes = [re.sub(r"\d+\.\d ms", "T", line[9:]) for line in lines]

    assert shapes == [
        "GET /a%0A2026%20INFO%20forged from 127.0.0.1",
        "GET /a%0A2026%20INFO%20forged 200 in T from 127.0.0.1",
        "POST /b from 127.0.0.1",
        "POST /b 403 in T from 127.0.0.1",
        "WS /ws from 127.0.0.1",
        "WS /ws 403 in T from 127.0.0.1",
        "WS /ws from 127.0.0.1",
        "WS /ws accepted in T from 127.0.0.1",
        "WS /ws closed 1000 in T from 127.0.0.1",
    ]
    assert lines[0][:8] == lines[1][:8] != lines[2][:8]
    assert "secret" not in logged()


async def test_what_a_refused_websocket_hears_later_is_not_its_outcome(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def refusing(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "websocket.http.response.start", "status": 401})
        await receive()

    async def receive() -> dict[str, object]:
        return {"type": "websocket.disconnect", "code": 1006}

    async def send(message: dict[str, object]) -> None:
        pass

    scope = {"type": "websocket", "path": "/ws", "client": None}
    with caplog.at_level(logging.INFO):
        await RequestLog(refusing)(scope, receive, send)

    assert "WS /ws 401 in" in caplog.text
    assert "from a socket" in caplog.text


def test_uvicorns_own_access_log_is_gone(
    serving: Callable[..., int],
    app: App,
    ask: Callable[..., object],
    tmp_path: Path,
    logged: Callable[[], str],
) -> None:
    # As plain uvicorn does before it imports the app.
    stream = io.StringIO()
    for name in ("uvicorn", "uvicorn.access"):
        logging.getLogger(name).addHandler(logging.StreamHandler(stream))
        logging.getLogger(name).propagate = False
    setup_logging(tmp_path / "logs", "app.log")
    port = serving(protect(app, ServerSettings()))
    ask(port, "/a?q=secret")

    assert stream.getvalue() == ""
    assert "uvicorn.access" not in logged()
    assert logged().count("GET /a ") == 2
