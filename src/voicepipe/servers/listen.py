"""Sockets to listen on, bound before anything else is begun."""

from __future__ import annotations

import contextlib
import errno
import os
import socket


# What a system says of an address, or a kind of address, that it has not got.
_NO_SUCH_ADDRESS = {errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT}


def bind_sockets(host: str, port: int) -> list[socket.socket]:
    """
    Bind every address of a host.

    Args:
        host: An address or a name; ``localhost`` may have two addresses.
        port: 0 takes a free one, the same for all addresses.

    Raises:
        OSError: If there is no such host, its port is taken or not allowed, or no
            address of it is this machine's.
    """
    found = socket.getaddrinfo(
        host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )
    bound: list[socket.socket] = []
    missing: OSError | None = None
    with contextlib.ExitStack() as undo:
        for family, *_, address in dict.fromkeys(found):
            try:
                sock = undo.enter_context(socket.socket(family, socket.SOCK_STREAM))
                _bind(sock, (address[0], port, *address[2:]))
            except OSError as exc:
                if exc.errno not in _NO_SUCH_ADDRESS:
                    raise
                missing = exc
                continue
            bound.append(sock)
            port = sock.getsockname()[1]
        if not bound and missing is not None:
            raise missing
        undo.pop_all()
    return bound


def _bind(sock: socket.socket, address: tuple[int | str | bytes, ...]) -> None:
    if os.name == "posix":
        # Elsewhere it would let two servers have one port.
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if sock.family == socket.AF_INET6:
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
    sock.bind(address)


def url_of(sock: socket.socket) -> str:
    """Give the URL that a bound socket is reached by."""
    host, port, *_ = sock.getsockname()
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
