"""The page that Prometheus reads: rendered in slices, and merged of several workers' figures.

Rendering a big page at once would stall every stream (97 ms at 64 models), so it is done in slices
of ``SLICE`` samples with a turn of the event loop between; the bytes are those of rendering it
whole. A metric may come in several pieces, one after the other.

A snapshot is a worker's figures on their way to its parent, which merges them: counters and
histograms are summed, gauges as ``table.py`` says, and what belongs to a process (``process_*``,
``python_*``) is kept apart by the label ``worker``.

Source: OpenMetrics 1.0; the Prometheus text format 0.0.4. The library does the encoding.
"""

import asyncio
import marshal
import re
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence
from typing import Any, Final, NamedTuple

from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector
from prometheus_client.samples import Exemplar, Sample

from proxy.metrics.histogram import PIECE
from proxy.metrics.table import MERGES

SLICE: Final = PIECE + 50
"""Samples rendered in one go: a millisecond or two."""
_EOF: Final = b"# EOF\n"
_HEAD: Final = re.compile(rb"^#[^\n]*\n", re.MULTILINE)

Labels = tuple[tuple[str, str], ...]
Row = tuple[str, Labels, float, tuple[Any, ...] | None]
"""Sample name, labels, value, exemplar (labels, value, time)."""


class Family(NamedTuple):
    """A metric's samples as plain values, which ``marshal`` can carry."""

    name: str
    help: str
    kind: str
    unit: str
    rows: list[Row]


class _Whole(Collector):
    """One metric in the shape of a registry, as encoders want it."""

    def __init__(self, metric: Metric) -> None:
        self._metric = metric

    def collect(self) -> Iterator[Metric]:
        yield self._metric


async def page(metrics: Iterable[Metric], accept: str) -> tuple[bytes, str]:
    """The page and its content type, in the format that ``accept`` asks for."""
    encode, kind = choose_encoder(accept)
    parts = [part async for part in _parts(metrics, encode)]
    if "openmetrics" in kind:
        parts.append(_EOF)
    return b"".join(parts), kind


async def _parts(
    metrics: Iterable[Metric], encode: Callable[[Collector], bytes]
) -> AsyncIterator[bytes]:
    before = ""
    for metric in metrics:
        for start in range(0, max(len(metric.samples), 1), SLICE):
            part = Metric(metric.name, metric.documentation, metric.type, metric.unit)
            part.samples = metric.samples[start : start + SLICE]
            data = encode(_Whole(part)).removesuffix(_EOF)
            yield _HEAD.sub(b"", data) if metric.name == before else data
            before = metric.name
            await asyncio.sleep(0)


async def snapshot(metrics: Iterable[Metric]) -> bytes:
    """The figures as bytes, taken with a turn of the event loop between families."""
    families: list[bytes] = []
    for metric in metrics:
        rows = [
            (sample.name, tuple(sample.labels.items()), sample.value, _packed(sample.exemplar))
            for sample in metric.samples
        ]
        family = (metric.name, metric.documentation, metric.type, metric.unit, rows)
        families.append(marshal.dumps(family))
        await asyncio.sleep(0)
    return marshal.dumps(families)


def unpack(data: bytes) -> list[Family]:
    """What ``snapshot`` packed, in another process of the same interpreter."""
    return [Family(*marshal.loads(family)) for family in marshal.loads(data)]


def _packed(exemplar: Exemplar | None) -> tuple[Any, ...] | None:
    if exemplar is None:
        return None
    return (dict(exemplar.labels), exemplar.value, exemplar.timestamp)


class Merged:
    """Several workers' families, added up one after another."""

    def __init__(self) -> None:
        self._heads: dict[str, Family] = {}
        self._sums: dict[str, dict[tuple[str, Labels], tuple[float, tuple[Any, ...] | None]]] = {}

    def add(self, families: Sequence[Family], worker: str) -> None:
        """Add a living worker's families."""
        for family in families:
            how = MERGES.get(family.name)
            mark: Labels = () if how else (("worker", worker),)
            self._take(family, how or "sum", mark)

    def add_departed(self, families: Sequence[Family]) -> None:
        """Add what a worker had counted before it ended: its gauges ended with it."""
        for family in families:
            if MERGES.get(family.name) == "sum" and family.kind in {"counter", "histogram"}:
                self._take(family, "sum", ())

    def families(self) -> list[Family]:
        return [
            head._replace(rows=[(*key, *kept) for key, kept in self._sums[name].items()])
            for name, head in self._heads.items()
        ]

    def metrics(self) -> Iterator[Metric]:
        """As the library's metrics, ready for ``page``."""
        for family in self.families():
            metric = Metric(family.name, family.help, family.kind, family.unit)
            metric.samples = [
                Sample(name, dict(labels), value, None, Exemplar(*kept) if kept else None)
                for name, labels, value, kept in family.rows
            ]
            yield metric

    def _take(self, family: Family, how: str, mark: Labels) -> None:
        self._heads.setdefault(family.name, family)
        known = self._sums.setdefault(family.name, {})
        for name, labels, value, exemplar in family.rows:
            key = (name, labels + mark)
            before = known.get(key)
            if before is None:
                known[key] = (value, exemplar)
                continue
            known[key] = (_joined(how, before[0], value), _newer(before[1], exemplar))


def _joined(how: str, one: float, other: float) -> float:
    if how == "sum":
        return one + other
    return max(one, other) if how == "max" else min(one, other)


def _newer(one: tuple[Any, ...] | None, other: tuple[Any, ...] | None) -> tuple[Any, ...] | None:
    if one is None or other is None:
        return one or other
    return one if (one[2] or 0) >= (other[2] or 0) else other
