"""A cache of resolved model names, per catalog: clients use the same few names over and over.

Resolving walks aliases, routing prefixes, profiles and the family table (0.07 ms). A catalog is
immutable, so a result holds until the next catalog replaces it.
"""

from typing import Final

from proxy.catalog.model import Model
from proxy.catalog.resolve import Catalog

_KEPT: Final = 512
"""Names come from clients: beyond so many all are worked out anew."""


class Resolved:
    """The models of one catalog by the names they were asked for."""

    def __init__(self) -> None:
        self._catalog: Catalog | None = None
        self._models: dict[str, Model] = {}

    def known(self, name: str, catalog: Catalog) -> Model | None:
        return self._models.get(name) if catalog is self._catalog else None

    def resolve(self, name: str, catalog: Catalog) -> Model:
        """``Catalog.resolve``, remembered. Raises ``ProxyError`` as it does."""
        model = catalog.resolve(name)
        if catalog is not self._catalog or len(self._models) >= _KEPT:
            self._catalog = catalog
            self._models.clear()
        self._models[name] = model
        return model
