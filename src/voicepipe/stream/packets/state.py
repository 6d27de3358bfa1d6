"""
Snapshots as bytes: a text of plain values, and raw parts behind it.

Layout, little-endian: four bytes of magic with a version, CRC-32 of all behind it, the
length of the text (4 bytes each), the text (JSON, with the lengths of the parts), the
parts. Nothing is pickled: a snapshot that somebody has changed runs no code.
"""

from __future__ import annotations

import json
import struct
import zlib
from typing import TYPE_CHECKING, Any


if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


_MAGIC = b"vpk\x01"
_HEADER = struct.Struct("<4sII")


def packed(fields: Mapping[str, Any], parts: Sequence[bytes]) -> bytes:
    """Make a snapshot of values that JSON holds, and of bytes."""
    lengths = [len(part) for part in parts]
    text = json.dumps({"fields": dict(fields), "parts": lengths}).encode()
    body = struct.pack("<I", len(text)) + text + b"".join(parts)
    return _HEADER.pack(_MAGIC, zlib.crc32(body), len(body)) + body


def unpacked(snapshot: bytes) -> tuple[dict[str, Any], list[bytes]]:
    """
    Give back what ``packed`` was given.

    Raises:
        ValueError: If the snapshot is damaged, or of another version.
    """
    body = snapshot[_HEADER.size :]
    header = _HEADER.pack(_MAGIC, zlib.crc32(body), len(body))
    if not snapshot.startswith(header):
        raise ValueError("the snapshot is damaged")
    try:
        (text_length,) = struct.unpack_from("<I", body)
        at = 4 + text_length
        text = json.loads(body[4:at])
        parts = []
        for size in text["parts"]:
            parts.append(body[at : at + size])
            at += size
        return dict(text["fields"]), parts
    except (LookupError, TypeError, ValueError, struct.error) as exc:
        raise ValueError("the snapshot is of something else") from exc
