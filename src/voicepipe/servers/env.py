"""
Settings out of the environment and a ``.env`` file.

No message ever holds a value: the variable that is wrong may be the one with the key.
"""

from __future__ import annotations

import math
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING

from voicepipe.errors import MissingExtraError, SettingsError


if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


# int() and float() also take "1_000", other scripts and thousands of digits.
_INTEGER = re.compile(r"[+-]?[0-9]{1,18}", re.ASCII)
_NUMBER = re.compile(r"[+-]?[0-9]{1,18}(?:\.[0-9]{0,18})?", re.ASCII)

_FLAGS = {
    **dict.fromkeys(("1", "true", "yes", "on"), True),
    **dict.fromkeys(("0", "false", "no", "off"), False),
}


def read_env(folder: str | os.PathLike[str]) -> dict[str, str]:
    """
    Give the process's environment over a folder's ``.env`` file.

    A variable that is set in the environment wins, also where it is set to nothing.
    ``os.environ`` stays as it is. ``${NAME}`` in the file is not expanded.

    Raises:
        MissingExtraError: If ``python-dotenv`` is not installed.
        OSError: If the file is there and cannot be read.
        SettingsError: If the file is not UTF-8.
    """
    try:
        import dotenv  # noqa: PLC0415 - only here
    except ImportError as exc:
        raise MissingExtraError("dotenv", extra="servers") from exc
    path = Path(folder) / ".env"
    written: dict[str, str | None] = {}
    if path.exists():
        try:
            # Editors on Windows begin a file with a byte order mark.
            written = dotenv.dotenv_values(
                path, interpolate=False, encoding="utf-8-sig"
            )
        except UnicodeDecodeError as exc:
            raise SettingsError(".env", "must be UTF-8") from exc
    return {k: v for k, v in written.items() if v is not None} | dict(os.environ)


def env_text(env: Mapping[str, str], name: str, default: str = "") -> str:
    """
    Give a text, without the white space round it; the default where it is empty.

    Raises:
        SettingsError: If it has control characters in it.
    """
    text = env.get(name, "").strip()
    if any(ord(char) < 32 or ord(char) == 127 for char in text):
        raise SettingsError(name, "must not have control characters in it")
    return text or default


def env_choice(
    env: Mapping[str, str], name: str, choices: Sequence[str], default: str
) -> str:
    """
    Give one of several words.

    Raises:
        SettingsError: If it is none of them.
    """
    text = env_text(env, name, default)
    if text not in choices:
        raise SettingsError(name, f"must be one of {', '.join(choices)}")
    return text


def env_int(
    env: Mapping[str, str],
    name: str,
    default: int,
    *,
    low: int = 0,
    high: int = 2**53,
) -> int:
    """
    Give a whole number.

    Raises:
        SettingsError: If it is none, or not from ``low`` to ``high``.
    """
    text = env_text(env, name)
    if not text:
        return default
    value = int(text) if _INTEGER.fullmatch(text) else None
    if value is None or not low <= value <= high:
        raise SettingsError(name, f"must be a whole number from {low} to {high}")
    return value


def env_float(
    env: Mapping[str, str],
    name: str,
    default: float,
    *,
    low: float = 0.0,
    high: float = math.inf,
) -> float:
    """
    Give a number, such as ``2.5``; no exponents, no infinity.

    Raises:
        SettingsError: If it is none, or not from ``low`` to ``high``.
    """
    text = env_text(env, name)
    if not text:
        return default
    value = float(text) if _NUMBER.fullmatch(text) else math.nan
    if not low <= value <= high:
        top = "" if math.isinf(high) else f" to {high:g}"
        raise SettingsError(name, f"must be a number from {low:g}{top}")
    return value


def env_bool(env: Mapping[str, str], name: str, *, default: bool) -> bool:
    """
    Give a switch: 1, true, yes, on; 0, false, no, off.

    Raises:
        SettingsError: If it is none of these.
    """
    text = env_text(env, name)
    if not text:
        return default
    if text.lower() not in _FLAGS:
        raise SettingsError(name, "must be 1 or 0")
    return _FLAGS[text.lower()]


def env_list(
    env: Mapping[str, str], name: str, default: Sequence[str] = ()
) -> tuple[str, ...]:
    """
    Give the parts between commas, without white space, none empty or twice.

    Raises:
        SettingsError: If there are control characters in it.
    """
    parts = (part.strip() for part in env_text(env, name).split(","))
    return tuple(dict.fromkeys(part for part in parts if part)) or tuple(default)
