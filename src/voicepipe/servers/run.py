"""Start a server, and end it in good order and in good time."""

from __future__ import annotations

import contextlib
import gc
import logging
import signal
import sys
import threading
from typing import TYPE_CHECKING

import attrs

from voicepipe.errors import MissingExtraError, SettingsError
from voicepipe.servers.descriptors import allow_connections
from voicepipe.servers.listen import bind_sockets, url_of
from voicepipe.servers.protocol import DeadlineProtocol
from voicepipe.servers.way_out import WayOut
from voicepipe.servers.workers import stop_with_parent, supervise
from voicepipe.servers.ws_direct import DirectWebSockets
from voicepipe.servers.ws_memory import WsLimits


try:
    import uvicorn
except ImportError as _missing:
    raise MissingExtraError("uvicorn", extra="servers") from _missing


if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Iterator, Sequence
    from multiprocessing.synchronize import Event
    from types import FrameType

    from voicepipe.servers.asgi import App
    from voicepipe.servers.settings import ServerSettings


_log = logging.getLogger(__name__)

_STOPS = (signal.SIGTERM, signal.SIGINT)

_EXIT_REFUSED = 2

# A server's objects die when the last one forgets them. With many connections, Python's
# 700 of them are there at any moment, and looking for circles takes a quarter of the
# time; what is in circles can wait a little longer.
_GC_OBJECTS = (100_000, 20, 50)


@attrs.frozen(kw_only=True)
class ServeOptions:
    """
    How an app is run.

    Attributes:
        several_workers: Whether the app may run in more than one process.
        max_connections: Connections at a time; a request on one more gets 503. The
            process's limit of open files is raised for them, where that may be.
        ws_max_bytes: The longest WebSocket message; a longer one is closed with 1009.
        ws_ping_timeout_s: How long a WebSocket's client may leave a ping unanswered,
            seconds, while it is listened to and sends nothing else.
        ws_memory_bytes: Bytes of WebSocket messages, in part or whole, that may wait
            for the app, of all connections together; above it reading pauses. At least
            twice ``ws_max_bytes`` to be of use.
        ws_send_timeout_s: How long a WebSocket's client may take nothing of what is
            sent to it, seconds; then it is cut off.
        grace_s: After SIGTERM, how long requests may go on before they are cancelled,
            whole seconds. Then the app's own shutdown begins.
        exit_s: After SIGTERM, how long the process has in all, seconds.
        exit_again_s: The same after a second SIGTERM.
        protocol: uvicorn's HTTP protocol.
    """

    several_workers: bool = False
    max_connections: int = 1_000
    ws_max_bytes: int = 16 << 20
    ws_ping_timeout_s: float = 60.0
    ws_memory_bytes: int = 512 << 20
    ws_send_timeout_s: float = 30.0
    grace_s: int = 5
    exit_s: float = 9.0
    exit_again_s: float = 0.5
    protocol: type[DeadlineProtocol] = DeadlineProtocol


def serve(
    app: App | str,
    settings: ServerSettings,
    *,
    workers: int = 1,
    options: ServeOptions | None = None,
) -> int:
    """
    Run an app until SIGTERM or SIGINT, and give the process's exit code.

    SIGTERM stops listening, closes WebSockets with 1012, lets requests finish for
    ``grace_s``, cancels what is left, and runs the app's shutdown. What has not ended
    after ``exit_s`` is abandoned and the process ends, also where that is after this
    function. The exit code is 0 in any case. Call it from the main thread and last.

    Once it accepts connections, ``listening on http://…`` is logged.

    Args:
        app: The app, or ``"module:name"`` of it, which several workers need; each
            imports it, and the module sets up its logging.
        settings: Where to listen; whose proxy headers to believe.
        workers: Number of processes.
        options: How to run it.

    Returns:
        0 after a stop; 2 if it was not started because of its settings, with one line
        on standard error; 3 if workers cannot start.

    Raises:
        SystemExit: With 3, if the app's own startup fails.
    """
    options = options or ServeOptions()
    sockets: list[socket.socket] = []
    try:
        settings.check_exposure()
        _check_workers(app, workers, options)
        sockets = bind_sockets(settings.host, settings.port)
    except SettingsError as exc:
        return _refuse(str(exc))
    except (OSError, UnicodeError) as exc:
        reason = getattr(exc, "strerror", None) or "there is no such host"
        return _refuse(f"cannot listen on {settings.host}:{settings.port}: {reason}")
    way_out = WayOut(limit_s=options.exit_s, again_s=options.exit_again_s)
    with contextlib.ExitStack() as stack:
        stack.callback(way_out.close)
        for sock in sockets:
            stack.callback(sock.close)
        stack.enter_context(_stopped_by_signals(way_out, at_once=workers == 1))
        if workers == 1:
            _run_one(app, settings, options, sockets, stop=way_out.ask)
            return 0
        job = (app, settings, options, sockets)
        return supervise(workers, _work, job, way_out)


def _check_workers(app: App | str, workers: int, options: ServeOptions) -> None:
    if workers < 1:
        raise SettingsError("workers", "must be 1 or more")
    if workers > 1 and not options.several_workers:
        raise SettingsError("workers", "must be 1: this server is one process")
    if workers > 1 and not isinstance(app, str):
        raise SettingsError("workers", "must be 1 where the app has no import name")


def _refuse(reason: str) -> int:
    sys.stderr.write(f"not started: {reason}\n")
    return _EXIT_REFUSED


@contextlib.contextmanager
def _stopped_by_signals(way_out: WayOut, *, at_once: bool) -> Iterator[None]:
    """
    Hear the signals before uvicorn does, as while the app loads, and after.

    Args:
        way_out: What to tell.
        at_once: Whether to leave at the first signal.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def hear(signum: int, frame: FrameType | None) -> None:
        del signum, frame
        way_out.ask()
        if at_once and way_out.asked == 1:
            raise SystemExit(0)

    before = {number: signal.signal(number, hear) for number in _STOPS}
    try:
        yield
    finally:
        # A process that is on its way out goes on hearing them.
        if not way_out.asked:
            for number, handler in before.items():
                signal.signal(number, handler)


class _Server(uvicorn.Server):
    """
    uvicorn's server, but a stop by a signal is a success, and two signals are urgent.

    Args:
        config: uvicorn's own.
        stop: Called with each signal.
        ready: Called when connections are accepted; only a worker has it.
    """

    def __init__(
        self,
        config: uvicorn.Config,
        *,
        stop: Callable[[], None],
        ready: Callable[[], None] | None,
    ) -> None:
        super().__init__(config)
        # From the keyboard all processes get SIGINT, and workers SIGTERM after it.
        self._heard = _STOPS if ready is None else (signal.SIGTERM,)
        self._stop = stop
        self._ready = ready

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        # uvicorn's own would raise the signal again at the end, and die of it.
        del frame
        if sig not in self._heard:
            return
        self._stop()
        self.force_exit = self.should_exit
        self.should_exit = True

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets=sockets)
        if self.started:
            gc.freeze()
            gc.set_threshold(*_GC_OBJECTS)
            for sock in sockets or ():
                _log.info("listening on %s", url_of(sock))
            if self._ready is not None:
                self._ready()


def _run_one(
    app: App | str,
    settings: ServerSettings,
    options: ServeOptions,
    sockets: Sequence[socket.socket],
    *,
    stop: Callable[[], None],
    ready: Callable[[], None] | None = None,
) -> None:
    config = uvicorn.Config(
        app,
        host=settings.host,
        port=settings.port,
        # uvloop is not taken though it may be there: how it pauses reading differs, and
        # the limits of WebSockets have been tried on this one.
        loop="asyncio",
        http=options.protocol,
        ws=DirectWebSockets.within(
            WsLimits(
                memory_bytes=options.ws_memory_bytes,
                max_message_bytes=options.ws_max_bytes,
                send_timeout_s=options.ws_send_timeout_s,
            )
        ),
        ws_max_size=options.ws_max_bytes,
        ws_ping_timeout=options.ws_ping_timeout_s,
        # A few kilobytes may unfold to the largest message; sound hardly shrinks.
        ws_per_message_deflate=False,
        interface="asgi3",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=bool(settings.forwarded_allow_ips),
        forwarded_allow_ips=_proxies(settings),
        limit_concurrency=options.max_connections,
        timeout_graceful_shutdown=options.grace_s,
    )
    server = _Server(config, stop=stop, ready=ready)
    allow_connections(options.max_connections)
    # The app is imported here, while a signal still ends the process at once.
    config.load()
    server.run(list(sockets))


def _proxies(settings: ServerSettings) -> list[str] | str:
    listed = settings.forwarded_allow_ips
    return "*" if "*" in listed else list(listed)


def _work(
    ready: Event,
    job: tuple[str, ServerSettings, ServeOptions, list[socket.socket]],
) -> None:
    """Be a worker process."""
    app, settings, options, sockets = job
    # Before the parent's own time is over.
    way_out = WayOut(limit_s=options.exit_s * 0.9, again_s=options.exit_again_s * 0.5)
    stop_with_parent()
    with _stopped_by_signals(way_out, at_once=True):
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        _run_one(app, settings, options, sockets, stop=way_out.ask, ready=ready.set)
