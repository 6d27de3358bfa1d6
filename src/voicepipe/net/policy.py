"""Where requests may lead."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Self

import attrs

from voicepipe.errors import BlockedUrlError
from voicepipe.net.addresses import why_not_public


if TYPE_CHECKING:
    from collections.abc import Iterable

    from voicepipe.net.urls import Url


PORTS = frozenset({80, 443, 8080, 8443})
"""Ports that any host may be asked at: where web servers listen, and little else."""

_HOST = re.compile(r"[^\s/\\?#@]+")


@attrs.frozen
class UrlPolicy:
    """
    Which hosts and ports may be asked.

    Public addresses at the ``PORTS`` are open. What else is, is listed.

    Args:
        allow_hosts: Hosts that may be asked although their addresses are private, as
            ``"host"`` at the ``PORTS`` or as ``"host:port"``, ``"[IPv6]:port"``.

    Raises:
        ValueError: If an entry is neither.
    """

    _allowed: frozenset[tuple[str, int | None]]

    @classmethod
    def allowing(cls, allow_hosts: Iterable[str]) -> Self:
        """Read the list."""
        if isinstance(allow_hosts, str):
            raise TypeError("allow_hosts must be a list of texts, not one text")
        return cls(frozenset(_entry(text) for text in allow_hosts))

    @classmethod
    def trusting(cls, url: Url) -> Self:
        """Open what a URL that the caller has configured asks, and the public."""
        return cls(frozenset({(url.host, url.port)}))

    def check(self, url: Url) -> None:
        """
        Look at a URL before anything is asked.

        Raises:
            BlockedUrlError: If its port is not open.
        """
        if url.port in PORTS or (url.host, url.port) in self._allowed:
            return
        msg = f"port {url.port} is not allowed; allow_hosts can list {_name(url)!r}"
        raise BlockedUrlError(msg, url=str(url), host=url.host)

    def check_address(self, host: str, port: int, address: str) -> None:
        """
        Look at an address of a host before it is connected to.

        Raises:
            BlockedUrlError: If it is not public, and the host is not listed.
        """
        if {(host, port), (host, None)} & self._allowed:
            return
        if why_not_public(address) is not None:
            # Not why: whoever sent the URL need not learn what is inside.
            msg = "the address is not public; allow_hosts can list the host"
            raise BlockedUrlError(msg, host=host)


def _entry(text: str) -> tuple[str, int | None]:
    host, colon, port = text.strip().lower().rpartition(":")
    if not colon or (":" in host and not host.endswith("]")):
        # No port: a name, an IPv4 address, or an IPv6 address without brackets.
        host, colon, port = text.strip().lower(), "", ""
    host = host.removeprefix("[").removesuffix("]").removesuffix(".")
    if not _HOST.fullmatch(host) or (colon and not port.isdecimal()):
        msg = f"allow_hosts takes 'host' and 'host:port', not {text!r}"
        raise ValueError(msg)
    return (host, int(port) if port else None)


def _name(url: Url) -> str:
    return f"[{url.host}]:{url.port}" if ":" in url.host else f"{url.host}:{url.port}"
