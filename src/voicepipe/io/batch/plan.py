"""What of the list is to be done: compared with the ledger and the folder."""

from __future__ import annotations

import contextlib
import itertools
from typing import TYPE_CHECKING

import attrs

from voicepipe.errors import BatchError
from voicepipe.io.batch.entries import PLACES
from voicepipe.io.batch.files import still


if TYPE_CHECKING:
    from collections.abc import Generator
    from pathlib import Path

    from voicepipe.io.batch.entries import Entries, Entry
    from voicepipe.io.batch.files import Written
    from voicepipe.io.batch.ledger import Ledger, Result
    from voicepipe.io.batch.listing import Listing
    from voicepipe.io.batch.values import BatchOptions


# Rows that are compared and kept in one transaction.
_ROWS = 256


@attrs.define
class Tally:
    """What has been seen of a list: its rows, and the entries that need no work."""

    rows: int = 0
    duplicates: int = 0
    skipped: int = 0
    failed: int = 0


class Plan:
    """
    Puts a list into the ledger, and gives what of it is to be done.

    Args:
        listing: The list.
        ledger: The ledger of the folder.
        entries: Makes entries of the list's rows.
        folder: Where the WAV files are.
        options: How the batch is run.

    Attributes:
        tally: What has been seen so far.
    """

    def __init__(
        self,
        listing: Listing,
        ledger: Ledger,
        entries: Entries,
        folder: Path,
        *,
        options: BatchOptions,
    ) -> None:
        """Read nothing yet."""
        self.tally: Tally = Tally()
        self._listing = listing
        self._ledger = ledger
        self._entries = entries
        self._folder = folder
        self._options = options
        self._touched: list[tuple[str, Written]] = []

    def enlist(self) -> Generator[Tally, None, None]:
        """
        Put the whole list into the ledger.

        Yields:
            The tally, often.

        Raises:
            BatchError: If the list cannot be read, or the ledger not be used.
            DiskFullError: If the ledger finds no space.
        """
        self._ledger.begin_list()
        with contextlib.closing(self._listing.rows()) as rows:
            while some := list(itertools.islice(rows, _ROWS)):
                self.tally.rows += len(some)
                entries = [entry for row in some for entry in self._entries.of(row)]
                yield from self._compare(entries)
        yield self.tally

    def todo(self, until: int | None) -> Generator[Entry | None, None, None]:
        """
        Read the list once more and give what is to be done.

        The ledger does not keep URLs, which may hold secrets; so they come from the
        list.

        Args:
            until: The last position that counts, ``None`` for all.

        Yields:
            Entries; ``None`` between them, often.

        Raises:
            BatchError: If the list is not what it was; retryable.
        """
        pending = self._pending(until)
        wanted = next(pending, None)
        with contextlib.closing(self._listing.rows()) as rows:
            while wanted is not None:
                row = next(rows, None)
                if row is None:
                    raise self._changed()
                if wanted[0] // PLACES != row.number:
                    yield None
                    continue
                found = {entry.position: entry for entry in self._entries.of(row)}
                while wanted is not None and wanted[0] // PLACES == row.number:
                    entry = found.get(wanted[0])
                    if entry is None or entry.fingerprint != wanted[1]:
                        raise self._changed()
                    yield entry
                    wanted = next(pending, None)

    def _compare(self, entries: list[Entry]) -> Generator[Tally, None, None]:
        """Put some entries into the ledger, each with its status."""
        keys = [entry.key for entry in entries if entry.key is not None]
        known = self._ledger.results(keys)
        judged = []
        for entry in entries:
            judged.append((entry, self._status(entry, known)))
            # Comparing checksums takes its time.
            yield self.tally
        colliding = []
        taken = self._ledger.enlist(judged)
        for (entry, status), earlier in zip(judged, taken, strict=True):
            if earlier is None:
                self._count(status)
            elif earlier == entry.fingerprint:
                self.tally.duplicates += 1
            else:
                colliding.append((_collision(entry), "failed"))
        if colliding:
            self._ledger.enlist(colliding)
            self.tally.failed += len(colliding)
        if self._touched:
            self._ledger.touch(self._touched)
            self._touched.clear()

    def _status(self, entry: Entry, known: dict[str, Result]) -> str:
        if entry.recording is None or entry.key is None:
            return "failed"
        result = known.get(entry.key)
        if result is None or result.fingerprint != entry.fingerprint:
            return "pending"
        if result.written is None:
            return "pending" if self._options.retry_failed else "failed"
        path = self._folder / result.filename
        found = still(path, result.written, verify=self._options.verify)
        if found is None:
            return "pending"
        if found != result.written:
            self._touched.append((entry.key, found))
        return "skipped"

    def _count(self, status: str) -> None:
        self.tally.skipped += status == "skipped"
        self.tally.failed += status == "failed"

    def _pending(self, until: int | None) -> Generator[tuple[int, bytes], None, None]:
        after = -1
        while some := self._ledger.pending(after, _ROWS):
            for position, fingerprint in some:
                if until is not None and position > until:
                    return
                yield position, fingerprint
            after = some[-1][0]

    def _changed(self) -> BatchError:
        msg = f"the list {self._listing.path.name} was changed while it was read"
        return BatchError(msg, retryable=True)


def _collision(entry: Entry) -> Entry:
    return entry._replace(
        recording=None,
        fingerprint=b"",
        cause="NameCollision",
        error="an earlier row asks for a file of the same name, or one that differs "
        "only by upper and lower case",
    )
