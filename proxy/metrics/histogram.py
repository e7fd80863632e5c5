"""A histogram of our own: observed at a third of the library's cost, filled in bulk, read in parts.

prometheus_client's takes observations one by one, walks its bounds, takes two locks, and builds all
of its samples at once when it is read (16 ms at 128 label sets, during which no stream moves). This
one bisects, takes a whole stream's counts at once, and gives its samples as several metrics of the
same name, a piece at a time. It belongs to one thread: the event loop's.

What it exports is held to the library's by a test, sample by sample.
"""

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from time import time
from typing import Final

from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector
from prometheus_client.samples import Exemplar, Sample
from prometheus_client.utils import floatToGoString

from proxy.metrics.table import Definition

PIECE: Final = 200
"""Samples in a piece, about: a millisecond's work."""


class Series:
    """The observations of one label set."""

    __slots__ = ("counts", "edges", "exemplars", "sum")

    def __init__(self, edges: Sequence[float]) -> None:
        self.edges = edges
        self.counts = [0] * (len(edges) + 1)
        self.sum = 0.0
        self.exemplars: dict[int, Exemplar] = {}

    def observe(self, value: float, exemplar: dict[str, str] | None = None) -> None:
        place = bisect_left(self.edges, value)
        self.counts[place] += 1
        self.sum += value
        if exemplar is not None:
            self.exemplars[place] = Exemplar(exemplar, value, time())

    def add(self, counts: Sequence[int], total: float) -> None:
        """Many observations: how many fell into each bucket (the last is +Inf), and their sum."""
        for place, count in enumerate(counts):
            self.counts[place] += count
        self.sum += total


class Histogram(Collector):
    """A family of series, by label values."""

    def __init__(self, definition: Definition) -> None:
        self._definition = definition
        self._bounds = (*map(floatToGoString, definition.edges), "+Inf")
        self._series: dict[tuple[str, ...], Series] = {}
        if not definition.labels:
            self.labels()

    def labels(self, *words: str) -> Series:
        series = self._series.get(words)
        if series is None:
            series = self._series[words] = Series(self._definition.edges)
        return series

    def collect(self) -> Iterator[Metric]:
        piece = self._piece()
        for words, series in tuple(self._series.items()):
            if len(piece.samples) >= PIECE:
                yield piece
                piece = self._piece()
            piece.samples += self._samples(words, series)
        yield piece

    def _piece(self) -> Metric:
        one = self._definition
        return Metric(one.family, one.help, "histogram", one.unit)

    def _samples(self, words: tuple[str, ...], series: Series) -> Iterator[Sample]:
        name = self._definition.family
        labels = dict(zip(self._definition.labels, words, strict=True))
        running = 0
        for place, count in enumerate(series.counts):
            running += count
            bound = {**labels, "le": self._bounds[place]}
            yield Sample(f"{name}_bucket", bound, running, None, series.exemplars.get(place))
        yield Sample(f"{name}_count", labels, running)
        yield Sample(f"{name}_sum", labels, series.sum)
