"""What is measured: ``Metrics`` holds every metric, ``Record`` the numbers of one request.

``table.py`` defines them (name, labels, buckets, meaning), ``registry.py`` writes them,
``exposition.py`` renders the page and merges several workers' pages, ``workers.py`` is how workers
and their parent talk, ``lag.py`` watches the event loop.
"""

from proxy.metrics.record import Record
from proxy.metrics.registry import Metrics

__all__ = ["Metrics", "Record"]
