"""How errors cross from a helper process to its caller: by name, message and state."""

from __future__ import annotations

import builtins
import os
from types import UnionType
from typing import (
    Any,
    Literal,
    TypeVar,
    Union,
    get_args,
    get_origin,
    get_type_hints,
)

from voicepipe import errors
from voicepipe.errors import VoicepipeError


_Error = TypeVar("_Error", bound=Exception)

# What comes back as itself, or as the nearest of these, beside OSError and ours.
_KEPT = (MemoryError, TypeError, ValueError)

# Enough for any message that is meant for people.
_MAX_MESSAGE = 2_000


def described(exc: Exception) -> dict[str, object]:
    """Give an error as JSON can hold it; the helper's side."""
    kind, message, state = type(exc).__name__, str(exc), {}
    if isinstance(exc, VoicepipeError):
        # Ours are told by their first argument: some say more as a string.
        message = str(exc.args[0]) if exc.args else ""
        state = {k: v for k, v in vars(exc).items() if _plain(v)}
    else:
        kind = next((kept.__name__ for kept in _KEPT if isinstance(exc, kept)), kind)
    if isinstance(exc, OSError) and isinstance(exc.errno, int):
        kind = kind if isinstance(exc, VoicepipeError) else "OSError"
        state |= {"errno": exc.errno, "strerror": str(exc.strerror or "")}
        if isinstance(exc.filename, str | bytes):
            state["filename"] = os.fsdecode(exc.filename)
    return {"kind": kind, "message": message[:_MAX_MESSAGE], "state": state}


def rebuilt(failure: object) -> Exception:
    """
    Make the error again; the caller's side, which trusts nothing.

    Args:
        failure: What ``described`` gave, through JSON, or anything else.

    Returns:
        One of voicepipe's errors, of Python's ``OSError`` family, ``MemoryError``,
        ``TypeError`` or ``ValueError``; for any other a ``RuntimeError`` with its name.

    Raises:
        ValueError: If it is no description of an error.
    """
    match failure:
        case {"kind": str(kind), "message": str(message), "state": dict(state)}:
            message = message[:_MAX_MESSAGE]
        case _:
            raise ValueError("no description of an error")
    try:
        return _rebuilt(kind, message, state)
    except (ArithmeticError, TypeError) as exc:
        raise ValueError(f"no state of a {kind[:100]}") from exc


def _rebuilt(kind: str, message: str, state: dict[str, Any]) -> Exception:
    if kind in errors.__all__:
        return _ours(getattr(errors, kind), message, state)
    for kept in _KEPT:
        if kind == kept.__name__:
            return kept(message) if message else kept()
    builtin = getattr(builtins, kind, None)
    if isinstance(builtin, type) and issubclass(builtin, OSError):
        return _system(builtin, message, state)
    return RuntimeError(f"{kind[:100]}: {message}")


def _ours(
    kind: type[VoicepipeError], message: str, state: dict[str, Any]
) -> VoicepipeError:
    """Construct the error from what its constructor takes, and from nothing else."""
    wanted = get_type_hints(kind.__init__)
    wanted.pop("return", None)
    if not wanted and issubclass(kind, OSError):
        return _system(kind, message, state)
    if not wanted:
        return kind(message)
    told = {"message": message, **state}
    return kind(**{k: _checked(told[k], wanted[k]) for k in wanted if k in told})


def _system(kind: type[_Error], message: str, state: dict[str, Any]) -> _Error:
    if "errno" not in state:
        return kind(message)
    # OSError picks its own subclass.
    return kind(
        _checked(state["errno"], int),
        _checked(state.get("strerror", ""), str),
        _checked(state.get("filename"), str | None),
    )


def _checked(value: object, wanted: Any) -> object:
    union = get_origin(wanted) in {Union, UnionType}
    kinds = get_args(wanted) if union else (wanted,)
    for kind in kinds:
        literal = get_origin(kind) is Literal
        if value in get_args(kind) if literal else isinstance(value, kind):
            return value
    if type(value) is int and float in kinds:
        return float(value)
    raise TypeError(f"a {type(value).__name__} is not wanted here")


def _plain(value: object) -> bool:
    return value is None or isinstance(value, bool | int | float | str)
