"""
A form with one file, read while it comes: RFC 7578, RFC 2046 section 5.1.

The framework's own reader puts a file into a temporary folder first, and takes as many
fields as are sent.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import anyio.to_thread
from problems import Refused
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header
from starlette.requests import ClientDisconnect
from uploads import tidy_name


if TYPE_CHECKING:
    from collections.abc import Sequence

    from starlette.requests import Request
    from uploads import Part


MAX_PARTS = 16
OTHER_BYTES = 64 << 10
"""What may be in a form besides the file in it, all together."""

_BUFFER_BYTES = 1 << 20


class FileForm:
    """
    Takes the file of a form out of its bytes.

    Args:
        boundary: What stands between the parts.
        field: The name of the file's field.
        extensions: Endings that the file's name may have, in lower case.
        max_bytes: The largest file.

    Attributes:
        filename: What the client calls its file; ``None`` before the file comes.
        ended: Whether the form's own end has come.
    """

    def __init__(
        self, boundary: bytes, field: str, extensions: Sequence[str], max_bytes: int
    ) -> None:
        """Begin before the first byte."""
        self._field = field
        self._extensions = extensions
        self._left = max_bytes
        self._max_bytes = max_bytes
        self._other_left = OTHER_BYTES
        self._parts = 0
        self._header = [b"", b""]
        self._disposition = b""
        self._in_file = False
        self._pieces: list[bytes] = []
        self.filename: str | None = None
        self.ended: bool = False
        try:
            self._parser = MultipartParser(
                boundary,
                {
                    "on_part_begin": self._begin,
                    "on_part_data": self._data,
                    "on_header_field": self._header_field,
                    "on_header_value": self._header_value,
                    "on_header_end": self._header_end,
                    "on_headers_finished": self._headers_end,
                    "on_end": self._end,
                },
            )
        except FormParserError as exc:
            raise Refused(400, "the form's boundary is too long") from exc

    def push(self, data: bytes) -> list[bytes]:
        """
        Take bytes of the form; give those of the file.

        Raises:
            Refused: If it is no form, has too much in it, or a file that is not taken.
        """
        try:
            self._parser.write(data)
        except FormParserError as exc:
            raise Refused(400, "the form is broken") from exc
        pieces, self._pieces = self._pieces, []
        return pieces

    def _begin(self) -> None:
        self._parts += 1
        if self._parts > MAX_PARTS:
            raise Refused(400, f"the form has more than {MAX_PARTS} parts")
        self._disposition = b""
        self._in_file = False

    def _header_field(self, data: bytes, start: int, end: int) -> None:
        self._count(end - start)
        self._header[0] += data[start:end]

    def _header_value(self, data: bytes, start: int, end: int) -> None:
        self._count(end - start)
        self._header[1] += data[start:end]

    def _header_end(self) -> None:
        name, value = self._header
        self._header = [b"", b""]
        if name.lower() == b"content-disposition":
            self._disposition = value

    def _headers_end(self) -> None:
        _, options = parse_options_header(self._disposition)
        given = options.get(b"filename")
        if options.get(b"name") != self._field.encode() or not given:
            return
        if self.filename is not None:
            raise Refused(400, "the form has more than one file")
        self._in_file = True
        self.filename = tidy_name(given.decode("utf-8", "replace"))
        ending = self.filename.rpartition(".")[2].lower()
        if "." not in self.filename or ending not in self._extensions:
            known = ", ".join(self._extensions)
            raise Refused(415, f"the file's name must end in one of: {known}")

    def _data(self, data: bytes, start: int, end: int) -> None:
        if not self._in_file:
            self._count(end - start)
            return
        self._left -= end - start
        if self._left < 0:
            raise Refused(413, f"the file is larger than {self._max_bytes} bytes")
        self._pieces.append(data[start:end])

    def _end(self) -> None:
        self.ended = True

    def _count(self, size: int) -> None:
        self._other_left -= size
        if self._other_left < 0:
            raise Refused(400, "the form has too much in it besides the file")


async def receive_file(
    request: Request, part: Part, extensions: Sequence[str], max_bytes: int
) -> str:
    """
    Write a form's file, as it comes.

    Args:
        request: A form's; its body must not have been read.
        part: Where to.
        extensions: Endings that the file's name may have, in lower case.
        max_bytes: The largest file.

    Returns:
        What the client calls the file.

    Raises:
        Refused: If there is no file in it, or one that is not taken.
        OSError: If it cannot be stored.
    """
    kind, options = parse_options_header(request.headers.get("content-type"))
    boundary = options.get(b"boundary")
    if kind != b"multipart/form-data" or not boundary:
        raise Refused(400, 'send a form (multipart/form-data) with a "file" in it')
    form = FileForm(boundary, "file", extensions, max_bytes)
    waiting: list[bytes] = []
    try:
        async for data in request.stream():
            waiting += form.push(data)
            if sum(map(len, waiting)) >= _BUFFER_BYTES:
                await anyio.to_thread.run_sync(part.write, waiting)
                waiting = []
    except ClientDisconnect as exc:
        raise Refused(400, "the form breaks off") from exc
    if form.filename is None:
        raise Refused(400, 'there is no "file" in the form')
    if not form.ended:
        raise Refused(400, "the form breaks off")
    await anyio.to_thread.run_sync(part.write, waiting)
    await anyio.to_thread.run_sync(part.close)
    return form.filename
