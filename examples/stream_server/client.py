"""
Send a recording to the streaming server: ``python client.py call.wav``.

It needs only the ``websockets`` package, to show the protocol; ``StreamClient`` of
voicepipe does the same, and keeps several chunks under way.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect


CHUNK = 4_096

# How a connection ends after which another try has no sense.
DONE, REFUSED = 1000, 1008


class Refused(Exception):  # noqa: N818 - it is the server's word
    """The server does not want it, and says why."""


def send(url: str, data: bytes, *, key: str = "", **query: str | int) -> dict[str, Any]:
    """
    Send a recording, whatever becomes of the connection, and complete the session.

    Args:
        url: The server, as ``ws://127.0.0.1:8000``.
        data: A WAV, MP3, FLAC or AAC file, or 16-bit samples.
        key: The server's, if it has one.
        query: ``sample_rate``, ``channels``, ``format`` and ``user_id``.

    Returns:
        The server's last message.

    Raises:
        Refused: If the server does not want it.
        OSError: If it cannot be reached for too long.
    """
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    path, tries = f"?{urlencode(query)}", 0
    while True:
        try:
            target = f"{url}/api/ws/audio{path}"
            with connect(target, additional_headers=headers) as ws:
                said = hear(ws)
                tries = 0
                while (at := said["bytes_received"]) < len(data):
                    # Where to go on, if this connection breaks.
                    path = f"/{said['session_id']}?offset={at}"
                    ws.send(data[at : at + CHUNK])
                    said = hear(ws)
                ws.send(json.dumps({"type": "control", "action": "close_session"}))
                return hear(ws)
        except ConnectionClosed as exc:
            if exc.rcvd is not None and exc.rcvd.code in {DONE, REFUSED}:
                raise Refused(exc.rcvd.reason or "the session is over") from exc
        except InvalidStatus as exc:
            if exc.response.status_code < 500:
                raise Refused(f"HTTP {exc.response.status_code}") from exc
        except OSError:
            if tries == 10:
                raise
        tries += 1
        time.sleep(min(5.0, 0.2 * 2**tries))


def hear(ws: ClientConnection) -> dict[str, Any]:
    """Give the server's next message, which must be no error."""
    message: dict[str, Any] = json.loads(ws.recv())
    if "error" in message:
        raise Refused(message.get("detail", message["error"]))
    return message


def main() -> int:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("file", type=Path)
    parser.add_argument("--url", default="ws://127.0.0.1:8000")
    parser.add_argument("--key", default="")
    parser.add_argument("--rate", type=int, default=44_100)
    parser.add_argument("--channels", type=int, default=1)
    arguments = parser.parse_args()
    try:
        info = send(
            arguments.url,
            arguments.file.read_bytes(),
            key=arguments.key,
            sample_rate=arguments.rate,
            channels=arguments.channels,
            user_id=arguments.file.name[:256],
        )
    except (Refused, OSError) as exc:
        print(f"not stored: {exc}", file=sys.stderr)
        return 1
    print(
        f"{info['session_id']}: {info['duration_seconds']:.1f} s, {info['file_path']}"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
