"""
Download the recordings of calls from a telephony API, one file per order.

    python examples/download_calls.py ORDER_ID… [--output-dir DIR] [--base-url URL]

``VOICEPIPE_TELEPHONY_URL``   the base URL, where ``--base-url`` is not given
``VOICEPIPE_TELEPHONY_KEY``   sent to the API's origin as ``Authorization: Bearer …``
``VOICEPIPE_ALLOW_HOSTS``     hosts, or host:port pairs, with commas between them, that
                              recordings may come from although they are private
"""

from __future__ import annotations

import argparse
import io
import os
import signal
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Self

import anyio
import attrs

from voicepipe import CallInfo, DownloadProgress, TelephonyClient, VoicepipeError


if TYPE_CHECKING:
    from anyio.abc import TaskStatus


REFERENCE_URL = "https://telephony.ordrai.com/calls"

MIB = 1 << 20


async def main(client: TelephonyClient, order_ids: list[str], folder: Path) -> int:
    """Download one order after the other and give the exit code."""
    code = 0

    async def stop_on_sigterm(
        *, task_status: TaskStatus[None] = anyio.TASK_STATUS_IGNORED
    ) -> None:
        nonlocal code
        with anyio.open_signal_receiver(signal.SIGTERM) as signals:
            task_status.started()
            async for _ in signals:
                code = 128 + signal.SIGTERM
                print("stopped", file=sys.stderr)
                group.cancel_scope.cancel()

    async with anyio.create_task_group() as group:
        if sys.platform != "win32":
            await group.start(stop_on_sigterm)
        async with client:
            for order_id in order_ids:
                try:
                    await download(client, order_id, folder)
                except (VoicepipeError, OSError) as exc:
                    print(f"{shown(order_id)}: {shown(str(exc))}", file=sys.stderr)
                    code = 1
        group.cancel_scope.cancel()
    return code


async def download(client: TelephonyClient, order_id: str, folder: Path) -> None:
    """Print what is known of a call and download its recording."""
    call = await client.get_call_info(order_id)
    print_call(order_id, call)
    with LiveLine() as line:
        path, size = await client.download_audio(
            order_id, folder, call, progress=line.show
        )
    print("Download completed:")
    print(f"File: {path}")
    print(f"Size: {size / MIB:.2f} MB", flush=True)


def print_call(order_id: str, call: CallInfo) -> None:
    """Print what is known of a call."""
    print("Call Information:")
    print(f"Order ID: {order_id}")
    print(f"Store: {shown(call.store_name)}")
    print(f"Agent: {shown(call.agent_name)}")
    print(f"Status: {shown(call.call_status)}")
    print(f"Call In Time: {shown(call.call_in_time)}")
    print(f"Call Out Time: {shown(call.call_out_time)}")
    has_recording = bool(call.recording_url.strip())
    print(f"Recording URL Available: {'Yes' if has_recording else 'No'}", flush=True)


class LiveLine:
    """One line that is written again and again; in a file, a line every second."""

    def __init__(self) -> None:
        """Begin with nothing written."""
        self._is_terminal = sys.stdout.isatty()
        self._next_at = 0.0
        self._text = ""

    def show(self, progress: DownloadProgress) -> None:
        """Show how far the download has come."""
        is_last = progress.received == progress.size
        if progress.size:
            far = f"{progress.received / progress.size:.1%}"
        else:
            far = f"{progress.received / MIB:.2f} MB"
        text = f"Download progress: {far}"
        if text == self._text:
            return
        if self._is_terminal:
            # What is left of a longer text before it goes away.
            print(f"\r{text:<{len(self._text)}}", end="", flush=True)
        elif is_last or time.monotonic() >= self._next_at:
            self._next_at = time.monotonic() + 1.0
            print(text, flush=True)
        self._text = text

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._is_terminal and self._text:
            print(flush=True)


def shown(text: str) -> str:
    """Give text in one line: what comes from elsewhere must not steer the terminal."""
    return "".join(char if char.isprintable() else " " for char in text)


def client_from(base_url: str) -> TelephonyClient:
    """Make a client with what the environment says."""
    key = os.environ.get("VOICEPIPE_TELEPHONY_KEY", "").strip()
    hosts = os.environ.get("VOICEPIPE_ALLOW_HOSTS", "").split(",")
    allow_hosts = [host for host in hosts if host.strip()]
    options = attrs.evolve(TelephonyClient.OPTIONS, allow_hosts=allow_hosts)
    headers = {"Authorization": f"Bearer {key}"} if key else None
    return TelephonyClient(base_url, headers=headers, options=options)


def run() -> int:
    """Read the command line, run, and give the exit code."""
    parser = argparse.ArgumentParser(description="Download the recordings of calls.")
    parser.add_argument("order_ids", nargs="+", metavar="ORDER_ID")
    parser.add_argument(
        "--output-dir",
        type=Path,
        default=Path("downloads"),
        metavar="DIR",
        help="where to write; made where it is missing (downloads)",
    )
    parser.add_argument(
        "--base-url",
        default=os.environ.get("VOICEPIPE_TELEPHONY_URL") or REFERENCE_URL,
        metavar="URL",
        help=f"the telephony API ($VOICEPIPE_TELEPHONY_URL, or {REFERENCE_URL})",
    )
    arguments = parser.parse_args()
    if isinstance(sys.stdout, io.TextIOWrapper):
        # A name that the terminal has no letters for must not end the run.
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        client = client_from(arguments.base_url)
    except (VoicepipeError, ValueError) as exc:
        parser.error(f"the base URL or the environment: {exc}")
    try:
        return anyio.run(main, client, arguments.order_ids, arguments.output_dir)
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)
        return 128 + signal.SIGINT


if __name__ == "__main__":
    sys.exit(run())
