"""Audio streamed to a capture server."""

from __future__ import annotations

from contextlib import aclosing
from typing import TYPE_CHECKING, Self, get_args

import anyio
import anyio.lowlevel

from voicepipe.io.streaming.endpoint import Endpoint
from voicepipe.io.streaming.messages import check_session_id
from voicepipe.io.streaming.pace import Pace
from voicepipe.io.streaming.session import Session
from voicepipe.io.streaming.sources import audio_chunks, file_chunks, recording_s
from voicepipe.io.streaming.values import StreamOptions
from voicepipe.stream.assembler.detect import StreamFormat


if TYPE_CHECKING:
    import os
    from collections.abc import AsyncIterator
    from types import TracebackType

    from anyio.abc import TaskGroup

    from voicepipe.io.streaming.values import StreamAck, StreamSummary
    from voicepipe.types.audio import Audio


# For how long chunks that were sent may still reach a server that is left, seconds.
_LEAVING_S = 1.0


class StreamClient:
    """
    Streams audio to a capture server, such that nothing is lost with a connection.

    An async context manager, on asyncio and trio. Entering it connects and makes a
    session on the server (``voicepipe``'s ``stream_server``, or another one of its
    contract); ``send`` hands over chunks, ``close`` completes the session. Chunks are
    kept until the server has acknowledged them. If the connection breaks, dies in
    silence, or the server restarts, another one is made, after waits that double from
    0.1 to 5 s, and goes on at the server's own offset: no byte is lost and none comes
    twice. That goes on for ``options.reconnect_s``; then, and where the server refuses,
    the next call raises.

    A connection is only made again when there is something to send: a client that is
    silent for long does not keep its session alive.

    What a chunk may hold, the server says: pieces, cut anywhere, of one WAV, MP3, FLAC
    or AAC stream; whole small WAVs; or s16le PCM at the session's rate and channels.

    Leaving the block without ``close`` only disconnects: the session stays, and
    ``resume`` goes on with it, from another process too. What was sent and not
    acknowledged may not have arrived then; ``drain`` waits for it.

    One task may send while another one looks at ``acks``. If several send at the same
    time, their chunks go one after the other, in the order of the calls.

    Args:
        url: The server, such as ``"wss://example.org"``; a path is put in front of
            ``/api/ws/audio``. It is the caller's own and trusted: private addresses
            are allowed. A query, such as a token, goes with each connection. User,
            password and query are never shown. No proxy or setting of the environment
            is used, and no redirect followed.
        rate: Frames per second of the session, Hz. The server says which it takes.
        channels: 1 or 2.
        format: What the audio is, where its bytes do not tell: decides whether bytes
            without a header may be frames of MP3 or AAC, or are samples.
        user_id: Whose session it is, for the server's list; at most 256 characters.
        options: Key, headers and limits.

    Raises:
        InvalidUrlError: If the URL is none of a server.
        ValueError: If an argument is out of its range.

    Example:
        >>> async def record(microphone):
        ...     async with StreamClient("ws://127.0.0.1:8000", rate=16_000) as client:
        ...         async for chunk in microphone:
        ...             await client.send(chunk)
        ...         summary = await client.close()
        ...     return summary.file_path
    """

    def __init__(
        self,
        url: str,
        *,
        rate: int = 16_000,
        channels: int = 1,
        format: StreamFormat = "wav",  # noqa: A002 - the server's own name
        user_id: str = "",
        options: StreamOptions | None = None,
    ) -> None:
        """Check the arguments; ``async with`` connects."""
        if rate < 1:
            msg = f"rate must be positive, not {rate}"
            raise ValueError(msg)
        if channels not in {1, 2}:
            msg = f"channels must be 1 or 2, not {channels}"
            raise ValueError(msg)
        if format not in get_args(StreamFormat):
            msg = f"format must be one of {get_args(StreamFormat)}, not {format!r}"
            raise ValueError(msg)
        if len(user_id) > 256:
            raise ValueError("user_id must have at most 256 characters")
        self._options = options or StreamOptions()
        self._endpoint = Endpoint(url, self._options)
        self._user = {"user_id": user_id} if user_id else {}
        self._wanted: dict[str, str | int] = {
            **self._user,
            "sample_rate": rate,
            "channels": channels,
            "format": format,
        }
        self._resumed = ""
        self._session: Session | None = None
        self._group: TaskGroup | None = None
        self._turn = anyio.Lock()

    @classmethod
    def resume(
        cls,
        url: str,
        session_id: str,
        *,
        user_id: str = "",
        options: StreamOptions | None = None,
    ) -> Self:
        """
        Go on with a session that is not completed.

        Entering the client takes over writing: what another connection sends to the
        session is refused from then on. ``bytes_received`` says how much the server
        has, so where to go on in what was being sent.

        Args:
            url: The server.
            session_id: The session's id, as ``session_id`` or an error has told it.
            user_id: See ``StreamClient``.
            options: See ``StreamClient``.

        Raises:
            InvalidUrlError: If the URL is none of a server.
            ValueError: If the id is none, or an argument is out of its range.

        Example:
            >>> async def go_on(session_id, path):
            ...     url = "ws://127.0.0.1:8000"
            ...     async with StreamClient.resume(url, session_id) as client:
            ...         await client.send_file(path, begin=client.bytes_received)
            ...         return await client.close()
        """
        client = cls(url, user_id=user_id, options=options)
        client._wanted = dict(client._user)
        client._resumed = check_session_id(session_id)
        return client

    @property
    def session_id(self) -> str:
        """The session's id; empty before there is one."""
        return self._session.session_id if self._session else self._resumed

    @property
    def bytes_received(self) -> int:
        """Bytes of the session that the server has acknowledged."""
        return self._session.unacked.offset if self._session else 0

    @property
    def unacked_bytes(self) -> int:
        """Bytes that are kept because the server has not acknowledged them."""
        return self._session.unacked.size if self._session else 0

    async def send(self, chunk: bytes | bytearray | memoryview) -> None:
        """
        Hand over one chunk; it reaches the server as one message.

        Returns as soon as the chunk is kept, not when the server has it. Waits while
        ``options.max_unacked_bytes``, or 4,096 chunks, are not acknowledged: memory
        stays bounded, and a source is slowed down to what the server takes. While it
        waits, the connection is kept alive and made again.

        An empty chunk is not sent.

        Args:
            chunk: Bytes, at most as many as the server takes at once (usually 10 MiB);
                they are copied unless they are ``bytes``.

        Raises:
            StreamError: If the server has not taken an earlier chunk, say because it is
                no audio; ``type(error) is StreamError`` tells it from the others. That
                chunk is lost, it is told once, this one was not sent, and sending may
                go on.
            StreamRefusedError: If the server refuses, or the session is completed; also
                if another connection has taken it over.
            StreamLostError: If there is no connection any more.
            RuntimeError: If the client is not open.

        Cancellation: takes effect at once; the chunk was then not handed over.
        """
        data = chunk if isinstance(chunk, bytes) else bytes(memoryview(chunk))
        session = self._open()
        await anyio.lowlevel.checkpoint()
        async with self._turn:
            await session.wait_until(
                lambda: session.unacked.has_room(
                    len(data), self._options.max_unacked_bytes
                )
            )
            if session.closing or session.summary is not None:
                raise session.over()
            if data:
                session.unacked.add(data)
                session.bell.ring()

    async def drain(self) -> None:
        """
        Wait until the server has all that was sent.

        Raises:
            StreamError: As ``send``, and so the others.
        """
        session = self._open()
        await anyio.lowlevel.checkpoint()
        await session.wait_until(lambda: not session.unacked.size)

    def acks(self) -> AsyncIterator[StreamAck]:
        """
        Give what the server says of each chunk, in their order.

        Ends when the session is completed or the client is left. The counts are
        cumulative: if nobody looks, the last 1,024 are kept. Each is given once, to
        whoever asks first.

        Returns:
            An iterator over them, one for each chunk that was not empty. It raises as
            ``send`` does if the connection is lost or the server refuses; a chunk that
            was not taken is among them, with ``status="error"``.

        Raises:
            RuntimeError: If the client is not open.
        """
        return _Acks(self._open())

    async def close(self) -> StreamSummary:
        """
        Wait until the server has everything, and complete the session.

        Called again, it gives the same.

        Returns:
            The server's last word.

        Raises:
            StreamError: As ``send``, and so the others; also where the server could not
                complete the session. If ``type(error) is StreamError`` it is still
                open, and ``close`` may be called again.

        Cancellation: takes effect at once; the session may be completed or not.
        """
        session = self._open()
        await anyio.lowlevel.checkpoint()
        async with self._turn:
            await session.wait_until(lambda: not session.unacked.size)
            session.closing = True
            session.bell.ring()
            await session.wait_until(lambda: session.summary)
        assert session.summary is not None  # noqa: S101 - it was waited for
        return session.summary

    async def send_file(
        self,
        path: str | os.PathLike[str],
        *,
        speed: float | None = None,
        begin: int = 0,
    ) -> None:
        """
        Send the bytes of a recording as they are.

        Args:
            path: WAV, MP3, FLAC or AAC (ADTS); the server decides what it takes.
            speed: Seconds of sound for each second: 1.0 is real time. ``None`` is as
                fast as acknowledgements allow, 64 KiB at a time. With a speed, a chunk
                has about 0.1 s and goes when a live source would have made it; what
                was late is caught up. Files other than WAV are decoded first to learn
                how long they are, and their sound is taken to be spread evenly.
            begin: First byte to send; ``bytes_received`` goes on with a file of which
                the server of a resumed session has a part.

        Raises:
            StreamError: As ``send``, and so the others.
            AudioError: With a speed, if it is no recording that can be read.
            OSError: If the file cannot be read.
            ValueError: If an argument is out of its range.

        Cancellation: takes effect at once; chunks that were handed over stay so.
        """
        if begin < 0:
            msg = f"begin must be 0 or more, not {begin}"
            raise ValueError(msg)
        pace = Pace(speed)
        length_s = None if speed is None else await recording_s(path)
        chunks = file_chunks(path, begin=begin, length_s=length_s)
        async with aclosing(chunks):
            async for data, sound_s in chunks:
                await pace.wait_for(sound_s)
                await self.send(data)

    async def send_audio(self, audio: Audio, *, speed: float | None = None) -> None:
        """
        Send sound as a WAV of 16-bit samples, header first, about 0.1 s at a time.

        The header tells the sound's own rate and channels, and the server converts
        where they are not the session's. Sound that is sent later is appended.

        Args:
            audio: Mono or stereo.
            speed: As with ``send_file``.

        Raises:
            StreamError: As ``send``, and so the others.
            ValueError: If the speed is not positive.

        Cancellation: takes effect at once; chunks that were handed over stay so.
        """
        pace = Pace(speed)
        for data, sound_s in audio_chunks(audio):
            await pace.wait_for(sound_s)
            await self.send(data)

    def _open(self) -> Session:
        if self._session is None or self._group is None:
            raise RuntimeError("the client is not open: use it in 'async with'")
        return self._session

    async def __aenter__(self) -> Self:
        """Connect, and wait until there is a session."""
        if self._session is not None:
            raise RuntimeError("a client can be entered once")
        session = self._session = Session(
            self._endpoint, self._options, self._wanted, session_id=self._resumed
        )
        self._group = anyio.create_task_group()
        await self._group.__aenter__()
        self._group.start_soon(session.run)
        try:
            await session.wait_until(lambda: session.begun)
        except BaseException:
            await self._leave()
            raise
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Disconnect; without an error, what was sent has a second to arrive."""
        session = self._session
        try:
            if exc_type is None and session is not None:
                session.leaving = True
                session.bell.ring()
                with anyio.move_on_after(_LEAVING_S):
                    await session.bell.wait_until(lambda: session.ended)
        finally:
            await self._leave()

    async def _leave(self) -> None:
        group, self._group = self._group, None
        if group is not None:
            group.cancel_scope.cancel()
            # Whatever is being raised goes its own way, not into a group of errors.
            await group.__aexit__(None, None, None)


class _Acks:
    """Acknowledgements as they come; nothing to close, wherever one stops."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> StreamAck:
        session = self._session
        await session.bell.wait_until(lambda: session.acks or session.ended)
        if not session.acks:
            session.check()
            raise StopAsyncIteration
        return session.acks.popleft()
