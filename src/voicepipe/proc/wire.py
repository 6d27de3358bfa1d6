"""
How a caller and its helper process talk: JSON and bytes, over a pair of pipes.

A message is a header of twelve bytes (length of the JSON text, 4 bytes; length of the
payload, 8 bytes; both little-endian and unsigned), the JSON text in UTF-8, the payload.
Nothing is pickled, so that a hijacked helper cannot run code in its caller.
"""

from __future__ import annotations

import json
import struct
from typing import IO, Any


_HEADER = struct.Struct("<IQ")


def write_message(pipe: IO[bytes], text: object, payload: bytes = b"") -> None:
    """
    Write one message and flush.

    Args:
        pipe: A buffered binary stream.
        text: Anything that JSON can hold.
        payload: Raw bytes to go with it.

    Raises:
        OSError: If the other side has closed the pipe.
    """
    encoded = json.dumps(text).encode()
    pipe.write(_HEADER.pack(len(encoded), len(payload)))
    pipe.write(encoded)
    pipe.write(payload)
    pipe.flush()


def read_message(pipe: IO[bytes]) -> tuple[Any, bytes]:
    """
    Read one message.

    Raises:
        EOFError: If the pipe ends before the message does.
        ValueError: If the JSON part is none.
    """
    text_length, payload_length = _HEADER.unpack(_read(pipe, _HEADER.size))
    text = json.loads(_read(pipe, text_length))
    return text, _read(pipe, payload_length)


def _read(pipe: IO[bytes], size: int) -> bytes:
    data = pipe.read(size)
    if len(data) < size:
        msg = "the pipe was closed inside a message"
        raise EOFError(msg)
    return data
