"""
Statements handed to SQLite's driver as text.

SQLAlchemy writes each of them down once. To carry one out and give its rows it takes
longer than SQLite does (``benchmarks/jobs.py``), so that is left to the driver.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import attrs


if TYPE_CHECKING:
    import sqlite3
    from typing import Self

    from sqlalchemy import Delete, Dialect, Insert, Select, Update


@attrs.frozen(kw_only=True)
class Prepared:
    """
    A statement whose text never changes.

    Attributes:
        text: What SQLite is given.
        fixed: Values of the parameters that SQLAlchemy has added, as for ``LIMIT``.
        names: Of the columns of its rows; empty where it gives none.
    """

    text: str
    fixed: Mapping[str, Any]
    names: tuple[str, ...]

    @classmethod
    def of(
        cls, statement: Insert | Update | Delete | Select[Any], dialect: Dialect
    ) -> Self:
        """Write a statement down, for a dialect of SQLite with named parameters."""
        compiled = statement.compile(dialect=dialect)
        fixed = {k: v for k, v in compiled.params.items() if v is not None}
        names = tuple(map(str, statement.exported_columns.keys()))
        return cls(text=str(compiled), fixed=fixed, names=names)

    def rows(
        self, connection: sqlite3.Connection, given: Mapping[str, Any]
    ) -> list[dict[str, Any]]:
        """Carry it out with these parameters, and give all its rows."""
        cursor = connection.execute(self.text, {**self.fixed, **given})
        # To the end: only then has SQLite written what it has to write.
        found = cursor.fetchall()
        return [dict(zip(self.names, row, strict=True)) for row in found]
