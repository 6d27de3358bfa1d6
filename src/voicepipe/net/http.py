"""Requests over guarded connections: the one module over httpx's engine."""

from __future__ import annotations

import contextlib
import functools
import importlib.metadata
import logging
from typing import TYPE_CHECKING, Self

import anyio
import httpcore
import httpx

from voicepipe.errors import (
    BadResponseError,
    BlockedUrlError,
    FetchError,
    InvalidUrlError,
)
from voicepipe.net.answer import Answer
from voicepipe.net.body import Upload
from voicepipe.net.connections import Connections
from voicepipe.net.engine import ENGINE_ERRORS, translated
from voicepipe.net.guard import GuardedBackend, resolve
from voicepipe.net.headers import checked_headers
from voicepipe.net.pace import HostPace
from voicepipe.net.quiet import quiet


if TYPE_CHECKING:
    import ssl
    from collections.abc import AsyncIterator, Mapping

    from voicepipe.net.body import Body
    from voicepipe.net.engine import HttpLimits
    from voicepipe.net.guard import Resolve
    from voicepipe.net.policy import UrlPolicy
    from voicepipe.net.urls import Url


_logger = logging.getLogger(__name__)


class HttpClient:
    """
    Asks servers that the policy allows, within limits.

    No proxy, cookie or setting of the environment takes part. Answers are wanted and
    given as they are: compressed ones are refused, since a kilobyte may unfold to a
    gigabyte.

    Args:
        policy: Where requests may lead, each redirect again.
        limits: What they may take.
        ssl_context: Whom to trust; ``None`` for the certificates that come with httpx.
        resolve: Who knows the hosts' addresses.
    """

    def __init__(
        self,
        policy: UrlPolicy,
        limits: HttpLimits,
        *,
        ssl_context: ssl.SSLContext | None = None,
        resolve: Resolve = resolve,
    ) -> None:
        """Open nothing yet."""
        self._policy = policy
        self._limits = limits
        self._pace = HostPace(limits.connections_per_host, limits.requests_per_second)
        self._slots = anyio.Semaphore(limits.connections)
        self._connections = Connections(
            GuardedBackend(policy, resolve_s=limits.resolve_s, resolve=resolve),
            ssl_context or default_ssl_context(),
            most_idle=limits.connections,
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close all connections."""
        await self._connections.aclose()

    @contextlib.asynccontextmanager
    async def get(
        self,
        url: Url,
        headers: Mapping[str, str],
        conditions: Mapping[str, str] | None = None,
    ) -> AsyncIterator[Answer]:
        """
        Ask for a URL, and for what it redirects to.

        Args:
            url: What to ask for. Its user and password are sent as the headers are.
            headers: Sent to this URL's origin only, and not again once a redirect has
                left it: they may be credentials.
            conditions: ``Range`` and ``If-Range``, sent along every redirect.

        Yields:
            The answer that is no redirect, its body still to come.

        Raises:
            BlockedUrlError: If it leads to where it may not.
            ConnectionFailedError: If there is no connection, or it breaks.
            FetchTimeoutError: If a limit of time is passed.
            BadResponseError: If the answer contradicts itself, or there are too many
                redirects.
            ValueError: If a header cannot be sent.
        """
        own = _own_headers(url, headers)
        for _ in range(self._limits.max_redirects + 1):
            async with self._ask("GET", url, {**own, **(conditions or {})}) as answer:
                location = answer.location
                if location is None:
                    yield answer
                    return
                await answer.drain()
            target = _redirected(url, location)
            own = own if target.origin == url.origin else {}
            url = target
        msg = f"more than {self._limits.max_redirects} redirects"
        raise BadResponseError(msg, url=str(url))

    @contextlib.asynccontextmanager
    async def post(
        self, url: Url, headers: Mapping[str, str], body: Body
    ) -> AsyncIterator[Answer]:
        """
        Send a body to a URL.

        A redirect is not followed: what was meant for one server is not sent to
        another. A server that answers before it has the whole body, to refuse it, is
        heard at once, and the rest of the body is not sent. Each piece of the body and
        the wait for the answer have ``read_s``. Whether a request that failed has been
        carried out all the same, nobody can tell.

        Args:
            url: Where to. Its user and password are sent as the headers are.
            headers: Sent to this URL only.
            body: What to send.

        Yields:
            The answer that is no redirect, its body still to come.

        Raises:
            BlockedUrlError: If the URL leads to where it may not.
            ConnectionFailedError: If there is no connection, or it breaks.
            FetchTimeoutError: If a limit of time is passed.
            BadResponseError: If the answer contradicts itself, or is a redirect.
            ValueError: If a header cannot be sent.
        """
        own = {**_own_headers(url, headers), **body.headers}
        async with self._ask("POST", url, own, body) as answer:
            location = answer.location
            if location is not None:
                msg = f"it redirects to {_shown(url, location)}, and a body stays here"
                raise BadResponseError(msg, url=str(url))
            yield answer

    @contextlib.asynccontextmanager
    async def _ask(
        self,
        method: str,
        url: Url,
        headers: Mapping[str, str],
        body: Body | None = None,
    ) -> AsyncIterator[Answer]:
        self._policy.check(url)
        async with (
            self._pace.slot(url.host),
            self._slots,
            self._connections.borrow(url) as connection,
        ):
            request = self._request(method, url, headers, body)
            response = await self._send(connection, url, request)
            try:
                _logger.debug("%s %s: %d", method, url, response.status)
                yield Answer(response, url, self._limits)
            finally:
                with anyio.CancelScope(shield=True), quiet():
                    await response.aclose()

    def _request(
        self, method: str, url: Url, headers: Mapping[str, str], body: Body | None
    ) -> httpcore.Request:
        fields = {
            "host": url.authority,
            "user-agent": _user_agent(),
            "accept": "*/*",
            "accept-encoding": "identity",
        } | dict(headers)
        timeout = {
            "connect": self._limits.connect_s,
            "read": self._limits.read_s,
            "write": self._limits.read_s,
        }
        return httpcore.Request(
            method.encode("ascii"),
            httpcore.URL(
                scheme=url.scheme.encode("ascii"),
                host=url.host.encode("ascii"),
                port=url.port,
                target=url.target,
            ),
            headers=[(k.encode("ascii"), v.encode("ascii")) for k, v in fields.items()],
            content=None if body is None else Upload(body),
            extensions={"timeout": timeout},
        )

    async def _send(
        self,
        connection: httpcore.AsyncHTTPConnection,
        url: Url,
        request: httpcore.Request,
    ) -> httpcore.Response:
        try:
            with quiet():
                return await connection.handle_async_request(request)
        except (*ENGINE_ERRORS, FetchError) as exc:
            error = translated(exc, url, self._limits)
        raise error


def _own_headers(url: Url, headers: Mapping[str, str]) -> dict[str, str]:
    own = checked_headers(headers)
    if url.authorization is not None:
        own.setdefault("authorization", url.authorization)
    return own


def _shown(url: Url, location: str) -> str:
    """Show where a redirect leads, without what may be secret in it."""
    try:
        return str(url.join(location))
    except InvalidUrlError as exc:
        return str(exc)


def _redirected(url: Url, location: str) -> Url:
    try:
        target = url.join(location)
    except InvalidUrlError as exc:
        msg = f"it redirects to {exc}"
        raise BlockedUrlError(msg, url=str(url), host=url.host) from None
    if url.scheme == "https" and target.scheme == "http":
        msg = "it redirects from https to http"
        raise BlockedUrlError(msg, url=str(url), host=target.host)
    return target


@functools.cache
def default_ssl_context() -> ssl.SSLContext:
    """Give whom to trust: the same for all clients, as reading it takes 20 ms."""
    return httpx.create_ssl_context(trust_env=False)


@functools.cache
def _user_agent() -> str:
    return f"voicepipe/{importlib.metadata.version('voicepipe')}"
