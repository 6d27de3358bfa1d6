"""Words that redaction goes by, in their ``plain`` form; written for this library."""

from __future__ import annotations

import importlib.resources
import json
from types import MappingProxyType
from typing import TYPE_CHECKING


if TYPE_CHECKING:
    from collections.abc import Mapping


_FILE = importlib.resources.files("voicepipe.analysis.redaction") / "words.json"

WORDS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        name: tuple(" ".join(rows).split())
        for name, rows in json.loads(_FILE.read_text("utf-8")).items()
    }
)
"""
The lists by name, in English, German, Spanish and French where no language is said.

``xx_units``, ``xx_teens``, ``xx_tens``: numbers in their order, from 0, 10 and 20 (in
Spanish 30) on; ``en_misspelt`` is 40 as many write it, ``es_double`` twice a digit.
``fillers`` and ``signs_said`` do not interrupt a number. ``phone``,
``card``, ``number`` and ``other`` are said before numbers, ``units`` behind amounts.
``at``, ``dot`` and ``joints`` hold addresses together, ``endings`` are theirs, and
``sentence`` is before "at" where it is no address.
"""
