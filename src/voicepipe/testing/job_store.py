"""The law of job stores."""

from __future__ import annotations

from typing import TYPE_CHECKING

from voicepipe.errors import JobNotFoundError, JobStateError, LeaseLostError
from voicepipe.testing import job_store_claims as claims
from voicepipe.testing import job_store_ends as ends
from voicepipe.testing import job_store_shelf as shelf


if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractAsyncContextManager

    from voicepipe.protocols import JobStore


_LAWS = (
    shelf.adds_and_gives,
    shelf.adds_once,
    shelf.lists,
    claims.claims_the_oldest,
    claims.claims_by_name,
    claims.claims_each_job_once,
    claims.ends_leases,
    claims.extends_leases,
    claims.tells_progress,
    claims.releases,
    claims.counts_tries,
    shelf.lists_changes,
    shelf.keeps,
    shelf.edits,
    ends.finishes,
    ends.fails,
    ends.retries,
    ends.queues,
    ends.cancels,
    ends.deletes,
    ends.prunes,
)


async def check_job_store(
    make_store: Callable[[], AbstractAsyncContextManager[JobStore]],
) -> None:
    """
    Check a job store against the law of its protocol.

    Takes about a second beside the store's own time, most of it waiting for short
    leases to end: the store must run on the real clock.

    Args:
        make_store: Gives a store without jobs, as an asynchronous context manager that
            is left when one part of the law has been checked. Called once for each
            part. A ``SqlJobStore`` is such a context manager itself.

    Raises:
        AssertionError: If something does not hold.
        StoreError: If the store itself fails.

    Example:
        >>> from voicepipe import SqlJobStore
        >>> anyio.run(check_job_store, lambda: SqlJobStore(":memory:"))
    """
    for law in _LAWS:
        async with make_store() as store:
            try:
                await law(store)
            except (JobNotFoundError, JobStateError, LeaseLostError) as exc:
                msg = (
                    f"a store refused what the law allows: {type(exc).__name__}: {exc}"
                )
                raise AssertionError(msg) from exc
