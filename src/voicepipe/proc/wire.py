"""
How a caller and its helper process talk: JSON and bytes, over a stream each way.

A message is a header of twelve bytes (length of the JSON text, 4 bytes; length of the
payload, 8 bytes; both little-endian and unsigned), the JSON text in UTF-8, the payload.
Nothing is pickled, so that a hijacked helper cannot run code in its caller.
"""

from __future__ import annotations

import json
import struct
from typing import IO, TYPE_CHECKING, Any, NamedTuple


if TYPE_CHECKING:
    from _typeshed import ReadableBuffer


MAX_TEXT_BYTES = 1 << 20
"""Longest JSON text that is taken from a limited helper: it is parsed in some 10 ms."""

MAX_PAYLOAD_BYTES = 64 << 20
"""Longest payload that is taken from a limited helper."""

_HEADER = struct.Struct("<IQ")

# Some systems refuse more than 2 GiB in one go.
_AT_ONCE = 1 << 24


class Reply(NamedTuple):
    """
    What a function in a helper gives that has more to give than JSON holds.

    Attributes:
        value: Anything that JSON can hold.
        payload: Raw bytes: any contiguous buffer, such as an array. It is sent as it
            lies there, without a copy.
    """

    value: object
    payload: ReadableBuffer = b""


class Message(NamedTuple):
    """A message that is ready to be written."""

    head: bytes
    payload: memoryview


def packed(text: object, payload: ReadableBuffer = b"") -> Message:
    """
    Make a message, and leave the payload where it is.

    Args:
        text: Anything that JSON can hold.
        payload: Any contiguous buffer.

    Raises:
        TypeError: If JSON cannot hold the text, or the payload is no such buffer.
        ValueError: As above.
    """
    encoded = json.dumps(text).encode()
    view = memoryview(payload)
    # An empty array cannot be cast.
    view = view.cast("B") if view.nbytes else memoryview(b"")
    return Message(_HEADER.pack(len(encoded), len(view)) + encoded, view)


def write_message(pipe: IO[bytes], message: Message) -> None:
    """
    Write one message and flush.

    Args:
        pipe: A buffered binary stream.
        message: The message.

    Raises:
        OSError: If the other side has closed the stream.
    """
    pipe.write(message.head)
    for at in range(0, len(message.payload), _AT_ONCE):
        pipe.write(message.payload[at : at + _AT_ONCE])
    pipe.flush()


def read_text(pipe: IO[bytes], *, limited: bool = False) -> tuple[Any, int]:
    """
    Read a message up to its payload.

    Args:
        pipe: A buffered binary stream.
        limited: Refuse what is too long.

    Returns:
        The text, and the length of the payload in bytes, which comes next.

    Raises:
        EOFError: If the stream ends before.
        ValueError: If the JSON part is none, or one of the parts is too long.
    """
    text_length, payload_length = _HEADER.unpack(read_bytes(pipe, _HEADER.size))
    if limited and text_length > MAX_TEXT_BYTES:
        raise ValueError(f"a text of {text_length} bytes")
    if limited and payload_length > MAX_PAYLOAD_BYTES:
        raise ValueError(f"a payload of {payload_length} bytes")
    try:
        return json.loads(read_bytes(pipe, text_length)), payload_length
    except RecursionError as exc:
        raise ValueError("a text that is nested too deeply") from exc


def read_bytes(pipe: IO[bytes], size: int) -> bytes:
    """
    Read so many bytes; they are read where they stay.

    Raises:
        EOFError: If the stream ends before.
        MemoryError: If there is no room for them; nothing has been read then.
    """
    data = pipe.read(size)
    if len(data) < size:
        raise EOFError("the stream was closed inside a message")
    return data


def skip_bytes(pipe: IO[bytes], size: int) -> None:
    """Read so many bytes and forget them."""
    while size:
        size -= len(read_bytes(pipe, min(size, 1 << 16)))
