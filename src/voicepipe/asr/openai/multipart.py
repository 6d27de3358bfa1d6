"""Forms with a file in them (RFC 7578)."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING

from voicepipe.net.body import Body


if TYPE_CHECKING:
    from collections.abc import Iterable

    from voicepipe.asr.openai.encode import SoundFile


# RFC 7578 leaves open how a name is quoted; this is how browsers do it (WHATWG HTML,
# multipart/form-data encoding algorithm), and what servers undo.
_QUOTED = str.maketrans({'"': "%22", "\r": "%0D", "\n": "%0A"})


def form_with_file(fields: Iterable[tuple[str, str]], file: SoundFile) -> Body:
    """
    Write a form.

    Args:
        fields: Names and values, in their order; a name may come more than once. Values
            are sent as they are, in UTF-8.
        file: What to send as the field ``file``.
    """
    # 128 random bits: nobody can write a value that ends its own part.
    boundary = f"voicepipe-{secrets.token_hex(16)}"
    head = "".join(
        f"--{boundary}\r\nContent-Disposition: form-data; "
        f'name="{name.translate(_QUOTED)}"\r\n\r\n{value}\r\n'
        for name, value in fields
    )
    head += (
        f'--{boundary}\r\nContent-Disposition: form-data; name="file"; '
        f'filename="{file.name.translate(_QUOTED)}"\r\n'
        f"Content-Type: {file.content_type}\r\n\r\n"
    )
    tail = f"\r\n--{boundary}--\r\n"
    return Body(
        content_type=f"multipart/form-data; boundary={boundary}",
        parts=(
            head.encode("utf-8", "replace"),
            file.data,
            tail.encode("ascii"),
        ),
    )
