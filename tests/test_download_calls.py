"""The call downloader, run as a user runs it, against a server on this machine."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from fault_answers import Serve, chunked, drip, framed, page, status, wav_of
from fault_server import (
    FaultServer,
    a_server,  # noqa: F401 - a fixture
)


if TYPE_CHECKING:
    from fault_answers import Answer


SCRIPT = Path(__file__).parents[1] / "examples" / "download_calls.py"
REFERENCE = "https://telephony.ordrai.com/calls"

WAV = wav_of(2_569_012)
CALL = {
    "storeName": "Corner Shop",
    "agentName": "Asha",
    "callStatus": "completed",
    "callInTime": "2024-01-01 10:00:00",
    "callOutTime": "2024-01-01 10:05:00",
    "callSid": "CA1",
}
INFORMATION = """\
Call Information:
Order ID: 7
Store: Corner Shop
Agent: Asha
Status: completed
Call In Time: 2024-01-01 10:00:00
Call Out Time: 2024-01-01 10:05:00
Recording URL Available: Yes
"""


def knows(server: FaultServer, order_id: str, answer: Answer, **changes: Any) -> None:
    """Let the server know an order, and have a recording of it."""
    url = server.on(f"/{order_id}.mp3", answer)
    call = {**CALL, "recordingUrl": f"{url}?sig=canary-signature", **changes}
    server.on(f"/calls/{order_id}", page(json.dumps(call).encode(), "text/plain"))


def names(folder: Path) -> set[str]:
    """Give the names of all files in a folder."""
    return {path.name for path in folder.iterdir()}


def environment(server: FaultServer, **changes: str) -> dict[str, str]:
    """Give an environment in which the server may be asked."""
    ours = {name: os.environ[name] for name in os.environ if "VOICEPIPE" not in name}
    return {
        **ours,
        "VOICEPIPE_TELEPHONY_URL": server.url("/calls"),
        "VOICEPIPE_ALLOW_HOSTS": f"example.org, {server.host},",
        **changes,
    }


def download(
    *arguments: str, env: dict[str, str], folder: Path
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(SCRIPT), *arguments],
        capture_output=True,
        check=False,
        cwd=folder,
        encoding="utf-8",
        env=env,
        timeout=110,
    )


def test_a_recording_is_downloaded_and_all_is_told(
    server: FaultServer, tmp_path: Path
) -> None:
    knows(server, "7", Serve(body=WAV))

    begin = time.monotonic()
    done = download("7", env=environment(server), folder=tmp_path)
    took = time.monotonic() - begin

    assert (done.returncode, done.stderr) == (0, "")
    progress = re.findall(r"Download progress: \d+\.\d%\n", done.stdout)
    assert 1 <= len(progress) <= took + 2
    assert progress[-1] == "Download progress: 100.0%\n"
    path = Path("downloads") / "7.mp3"
    assert done.stdout == (
        f"{INFORMATION}{''.join(progress)}"
        f"Download completed:\nFile: {path}\nSize: 2.45 MB\n"
    )
    assert (tmp_path / path).read_bytes() == WAV
    assert names(tmp_path / "downloads") == {"7.mp3"}


def test_progress_without_a_length_is_told_in_megabytes(
    server: FaultServer, tmp_path: Path
) -> None:
    body = chunked(WAV) + b"0\r\n\r\n"
    knows(server, "7", framed(body, "Transfer-Encoding: chunked"))

    done = download("7", env=environment(server), folder=tmp_path)

    assert done.returncode == 0, done.stderr
    assert re.search(r"^Download progress: \d+\.\d\d MB$", done.stdout, re.MULTILINE)
    assert "Size: 2.45 MB" in done.stdout


def test_a_log_is_not_flooded(server: FaultServer, tmp_path: Path) -> None:
    # Slower where a busy machine has kept it from reading, and all came at once.
    for every_s in (0.06, 0.5):
        knows(server, "7", drip(wav_of(200_000), 5_000, every_s))
        done = download("7", env=environment(server), folder=tmp_path)
        assert done.returncode == 0, done.stderr
        took = time.monotonic() - server.asked("/7.mp3")[-1].at
        lines = done.stdout.count("Download progress")
        assert lines <= took + 2
        if lines >= 3:
            break

    assert lines >= 3
    assert done.stdout.count("Download progress: 100.0%\n") == 1


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such terminals")
def test_a_terminal_sees_one_live_line(server: FaultServer, tmp_path: Path) -> None:
    # Slower where a busy machine has kept it from reading, and all came at once.
    for rate in (4_000_000, 400_000):
        knows(server, "7", Serve(body=WAV, rate=rate, piece=20_000))
        shown = shown_on_a_terminal(server, tmp_path)
        live = [line for line in shown.split("\n") if "progress" in line]
        assert len(live) == 1
        parts = live[0].split("\r")
        if len(parts) > 5:
            break

    assert len(parts) > 5
    assert parts[0] == ""
    assert all(re.fullmatch(r"Download progress: \d+\.\d%", one) for one in parts[1:])
    assert parts[-1] == "Download progress: 100.0%"


def shown_on_a_terminal(server: FaultServer, folder: Path) -> str:
    """Download an order's recording, and give what is shown."""
    ours, theirs = os.openpty()
    with subprocess.Popen(
        [sys.executable, str(SCRIPT), "7"],
        cwd=folder,
        env=environment(server),
        stdout=theirs,
    ) as process:
        os.close(theirs)
        shown = b""
        # Linux tells the end of a terminal by an error.
        with contextlib.suppress(OSError):
            while more := os.read(ours, 65_536):
                shown += more
    os.close(ours)

    assert process.returncode == 0
    return shown.decode().replace("\r\n", "\n")


def test_one_that_fails_does_not_stop_the_others(
    server: FaultServer, tmp_path: Path
) -> None:
    knows(server, "good", Serve(body=WAV))
    knows(server, "also", Serve(body=WAV))
    knows(server, "page", page(b"<html>Log in</html>", "audio/mpeg"))
    knows(server, "none", status(404), recordingUrl=None)
    knows(server, "gone", status(410))
    server.on("/calls/html", page(b"<html>", "text/html"))
    folder = tmp_path / "a" / "b"

    done = download(
        *["good", "unknown", "none", "page", "gone", "html", "../x\n\x1b[2J", "also"],
        *["--output-dir", str(folder)],
        env=environment(server),
        folder=tmp_path,
    )

    assert done.returncode == 1
    said = dict(line.split(": ", 1) for line in done.stderr.splitlines())
    assert list(said) == ["unknown", "none", "page", "gone", "html", "../x  [2J"]
    assert said["unknown"] == "order not found"
    assert said["none"] == "the call has no recording"
    assert "HTML" in said["page"]
    assert "410" in said["gone"]
    assert "not JSON" in said["html"]
    assert "order_id must be" in said["../x  [2J"]
    assert "canary" not in done.stdout + done.stderr
    assert "Recording URL Available: No\n" in done.stdout
    assert done.stdout.count("Download completed:") == 2
    assert names(folder) == {"good.mp3", "also.mp3"}
    assert names(tmp_path) == {"a"}


def test_a_folder_that_cannot_be_made_is_told(
    server: FaultServer, tmp_path: Path
) -> None:
    knows(server, "7", Serve(body=WAV))
    (tmp_path / "downloads").write_bytes(b"a file")

    done = download("7", "7", env=environment(server), folder=tmp_path)

    assert done.returncode == 1
    assert re.fullmatch(r"(7: .*downloads.*\n){2}", done.stderr)


def test_what_an_api_says_does_not_steer_the_terminal(
    server: FaultServer, tmp_path: Path
) -> None:
    knows(
        server,
        "7",
        Serve(body=WAV),
        storeName="A\x1b[2J\r\nStatus: B",
        agentName="आशा \ud800\u202e",
    )
    env = environment(server, PYTHONIOENCODING="latin-1", PYTHONUTF8="0")

    done = download("7", env=env, folder=tmp_path)

    assert done.returncode == 0, done.stderr
    assert "Store: A [2J  Status: B\n" in done.stdout
    assert "Agent: \\u0906\\u0936\\u093e   \n" in done.stdout


def test_the_key_goes_to_the_api_only(server: FaultServer, tmp_path: Path) -> None:
    with FaultServer() as other:
        url = other.on("/a.mp3", Serve(body=WAV))
        knows(server, "7", status(500), recordingUrl=url)
        env = environment(
            other,
            VOICEPIPE_TELEPHONY_KEY=" canary-key ",
            VOICEPIPE_TELEPHONY_URL=REFERENCE,
        )

        done = download(
            "7", "--base-url", server.url("/calls/"), env=env, folder=tmp_path
        )

        assert (done.returncode, done.stderr) == (0, "")
        (asked,) = server.requests
        assert asked.header("authorization") == "Bearer canary-key"
        assert other.requests[0].header("authorization") is None


def test_a_recording_at_a_private_address_has_to_be_allowed(
    server: FaultServer, tmp_path: Path
) -> None:
    knows(server, "7", Serve(body=WAV))
    env = environment(server, VOICEPIPE_ALLOW_HOSTS="")

    done = download("7", env=env, folder=tmp_path)

    assert done.returncode == 1
    assert done.stdout == INFORMATION
    assert done.stderr.count("\n") == 1
    assert "allow_hosts" in done.stderr
    assert server.asked("/7.mp3") == []


@pytest.mark.parametrize(
    "changes",
    [
        {"VOICEPIPE_TELEPHONY_URL": "ftp://canary:canary@h/?canary"},
        {"VOICEPIPE_TELEPHONY_KEY": "canary\ncanary"},
        {"VOICEPIPE_ALLOW_HOSTS": "a/b"},
    ],
    ids=["url", "key", "hosts"],
)
def test_a_wrong_setting_is_told_and_not_shown(
    changes: dict[str, str], server: FaultServer, tmp_path: Path
) -> None:
    done = download("7", env=environment(server, **changes), folder=tmp_path)

    assert done.returncode == 2
    assert "error: " in done.stderr
    assert "Traceback" not in done.stderr
    assert "canary" not in done.stderr
    assert server.connects == 0
    assert names(tmp_path) == set()


def test_the_reference_deployment_is_asked_where_nothing_else_is_said(
    server: FaultServer, tmp_path: Path
) -> None:
    env = environment(server, COLUMNS="200")
    del env["VOICEPIPE_TELEPHONY_URL"]

    done = download("--help", env=env, folder=tmp_path)

    assert REFERENCE in done.stdout
    assert "(downloads)" in done.stdout


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such signals")
@pytest.mark.parametrize(
    ("number", "ignored"),
    [(signal.SIGINT, False), (signal.SIGTERM, False), (signal.SIGTERM, True)],
    ids=["Ctrl-C", "SIGTERM", "SIGTERM in the background"],
)
@pytest.mark.parametrize("stage", ["answer", "recording"])
def test_it_can_be_stopped_and_leaves_nothing(
    number: signal.Signals,
    ignored: bool,  # noqa: FBT001
    stage: str,
    server: FaultServer,
    tmp_path: Path,
) -> None:
    knows(server, "6", Serve(body=WAV))
    knows(server, "7", Serve(body=WAV, cut=1_500_000, stall=True))
    if stage == "answer":
        server.on("/calls/7", Serve(body=b"{}", cut=1, stall=True))
    awaited = "/7.mp3" if stage == "recording" else "/calls/7"
    # A shell's background jobs do not hear Ctrl-C; these tests may be in one.
    heard = signal.SIG_IGN if ignored else signal.SIG_DFL
    before = signal.signal(signal.SIGINT, heard)
    try:
        process = subprocess.Popen(
            [sys.executable, str(SCRIPT), "6", "7", "8"],
            cwd=tmp_path,
            env=environment(server),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
    finally:
        signal.signal(signal.SIGINT, before)
    with process:
        until = time.monotonic() + 60
        while not server.sent(awaited) and time.monotonic() < until:
            time.sleep(0.01)
        time.sleep(0.2)
        begin = time.monotonic()
        process.send_signal(number)
        out, errors = process.communicate(timeout=50)
        took = time.monotonic() - begin

    assert process.returncode == 128 + number
    assert errors == "stopped\n"
    # What it waits for would take half a minute.
    assert took < 25
    assert out.count("Download completed:") == 1
    assert names(tmp_path / "downloads") == {"6.mp3"}
    assert server.asked("/calls/8") == []
