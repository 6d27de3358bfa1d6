"""A tiny Whisper that hears 128 bands of sound, as those made from large-v3 do."""

from __future__ import annotations

import json
import shutil
import struct
from math import prod
from typing import TYPE_CHECKING

from tiny_whisper.speech import MODEL


if TYPE_CHECKING:
    from pathlib import Path


BANDS = 128

_FILTER = "encoder/conv1/weight"  # shape (width, bands, 3)


def with_more_bands(folder: Path) -> Path:
    """
    Copy the tiny Whisper to a new folder, deaf in the bands that it did not have.

    The form of the file: ``Model::load`` of CTranslate2. Numbers are little-endian, a
    text is its size (16 bits) and its bytes with a zero; the version of the file (32),
    the name of the model's form, its revision (32), the number of variables (32); of
    each its name, the number of dimensions (8), these (32 each), the type (8), the
    number of bytes (32), and these.
    """
    shutil.copytree(MODEL, folder)
    data = (MODEL / "model.bin").read_bytes()
    at = data.index(_FILTER.encode() + b"\0") + len(_FILTER) + 1
    (rank,) = struct.unpack_from("<B", data, at)
    shape = list(struct.unpack_from(f"<{rank}I", data, at + 1))
    kind, size = struct.unpack_from("<BI", data, at + 1 + 4 * rank)
    values = at + 1 + 4 * rank + 5
    width, bands, _ = shape
    each = size // prod(shape) * 3
    rows = [data[values + i * bands * each :][: bands * each] for i in range(width)]
    wider = b"".join(row + bytes((BANDS - bands) * each) for row in rows)
    shape[1] = BANDS
    head = struct.pack(f"<B{rank}IBI", rank, *shape, kind, len(wider))
    whole = data[:at] + head + wider + data[values + size :]
    (folder / "model.bin").write_bytes(whole)
    told = json.loads((folder / "preprocessor_config.json").read_text("utf-8"))
    told["feature_size"] = BANDS
    (folder / "preprocessor_config.json").write_text(json.dumps(told), "utf-8")
    return folder
