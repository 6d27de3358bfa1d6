"""Calls at a telephony API: what it knows of each one, and its recording."""

from __future__ import annotations

import functools
import json
import logging
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Self, TypeVar

import anyio
import anyio.to_thread
import attrs

from voicepipe.errors import (
    BadResponseError,
    CallNotFoundError,
    FetchTimeoutError,
    HttpStatusError,
    NoRecordingError,
)
from voicepipe.io.download.downloader import Downloader
from voicepipe.io.download.values import DownloadOptions, http_limits
from voicepipe.io.recordings import check_id
from voicepipe.net.headers import checked_headers
from voicepipe.net.http import HttpClient
from voicepipe.net.policy import UrlPolicy
from voicepipe.net.retries import Patience
from voicepipe.net.urls import parse_url, redact_url


if TYPE_CHECKING:
    import os
    from collections.abc import Awaitable, Callable, Iterator, Mapping

    from voicepipe.io.download.values import DownloadProgress
    from voicepipe.net.urls import Url


T = TypeVar("T")

_logger = logging.getLogger(__name__)

# A call takes a kilobyte.
_MAX_ANSWER_BYTES = 1 << 20

_make_folder = functools.partial(Path.mkdir, parents=True, exist_ok=True)

# What a mapping may raise about an answer of another shape than it expects.
_SHAPE_ERRORS = (
    AttributeError,
    LookupError,
    RecursionError,
    TypeError,
    ValueError,
)


def _shown_url(text: str) -> str:
    return repr(redact_url(text) if text else "")


@attrs.frozen(kw_only=True)
class CallInfo:
    """
    What a telephony API knows of one call, in its own words; ``""`` where it is silent.

    Attributes:
        store_name: The store that was called.
        agent_name: Who took the call.
        call_status: Such as ``"completed"``.
        call_in_time: When it began, as the API writes times.
        call_out_time: When it ended.
        recording_url: Where its recording is; shown without user, password and query.
        call_sid: The call's id at the carrier.
    """

    store_name: str = ""
    agent_name: str = ""
    call_status: str = ""
    call_in_time: str = ""
    call_out_time: str = ""
    recording_url: str = attrs.field(default="", repr=_shown_url)
    call_sid: str = ""


def call_info_from_json(answer: object) -> CallInfo:
    """
    Read a call from a telephony API's answer, whose key style nobody has written down.

    Args:
        answer: The parsed JSON: an object, or a list with one. Keys may be in
            snake_case or camelCase; more of the call may be in an object, or a list
            with one, under ``data`` or ``call``, which counts before what is around it.
            Values that are no text become JSON's text, ``null`` becomes ``""``.

    Raises:
        ValueError: If it is something else, such as a list of two calls.
    """
    found: dict[str, str] = {}
    for level in _levels(answer):
        for key, value in level.items():
            if (name := _FIELDS.get(_squeezed(key))) and (text := _text(value)):
                found[name] = text
    return CallInfo(**found)


def _squeezed(key: str) -> str:
    """Make one of ``call_sid``, ``callSid`` and ``callSID``."""
    return key.replace("_", "").lower()


_FIELDS = {_squeezed(field.name): field.name for field in attrs.fields(CallInfo)}


def _levels(value: object) -> Iterator[dict[str, object]]:
    """Give the object, and those in it that are about the call, from outside in."""
    if isinstance(value, list):
        if len(value) != 1:
            msg = f"{len(value)} calls instead of one"
            raise ValueError(msg)
        value = value[0]
    if not isinstance(value, dict):
        msg = f"{type(value).__name__} instead of an object"
        raise ValueError(msg)  # noqa: TRY004 - it is the answer that is wrong
    yield value
    for name in ("data", "call"):
        inner = value.get(name)
        if isinstance(inner, dict | list):
            yield from _levels(inner)


def _text(value: object) -> str:
    if value is None:
        return ""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


class TelephonyClient:
    """
    Asks a telephony API about calls and downloads their recordings.

    An async context manager. The API's URL is the caller's own and trusted: it may lead
    to a private address and to any port. URLs of recordings come from the API's data
    and are not: they lead to the public internet, and to ``options.allow_hosts``.
    Redirects of the API may lead to the public internet, too, and never from https to
    http. No proxy or setting of the environment is used.

    One client may be used by many tasks of one event loop at the same time, and keeps
    its connections for all of them.

    Args:
        base_url: Where calls are: order 17 is asked for at ``{base_url}/17``, and a
            query stays behind that. User and password in it count as headers.
        headers: The API's credentials. Sent to the URL's origin only, with recordings
            that are there as well, and never after a redirect has left it.
        options: What asking and downloading may take, ``OPTIONS`` if not given.
            ``attempts`` and ``total_s`` hold for one answer, and for one recording,
            whether bytes come or not; ``keep_partial`` is false always.
        mapping: Makes a call of the API's answer, JSON as ``json.loads`` gives it.

    Attributes:
        OPTIONS: 300 s in all, 30 s to connect, 60 s for a gap, 3 attempts. For changes:
            ``attrs.evolve(TelephonyClient.OPTIONS, allow_hosts=["10.0.0.5"])``.
        options: What asking and downloading may take.

    Raises:
        InvalidUrlError: If the base URL cannot be fetched.
        ValueError: If a header cannot be sent.

    Example:
        >>> url = "https://telephony.example.com/calls"
        >>> async with TelephonyClient(url) as client:  # doctest: +SKIP
        ...     call = await client.get_call_info("A-1042")
        ...     path, size = await client.download_audio("A-1042", "downloads", call)
    """

    OPTIONS: ClassVar[DownloadOptions] = DownloadOptions(
        connect_s=30.0, read_s=60.0, total_s=300.0, attempts=3, keep_partial=False
    )

    def __init__(
        self,
        base_url: str,
        *,
        headers: Mapping[str, str] | None = None,
        options: DownloadOptions | None = None,
        mapping: Callable[[object], CallInfo] = call_info_from_json,
    ) -> None:
        """Open nothing yet."""
        base = parse_url(base_url)
        self.options: DownloadOptions = attrs.evolve(
            options or self.OPTIONS, keep_partial=False
        )
        self._base_url = base_url
        self._origin = base.origin
        self._credentials = checked_headers(headers or {})
        if base.authorization is not None:
            self._credentials.setdefault("authorization", base.authorization)
        self._mapping = mapping
        self._api = HttpClient(
            UrlPolicy.trusting(base),
            http_limits(self.options),
            ssl_context=self.options.ssl_context,
        )
        # Attempts are counted here: of a download that gets on, the downloader would
        # allow any number.
        self._downloader = Downloader(attrs.evolve(self.options, attempts=1))

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close all connections."""
        await self._api.aclose()
        await self._downloader.aclose()

    async def get_call_info(self, order_id: str) -> CallInfo:
        """
        Ask what the API knows of an order's call.

        Network errors, 429 and every 5xx are tried again, after a wait that doubles
        from half a second, or the one that the server asks for.

        Args:
            order_id: 1 to 128 letters, digits, ``-`` and ``_`` of ASCII, beginning with
                a letter or a digit: it is part of a URL and of a file's name.

        Raises:
            InvalidIdError: If the id is something else.
            CallNotFoundError: If the API does not know the order (404).
            HttpStatusError: If it answers with another error.
            BadResponseError: If the answer is no JSON, or not about one call.
            TooLargeError: If it has more than 1 MiB.
            FetchError: As ``Downloader.fetch``.

        Cancellation: takes effect at once.
        """
        check_id(order_id, what="order_id")
        url = self._url_of(order_id)
        ask = functools.partial(self._ask, url, order_id)
        answer = await self._patiently(ask, url)
        try:
            info = self._mapping(answer)
        except _SHAPE_ERRORS as exc:
            msg = "the answer is not about one call"
            raise BadResponseError(msg, url=str(url)) from exc
        if info == CallInfo():
            _logger.warning("%s: nothing about a call in the answer", url)
        return info

    async def download_audio(
        self,
        order_id: str,
        output_dir: str | os.PathLike[str],
        info: CallInfo | None = None,
        *,
        progress: Callable[[DownloadProgress], None] | None = None,
    ) -> tuple[Path, int]:
        """
        Download an order's recording as it is, to ``{order_id}.mp3``.

        That is its name whatever the format. The file appears when it is whole and on
        disk, and replaces one of that name. Nothing is left of a download that failed.

        Args:
            order_id: See ``get_call_info``.
            output_dir: Where to write; made where it is missing.
            info: What the API knows of the call, ``None`` to ask it.
            progress: See ``Downloader.fetch``; a new attempt begins at 0.

        Returns:
            The file, and its size in bytes.

        Raises:
            InvalidIdError: If the id cannot be part of a file's name.
            NoRecordingError: If the call has no recording.
            BlockedUrlError: If the recording's URL leads to where it may not.
            NotAudioError: If the file is no recording; ``EmptyAudioError`` and
                ``UnsupportedAudioError`` as well.
            FetchError: As ``get_call_info``, and as ``Downloader.fetch``.
            DiskFullError: If there is no space left.
            OSError: If the folder or the file cannot be written.

        Cancellation: takes effect at once, and nothing is left of the file.
        """
        check_id(order_id, what="order_id")
        if info is None:
            info = await self.get_call_info(order_id)
        recording = info.recording_url.strip()
        if not recording:
            raise NoRecordingError("the call has no recording", order_id=order_id)
        url = parse_url(recording)
        headers = self._credentials if url.origin == self._origin else {}
        target = Path(output_dir) / f"{order_id}.mp3"
        await anyio.to_thread.run_sync(_make_folder, target.parent)

        fetch = functools.partial(
            self._downloader.fetch,
            recording,
            target,
            headers=headers,
            progress=progress,
        )
        download = await self._patiently(fetch, url)
        return download.path, download.size

    def _url_of(self, order_id: str) -> Url:
        bare = self._base_url.partition("#")[0]
        path, mark, query = bare.partition("?")
        return parse_url(f"{path.rstrip('/')}/{order_id}{mark}{query}")

    async def _patiently(self, attempt: Callable[[], Awaitable[T]], url: Url) -> T:
        limit_s = self.options.total_s
        with anyio.move_on_after(limit_s):
            patience = _CallPatience(
                attempts=self.options.attempts,
                deadline=anyio.current_effective_deadline(),
            )
            return await patience.run(attempt)
        raise FetchTimeoutError(
            f"it took longer than {limit_s:g} s",
            url=str(url),
            limit="total",
            limit_s=limit_s,
        )

    async def _ask(self, url: Url, order_id: str) -> object:
        headers = {"accept": "application/json", **self._credentials}
        async with self._api.get(url, headers) as answer:
            if answer.status == 404:
                raise CallNotFoundError("order not found", order_id=order_id)
            if answer.status >= 400:
                raise answer.error()
            if answer.status >= 300:
                msg = f"the server answered with {answer.status} instead of the call"
                raise BadResponseError(msg, url=str(url))
            body = await answer.read(_MAX_ANSWER_BYTES)
        try:
            return json.loads(body)
        except (ValueError, RecursionError):
            pass
        # Not in the block above: the parser's error holds the whole body.
        raise BadResponseError("the answer is not JSON", url=str(url))


class _CallPatience(Patience):
    """Tries again what the network may do better, and every 5xx."""

    def _may_retry(self, error: BaseException) -> bool:
        is_5xx = isinstance(error, HttpStatusError) and 500 <= error.status < 600
        return is_5xx or super()._may_retry(error)
