"""A key's allowlist holds for what fail-over would call, too."""

import pytest

from proxy.access.tenant import Tenant
from proxy.catalog.model import Model, Traits
from proxy.endpoints.borders import within

BASE = "anthropic.claude-sonnet-4-5-20250929-v1:0"
ELSEWHERE = {"us-west-2": f"us.{BASE}", "eu-west-1": f"eu.{BASE}"}


@pytest.mark.parametrize(
    ("globs", "name", "kept"),
    [
        ((), f"us.{BASE}", {"us-west-2", "eu-west-1"}),
        (("us.*",), f"us.{BASE}", {"us-west-2"}),
        (("us.*", "eu.*"), f"us.{BASE}", {"us-west-2", "eu-west-1"}),
        (("anthropic.*",), f"us.{BASE}", {"us-west-2", "eu-west-1"}),
        (("sonnet",), "sonnet", {"us-west-2", "eu-west-1"}),
        ((f"us.{BASE}",), f"bedrock/us.{BASE}", {"us-west-2"}),
    ],
)
def test_failover_stays_within_the_allowlist(
    globs: tuple[str, ...], name: str, kept: set[str]
) -> None:
    known_as = name if name == "sonnet" else ""
    model = Model(
        name, f"us.{BASE}", BASE, "m", Traits(), elsewhere=ELSEWHERE, known_as=known_as
    )  # fmt: skip
    assert set(within(Tenant("t", globs), model).elsewhere) == kept
