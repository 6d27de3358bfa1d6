"""One download: from the lock on its target to its last byte, with all attempts."""

from __future__ import annotations

import contextlib
import logging
import threading
from typing import TYPE_CHECKING, Self, TypeVar

import anyio
import anyio.to_thread

from voicepipe.errors import (
    BadResponseError,
    FetchError,
    FetchTimeoutError,
    TooLargeError,
    TruncatedAudioError,
    VoicepipeError,
)
from voicepipe.io.download.behind import Backlog
from voicepipe.io.download.partial import Partial
from voicepipe.io.download.resume import Resumption, whole
from voicepipe.io.download.values import Download, DownloadProgress
from voicepipe.io.options import DecodeOptions
from voicepipe.io.read import iter_audio
from voicepipe.net.retries import Patience
from voicepipe.net.urls import parse_url, url_digest
from voicepipe.stream.sniff import HEAD_BYTES


if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path
    from types import TracebackType

    from voicepipe.io.download.resume import Remote
    from voicepipe.io.download.values import DownloadOptions, DownloadRequest
    from voicepipe.net.answer import Answer
    from voicepipe.net.http import HttpClient


R = TypeVar("R")

_logger = logging.getLogger(__name__)

# Bytes that wait in memory for the disk, and for how long they do, seconds: what a kill
# may cost.
_FLUSH_BYTES = 1 << 18
_FLUSH_S = 1.0

_REPORT_S = 0.05
_WAIT_S = 0.05


class Transfer:
    """
    Brings one file here; a context manager that gives it when it is whole.

    It has no name yet then: ``commit`` gives it one, ``settle`` lets it be read before.
    Left without ``commit`` the file goes away, unless an error says that it can be gone
    on with.

    Args:
        client: Who asks.
        options: What it may take.
        request: What is wanted.
        progress: Called as bytes come in.

    Raises:
        InvalidUrlError: If the URL cannot be fetched.
    """

    def __init__(
        self,
        client: HttpClient,
        options: DownloadOptions,
        request: DownloadRequest,
        progress: Callable[[DownloadProgress], None] | None = None,
    ) -> None:
        """Look at the URL."""
        self._url = parse_url(request.url)
        self._client = client
        self._options = options
        self._request = request
        self._progress = progress
        self._partial: Partial | None = None
        self._backlog = Backlog(self._append, self._in_thread)
        self._received = 0
        self._flushed_at = 0.0
        self._reported_at = 0.0
        self._attempts = 0
        self._resumed = 0
        self._most = 0
        self._disk = threading.Lock()
        self._is_framed = True
        self._is_over = False
        self._patience: Patience | None = None
        self._reused: Download | None = None

    async def __aenter__(self) -> Self:
        try:
            await self._bring_in_time()
        except BaseException as exc:
            await self._let_go(exc)
            raise
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._let_go(error)

    async def settle(self) -> tuple[Path, Download]:
        """
        Give the whole file where it is, without a name yet.

        Raises:
            NotAudioError: If it does not begin like a recording; ``EmptyAudioError``
                and ``UnsupportedAudioError`` as well.
            BadResponseError: If it has another SHA-256 than expected.
            DiskFullError: If there is no space left.
            OSError: If it cannot be written.
        """
        if self._reused is not None:
            return self._reused.path, self._reused
        return self._held.path, await self._in_thread(self._settle)

    async def commit(self) -> Download:
        """Give the file its name; raises what ``settle`` does."""
        if self._reused is not None:
            return self._reused
        return await self._in_thread(self._finish)

    @property
    def _held(self) -> Partial:
        assert self._partial is not None  # noqa: S101 - for the type checker
        return self._partial

    async def _bring_in_time(self) -> None:
        limit_s = self._options.total_s
        with anyio.move_on_after(limit_s) as scope:
            await self._bring()
        if scope.cancelled_caught:
            raise FetchTimeoutError(
                f"it took longer than {limit_s:g} s",
                url=str(self._url),
                limit="total",
                limit_s=limit_s,
            )

    async def _bring(self) -> None:
        await self._hold()
        if self._reused is not None:
            return
        options = self._options
        self._received = self._resumed = self._held.have
        self._patience = Patience(
            attempts=options.attempts,
            deadline=anyio.current_effective_deadline(),
            not_ready_s=options.not_ready_s,
        )
        await self._patience.run(self._attempt)

    async def _hold(self) -> None:
        """Take the target, or wait for who has it."""
        while True:
            if await self._in_thread(self._lock):
                return
            if not self._held.is_stale:
                await anyio.sleep(_WAIT_S)
                continue
            self._reused = await self._in_thread(self._take_over)
            if self._reused is not None:
                return
            self._partial = None

    def _lock(self) -> bool:
        if self._is_over:
            # Who wanted it has been cancelled, and did not wait for this thread.
            return False
        if self._partial is None:
            self._partial = Partial(
                self._request.path,
                url_digest(self._request.url),
                str(self._url),
                audio=self._options.require_audio,
            )
        return self._partial.lock()

    def _take_over(self) -> Download | None:
        """Give what another process has downloaded, if it is what is wanted."""
        found = self._held.finished_by_other()
        self._held.close()
        if found is None or self._request.sha256 not in {None, found[2]}:
            return None
        remote, size, sha256 = found
        return Download(
            path=self._request.path,
            url=str(self._url),
            size=size,
            sha256=sha256,
            content_type=remote.content_type,
            etag=remote.etag,
            attempts=0,
            reused=True,
        )

    async def _attempt(self) -> None:
        self._attempts += 1
        resumption = Resumption.after(self._received, self._held.remote)
        if resumption is not None and await self._resume(resumption):
            return
        async with self._client.get(self._url, self._request.headers) as answer:
            await self._receive_whole(answer)

    async def _resume(self, resumption: Resumption) -> bool:
        """Ask for the rest; false if the file has to be begun anew."""
        async with self._client.get(
            self._url, self._request.headers, resumption.conditions
        ) as answer:
            if resumption.continues(answer):
                overlap = self._received - resumption.start
                return await self._receive(answer, overlap=overlap)
            if answer.status not in {206, 416}:
                await self._receive_whole(answer)
                return True
        _logger.info("%s: cannot be resumed, begins anew", self._url)
        return False

    async def _receive_whole(self, answer: Answer) -> None:
        remote = whole(answer)
        self._backlog.take()
        self._received = self._resumed = 0
        if self._held.have:
            await self._in_thread(self._held.begin, remote)
        self._held.remote = remote
        await self._receive(answer)

    async def _receive(self, answer: Answer, overlap: int = 0) -> bool:
        """Take the body; false if it begins with another byte than the last one."""
        remote = self._held.remote
        assert remote is not None  # noqa: S101 - for the type checker
        self._check_size(remote.size or 0)
        self._is_framed = answer.framed
        self._flushed_at = anyio.current_time()
        is_large = remote.size is None or remote.size > 2 * _FLUSH_BYTES
        async with (
            self._backlog.beside() if is_large else contextlib.nullcontext(),
            contextlib.aclosing(answer.pieces()) as pieces,
        ):
            async for piece in pieces:
                if overlap:
                    if piece[:1] != await self._last_byte():
                        return False
                    piece, overlap = piece[1:], 0  # noqa: PLW2901
                await self._take(piece, remote)
        if remote.size is not None and self._received != remote.size:
            msg = f"{self._received} of {remote.size} bytes came"
            raise BadResponseError(msg, url=str(self._url), retryable=True)
        if not self._is_framed:
            await self._decode_to_the_end()
        self._report(remote, is_last=True)
        return True

    async def _last_byte(self) -> bytes:
        if self._backlog:
            await self._backlog.flush()
        return await self._in_thread(self._held.last_byte)

    async def _take(self, piece: bytes, remote: Remote) -> None:
        if not piece:
            return
        self._backlog.add(piece)
        self._received += len(piece)
        self._check_size(self._received)
        assert self._patience is not None  # noqa: S101 - for the type checker
        if self._received > self._most:
            # What comes again and again is nothing new.
            self._most = self._received
            self._patience.progressed()
        self._report(remote)
        now = anyio.current_time()
        if self._backlog.size < _FLUSH_BYTES and now - self._flushed_at < _FLUSH_S:
            return
        self._flushed_at = now
        if self._received >= HEAD_BYTES:
            await self._backlog.flush()
        else:
            # A head that is cut says nothing: only who waits for the lock is told.
            await self._in_thread(self._append, [])

    def _check_size(self, size: int) -> None:
        if size > self._options.max_bytes:
            raise TooLargeError(
                f"the file has more than {self._options.max_bytes} bytes",
                url=str(self._url),
                limit=self._options.max_bytes,
            )

    async def _in_thread(self, work: Callable[..., R], *args: object) -> R:
        """
        Call in a worker thread, one call at a time.

        A task that is cancelled from outside anyio, as by ``asyncio.timeout``, does not
        wait for its thread: what comes next does.
        """

        def call() -> R:
            with self._disk:
                return work(*args)

        return await anyio.to_thread.run_sync(call)

    def _append(self, pieces: list[bytes]) -> None:
        self._held.append(pieces, is_last=False)

    def _report(self, remote: Remote, *, is_last: bool = False) -> None:
        if self._progress is None:
            return
        now = anyio.current_time()
        if is_last or now - self._reported_at >= _REPORT_S:
            self._reported_at = now
            self._progress(
                DownloadProgress(
                    url=str(self._url), received=self._received, size=remote.size
                )
            )

    async def _decode_to_the_end(self) -> None:
        """Look whether a file without a length is whole, as far as it can be told."""
        if not self._options.require_audio:
            return
        source, _ = await self.settle()
        options = DecodeOptions(isolated=True)
        try:
            async with contextlib.aclosing(iter_audio(source, options=options)) as all_:
                async for _ in all_:
                    pass
        except TruncatedAudioError as exc:
            msg = "the recording is cut, and the server did not tell its length"
            raise BadResponseError(msg, url=str(self._url), retryable=True) from exc

    def _settle(self) -> Download:
        partial, remote = self._held, self._held.remote
        assert remote is not None  # noqa: S101 - for the type checker
        partial.append(self._backlog.take(), is_last=True)
        sha256, wanted = partial.sha256(), self._request.sha256
        if wanted is not None and sha256 != wanted.lower():
            msg = "the file has another SHA-256 than expected"
            raise BadResponseError(msg, url=str(self._url))
        return Download(
            path=self._request.path,
            url=str(self._url),
            size=partial.have,
            sha256=sha256,
            content_type=remote.content_type,
            etag=remote.etag,
            length_verified=self._is_framed,
            bytes_resumed=self._resumed,
            attempts=self._attempts,
        )

    def _finish(self) -> Download:
        download = self._settle()
        self._held.finish(durable=self._options.durable)
        return download

    async def _let_go(self, error: BaseException | None) -> None:
        """Keep the file where it can be gone on with, else remove it."""
        if self._partial is not None and self._partial.is_closed:
            return
        may_go_on = error is not None  # cancelled, or interrupted
        if isinstance(error, Exception):
            may_go_on = isinstance(error, FetchError) and error.retryable
        keep = may_go_on and self._options.keep_partial
        try:
            with anyio.CancelScope(shield=True):
                await self._in_thread(self._end, keep)
        except BaseException:
            # What cancels from outside anyio does so even here, before the thread.
            with self._disk:
                self._end(keep)
            raise

    def _end(self, keep: bool) -> None:  # noqa: FBT001 - called in a thread
        self._is_over = True
        partial = self._partial
        if partial is None or partial.is_closed:
            return
        if not keep:
            partial.discard()
            return
        with contextlib.suppress(OSError, VoicepipeError):
            if self._backlog and self._received >= HEAD_BYTES:
                partial.append(self._backlog.take(), is_last=False)
        partial.keep()
