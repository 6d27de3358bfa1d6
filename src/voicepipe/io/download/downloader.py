"""Recordings brought to disk over HTTP: one, or as many as there are."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING, Self

from voicepipe.errors import VoicepipeError
from voicepipe.io.download.transfer import Transfer
from voicepipe.io.download.values import (
    DownloadOptions,
    DownloadOutcome,
    DownloadRequest,
    http_limits,
)
from voicepipe.net.http import HttpClient
from voicepipe.net.policy import UrlPolicy
from voicepipe.tasks import side_by_side


if TYPE_CHECKING:
    import os
    from collections.abc import (
        AsyncIterable,
        AsyncIterator,
        Callable,
        Iterable,
        Mapping,
    )

    from voicepipe.io.download.values import Download, DownloadProgress


class Downloader:
    """
    Downloads recordings whole, or not at all; an async context manager.

    A file appears under its name when it is whole, of one version, as long as the
    server says, and flushed to disk. What is there of it is kept beside it when a
    download is broken off, and the next one to the same target from the same URL goes
    on from there, also in another process, if the server says that the file is still
    the same. Private addresses are refused, see ``DownloadOptions.allow_hosts``. No
    proxy or setting of the environment is used.

    One downloader may be used by many tasks of one event loop at the same time.

    Args:
        options: Where downloads may lead, and what they may take.

    Example:
        >>> async with Downloader() as downloader:  # doctest: +SKIP
        ...     got = await downloader.fetch("https://example.com/call.mp3", "call.mp3")
        >>> got.size, got.sha256  # doctest: +SKIP
    """

    def __init__(self, options: DownloadOptions | None = None) -> None:
        """Open nothing yet."""
        options = options or DownloadOptions()
        self.options: DownloadOptions = options
        self._client = HttpClient(
            UrlPolicy.allowing(options.allow_hosts),
            http_limits(options),
            ssl_context=options.ssl_context,
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close all connections."""
        await self._client.aclose()

    async def fetch(
        self,
        url: str,
        path: str | os.PathLike[str],
        *,
        headers: Mapping[str, str] | None = None,
        sha256: str | None = None,
        progress: Callable[[DownloadProgress], None] | None = None,
    ) -> Download:
        """
        Download one file; it replaces one of its name.

        Args:
            url: Where it is, ``http`` or ``https``.
            path: Where to write it; the folder must exist. A symbolic link there is
                replaced, not followed.
            headers: Sent with the request, and to no other origin.
            sha256: What the file must have, in hexadecimal.
            progress: Called on the event loop as bytes come in, at most 20 times per
                second, and at the end. What it raises ends the download.

        Returns:
            What was downloaded.

        Raises:
            InvalidUrlError: If the URL cannot be fetched.
            BlockedUrlError: If it leads to a private address, or to a port that is not
                open, itself or by a redirect.
            HttpStatusError: If the server answers with an error, the last one where it
                was tried again.
            ConnectionFailedError: If there is no connection, or it breaks.
            FetchTimeoutError: If it takes too long.
            BadResponseError: If the answer is not what it says it is.
            TooLargeError: If the file is larger than ``max_bytes``.
            NotAudioError: If the file is no recording; ``EmptyAudioError`` and
                ``UnsupportedAudioError`` as well. Nothing is kept of it.
            DiskFullError: If there is no space left; what was written is removed.
            OSError: If the file cannot be written.

        Cancellation: takes effect at once; what has come is kept beside the target.
        """
        request = DownloadRequest(
            url=url, path=Path(path), headers=headers or {}, sha256=sha256
        )
        async with self.transfer(request, progress) as transfer:
            return await transfer.commit()

    @contextlib.asynccontextmanager
    async def fetch_all(
        self, requests: Iterable[DownloadRequest] | AsyncIterable[DownloadRequest]
    ) -> AsyncIterator[AsyncIterator[DownloadOutcome]]:
        """
        Download many files side by side.

        A context manager that gives the outcomes as they come, not in order. Requests
        are taken one by one as connections become free, and wait until their outcome is
        taken: ten million need no more memory than ten. What goes wrong with one is
        told in its outcome, and the others go on. Leaving the block stops what is under
        way.

        Args:
            requests: What to download, taken on the event loop: it must not block.

        Yields:
            The outcomes, to be iterated over, one for each request.

        Raises:
            Exception: What iterating over the requests raised.

        Example:
            >>> async with downloader.fetch_all(requests) as outcomes:  # doctest: +SKIP
            ...     async for outcome in outcomes:
            ...         if outcome.error is not None:
            ...             print(outcome.error)
        """

        async def fetch(index: int, request: DownloadRequest) -> DownloadOutcome:
            download = error = None
            try:
                async with self.transfer(request) as transfer:
                    download = await transfer.commit()
            except (VoicepipeError, OSError) as exc:
                error = exc
            return DownloadOutcome(
                index=index, request=request, download=download, error=error
            )

        workers = self.options.connections
        async with side_by_side(requests, fetch, workers) as outcomes:
            yield outcomes

    def transfer(
        self,
        request: DownloadRequest,
        progress: Callable[[DownloadProgress], None] | None = None,
    ) -> Transfer:
        """
        Begin a download whose file is to be read before it has a name, or instead.

        Raises:
            InvalidUrlError: If the URL cannot be fetched.
        """
        return Transfer(self._client, self.options, request, progress)
