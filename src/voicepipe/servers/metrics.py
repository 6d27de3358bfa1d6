"""
Counts of a server for Prometheus, which cost next to nothing while it works.

``prometheus_client`` writes them out; its own counters take a lock for each message.
These belong to one thread, the event loop's.
"""

from __future__ import annotations

from bisect import bisect_left
from typing import TYPE_CHECKING, Any, TypeVar

from voicepipe.errors import MissingExtraError


try:
    import prometheus_client
    from prometheus_client.core import (
        CounterMetricFamily,
        GaugeMetricFamily,
        HistogramMetricFamily,
    )
    from prometheus_client.registry import Collector
except ImportError as _missing:
    raise MissingExtraError("prometheus_client", extra="servers") from _missing


if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from prometheus_client.core import Metric


_Kind = TypeVar("_Kind", bound="Count | CountBy | Timings")

CONTENT_TYPE = prometheus_client.CONTENT_TYPE_LATEST
"""The media type of ``Metrics.text``."""

ANSWER_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0)
"""Upper bounds for the time until an answer, seconds."""


class Count:
    """
    A number that grows.

    Attributes:
        value: The number; add to it.
    """

    __slots__ = ("_help", "_name", "value")

    def __init__(self, name: str, description: str) -> None:
        """Begin with nothing."""
        self._name = name
        self._help = description
        self.value: int = 0

    def family(self) -> Metric:
        """Give it as Prometheus has it."""
        return CounterMetricFamily(self._name, self._help, value=self.value)


class CountBy:
    """
    Numbers that grow, one for each value of a label.

    Args:
        name: Its name, without ``_total``.
        description: What is counted.
        label: What the numbers are told apart by.
        values: All values of the label, so that each is there from the beginning.
    """

    def __init__(
        self, name: str, description: str, label: str, values: Iterable[str]
    ) -> None:
        """Begin with nothing of each."""
        self._name = name
        self._help = description
        self._label = label
        self._counts = dict.fromkeys(values, 0)

    def add(self, value: str) -> None:
        """
        Count one.

        Raises:
            KeyError: If the label has no such value.
        """
        self._counts[value] += 1

    def family(self) -> Metric:
        """Give it as Prometheus has it."""
        family = CounterMetricFamily(self._name, self._help, labels=[self._label])
        for value, count in self._counts.items():
            family.add_metric([value], count)
        return family


class Timings:
    """
    How many took how long.

    Args:
        name: Its name, with its unit, ``_seconds``.
        description: What is timed.
        bounds: Upper bounds of the classes, seconds, ascending.
    """

    def __init__(
        self, name: str, description: str, bounds: Sequence[float] = ANSWER_S
    ) -> None:
        """Begin with nothing."""
        self._name = name
        self._help = description
        self._bounds = tuple(bounds)
        self._counts = [0] * (len(self._bounds) + 1)
        self._sum_s = 0.0

    def add(self, seconds: float) -> None:
        """Count one."""
        self._counts[bisect_left(self._bounds, seconds)] += 1
        self._sum_s += seconds

    def family(self) -> Metric:
        """Give it as Prometheus has it."""
        buckets: list[tuple[str, float]] = []
        total = 0
        for bound, count in zip([*self._bounds, None], self._counts, strict=True):
            total += count
            buckets.append(("+Inf" if bound is None else f"{bound:g}", total))
        family = HistogramMetricFamily(self._name, self._help)
        family.add_metric([], buckets=buckets, sum_value=self._sum_s)
        return family


class Metrics(Collector):
    """
    What a server tells Prometheus: its own numbers, and its process's.

    Args:
        prefix: What the names begin with, such as ``voicepipe_stream``.
    """

    def __init__(self, prefix: str) -> None:
        """Begin with the process's numbers."""
        self._prefix = prefix
        self._kept: list[Count | CountBy | Timings] = []
        self._gauges: list[tuple[str, str, Callable[[], float]]] = []
        # Not the global one: two apps may live in one process.
        self._registry = prometheus_client.CollectorRegistry()
        prometheus_client.ProcessCollector(registry=self._registry)
        self._registry.register(self)

    def count(self, name: str, description: str) -> Count:
        """Add a number that grows."""
        return self._keep(Count(f"{self._prefix}_{name}", description))

    def count_by(
        self, name: str, description: str, label: str, values: Iterable[str]
    ) -> CountBy:
        """Add numbers that grow, one for each value of a label."""
        return self._keep(CountBy(f"{self._prefix}_{name}", description, label, values))

    def timings(self, name: str, description: str) -> Timings:
        """Add how many took how long."""
        return self._keep(Timings(f"{self._prefix}_{name}", description))

    def gauge(self, name: str, description: str, value: Callable[[], float]) -> None:
        """Add a number that is looked up when it is asked for."""
        self._gauges.append((f"{self._prefix}_{name}", description, value))

    def text(self) -> bytes:
        """Give all of it, in Prometheus's text format."""
        return prometheus_client.generate_latest(self._registry)

    def collect(self) -> Iterator[Metric]:
        """Give all families; ``prometheus_client`` calls it."""
        for kept in self._kept:
            yield kept.family()
        for name, description, value in self._gauges:
            yield GaugeMetricFamily(name, description, value=value())

    def describe(self) -> Iterator[Any]:
        """Give nothing: what is looked up may not be there yet."""
        yield from ()

    def _keep(self, kept: _Kind) -> _Kind:
        self._kept.append(kept)
        return kept
