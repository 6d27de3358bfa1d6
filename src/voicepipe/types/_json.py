"""JSON for the frozen values: one cattrs converter, one pair of functions."""

from __future__ import annotations

import functools
import json
from typing import TYPE_CHECKING, TypeVar


if TYPE_CHECKING:
    from cattrs.preconf.json import JsonConverter


T = TypeVar("T")


@functools.cache
def _converter() -> JsonConverter:
    # Building the converter costs tens of milliseconds, so it waits for its first use.
    from cattrs.preconf.json import make_converter

    return make_converter()


def to_json(value: object, *, indent: int | None = None) -> str:
    """
    Write a frozen value as JSON text; times stay float seconds.

    Raises:
        ValueError: If a number is not finite (JSON has no NaN).
    """
    data = _converter().unstructure(value)
    return json.dumps(data, indent=indent, ensure_ascii=False, allow_nan=False)


def from_json(text: str, kind: type[T]) -> T:
    """
    Read what ``to_json`` wrote; unknown fields are ignored, missing ones are errors.

    Raises:
        ValueError: If the text is not JSON, or not of this kind.
    """
    converter = _converter()
    from cattrs.errors import BaseValidationError

    try:
        return converter.structure(json.loads(text), kind)
    except (
        BaseValidationError,
        AttributeError,
        LookupError,
        RecursionError,
        TypeError,
    ) as exc:
        msg = f"this JSON does not describe a {kind.__name__}"
        raise ValueError(msg) from exc
