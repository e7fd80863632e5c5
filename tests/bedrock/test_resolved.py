"""A remembered resolution is the catalog's own word, for as long as that catalog stands."""

import pytest

from proxy.bedrock.resolved import Resolved
from proxy.catalog.entries import Listing, Options
from proxy.catalog.listing import build
from proxy.errors import ProxyError

SONNET = "anthropic.claude-3-5-sonnet-20240620-v1:0"


def catalog(**options):
    return build([Listing("us-east-1", ("us",))], Options(**options))


def test_a_name_is_worked_out_once() -> None:
    resolved, here = Resolved(), catalog()
    assert resolved.known(SONNET, here) is None
    model = resolved.resolve(SONNET, here)
    assert model == here.resolve(SONNET)
    assert resolved.known(SONNET, here) is model


def test_another_catalog_is_asked_anew() -> None:
    resolved, before, after = Resolved(), catalog(), catalog(aliases={"best": SONNET})
    resolved.resolve("best", before)
    assert resolved.known("best", after) is None
    assert resolved.resolve("best", after).id == SONNET
    assert resolved.known("best", before) is None, "one catalog's answers at a time"


def test_what_is_no_model_is_not_kept() -> None:
    resolved, here = Resolved(), catalog()
    with pytest.raises(ProxyError):
        resolved.resolve("", here)
    assert resolved.known("", here) is None


def test_it_stays_small_whatever_clients_send() -> None:
    resolved, here = Resolved(), catalog()
    for number in range(2_000):
        resolved.resolve(f"made.up-{number}", here)
    kept = sum(resolved.known(f"made.up-{n}", here) is not None for n in range(2_000))
    assert 0 < kept <= 512
