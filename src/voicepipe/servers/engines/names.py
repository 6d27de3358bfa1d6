"""Engines as settings name them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs

from voicepipe.errors import SettingsError


if TYPE_CHECKING:
    from collections.abc import Mapping


@attrs.frozen
class EngineName:
    """
    An engine as settings name it: ``pocketsphinx``, ``whisper:small``.

    Attributes:
        kind: What comes before the colon.
        model: What comes after it; empty for an engine that is but one.
    """

    kind: str
    model: str = ""

    def __str__(self) -> str:
        """Write it as it is read."""
        return f"{self.kind}:{self.model}" if self.model else self.kind


def parse_engine(text: str, kinds: Mapping[str, str], variable: str) -> EngineName:
    """
    Read an engine's name.

    Args:
        text: Such as ``"whisper:small"``.
        kinds: The kinds that there are, each with what its model is called in messages;
            empty for a kind without models.
        variable: Where the text is from.

    Raises:
        SettingsError: If it names none; the message does not hold it.
    """
    kind, _, model = text.partition(":")
    name = EngineName(kind, model.strip())
    if kind not in kinds or bool(name.model) != bool(kinds[kind]) or str(name) != text:
        *most, last = (f"{kind}:{of}" if of else kind for kind, of in kinds.items())
        wanted = f"{', '.join(most)} or {last}" if most else last
        raise SettingsError(variable, f"must be {wanted}")
    return name
