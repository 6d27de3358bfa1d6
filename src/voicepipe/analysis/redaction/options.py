"""What is taken out of a transcript."""

from __future__ import annotations

from typing import Literal, TypeAlias, get_args

import attrs


RedactionKind: TypeAlias = Literal["card", "email", "iban", "phone"]
"""What can be taken out: payment cards, e-mail addresses, IBANs, telephone numbers."""

KINDS: tuple[RedactionKind, ...] = get_args(RedactionKind)


def _check_kinds(_: object, __: object, kinds: tuple[RedactionKind, ...]) -> None:
    unknown = set(kinds) - set(KINDS)
    if unknown:
        msg = f"unknown kinds: {sorted(unknown)}; there are {', '.join(KINDS)}"
        raise ValueError(msg)


@attrs.frozen(kw_only=True)
class RedactionOptions:
    """
    What redaction takes out.

    Attributes:
        kinds: The kinds that go; all of them by default. What is one of the others
            stays as it is: a card number is no telephone number, wanted or not.

    Raises:
        ValueError: If a kind is not known.
    """

    kinds: tuple[RedactionKind, ...] = attrs.field(
        default=KINDS, validator=_check_kinds
    )


def mark(kind: RedactionKind) -> str:
    """Give what stands in the place of what was taken out, such as ``[card]``."""
    return f"[{kind}]"
