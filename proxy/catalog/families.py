"""The table of facts (deepened below)."""

from proxy.catalog.model import Traits


def traits_for(foundation_id: str, architecture: str | None = None) -> Traits:
    return Traits()


def foundation_of(model_id: str) -> str:
    return model_id


def bare(model_id: str) -> str:
    return model_id
