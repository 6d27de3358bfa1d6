"""What all errors have in common."""

from __future__ import annotations


class VoicepipeError(Exception):
    """
    Base of every error that voicepipe raises on purpose.

    Attributes:
        retryable: Whether the same call may succeed later without any change.
    """

    retryable: bool = False


class MissingExtraError(VoicepipeError, ImportError):
    """
    An optional package is needed and not installed.

    Attributes:
        extra: The extra of voicepipe that brings the package, such as ``"sql"``.
        package: The import name that was not found.
    """

    def __init__(self, package: str, extra: str = "all") -> None:
        """Name the missing package and the extra that brings it."""
        super().__init__(
            f"{package!r} is not installed; run: pip install 'voicepipe[{extra}]'"
        )
        self.package: str = package
        self.extra: str = extra

    def __reduce__(self) -> tuple[type[MissingExtraError], tuple[str, str]]:
        """Pickle by the names: the message is derived from them."""
        return (type(self), (self.package, self.extra))


class DiskFullError(VoicepipeError, OSError):
    """
    There is no space left to write to, or no quota.

    Attributes:
        errno: As of any ``OSError``: ``ENOSPC`` or ``EDQUOT``.
        filename: The file that was written.
    """

    retryable = True


class ChildCrashedError(VoicepipeError):
    """
    A helper process died during a call; the next call gets a fresh one.

    Attributes:
        returncode: The exit status; negative is the number of the killing signal,
            ``None`` where it could not be told.
    """

    retryable: bool = True

    def __init__(self, message: str, *, returncode: int | None = None) -> None:
        """Keep the exit status."""
        super().__init__(message)
        self.returncode: int | None = returncode


class SettingsError(VoicepipeError, ValueError):
    """
    A setting is wrong, or two do not go together; the message names the variable.

    Attributes:
        variable: The variable's name.
        wanted: What it must be, beginning with "must".
    """

    def __init__(self, variable: str, wanted: str = "must be set") -> None:
        """Say what the variable must be."""
        super().__init__(f"{variable} {wanted}")
        self.variable: str = variable
        self.wanted: str = wanted

    def __reduce__(self) -> tuple[type[SettingsError], tuple[str, str]]:
        """Pickle by the parts: the message is derived from them."""
        return (type(self), (self.variable, self.wanted))
