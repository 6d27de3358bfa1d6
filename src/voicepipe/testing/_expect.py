"""How a check says what is wrong."""

from __future__ import annotations


def expect(condition: object, sentence: str) -> None:
    """
    Raise the sentence unless the condition holds; unlike ``assert``, also under -O.

    Raises:
        AssertionError: With the sentence.
    """
    if not condition:
        raise AssertionError(sentence)
