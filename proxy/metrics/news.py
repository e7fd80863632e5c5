"""What discovery and the credentials have to tell, as metrics.

Both rooms know an observer only by its shape, so neither sees Prometheus.
"""

from proxy.metrics.registry import Metrics
from proxy.metrics.table import REFRESHES


class DiscoveryNews:
    """Discovery's observer: times in seconds, ``at`` in unix time."""

    def __init__(self, metrics: Metrics, interval: float) -> None:
        self._metrics = metrics
        metrics.discovery_interval.set(interval)

    def refreshed(self, region: str, outcome: str, seconds: float) -> None:
        for one in REFRESHES:
            self._metrics.discovery_refreshes.labels(region, one)
        self._metrics.discovery_success.labels(region)  # 0 until there was one, for the alert
        self._metrics.discovery_refreshes.labels(region, outcome).inc()
        self._metrics.discovery_duration.labels(region).observe(seconds)

    def listed(self, region: str, kind: str, count: int) -> None:
        self._metrics.discovered_models.labels(region, kind).set(count)

    def succeeded(self, region: str, at: float) -> None:
        self._metrics.discovery_success.labels(region).set(at)


def credentials_news(metrics: Metrics, source: str, outcome: str, expiry: float | None) -> None:
    """An attempt to get credentials from ``source``; ``expiry`` in unix time, if they end.

    The source ``none`` (behind a target's name) is that of none that ever came: they have ended.
    """
    metrics.credentials_refreshes.labels(source, outcome).inc()
    name, space, word = source.rpartition(" ")
    if word == "none":
        metrics.credentials_expiry.labels(source).set(0)
        return
    metrics.credentials_expiry.remove(f"{name}{space}none")
    metrics.credentials_expiry.labels(source).set(float("inf") if expiry is None else expiry)
