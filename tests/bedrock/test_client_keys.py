"""Clients with keys of their own: what is kept for each, for how long, and what is never."""

import asyncio
from types import MappingProxyType

import orjson
import pytest

from proxy.bedrock.client_keys import ClientKeys
from proxy.bedrock.discovery import Discovery
from proxy.catalog.entries import Options

pytestmark = pytest.mark.anyio

NOVA, SONNET = "amazon.nova-pro-v1:0", "anthropic.claude-sonnet-4-5-20250929-v1:0"
ARN = "arn:aws:bedrock:us-east-1:123456789012:application-inference-profile/abc"
BEHIND = {"models": [{"modelArn": f"arn:aws:bedrock:us-east-1::foundation-model/{SONNET}"}]}


class Plane:
    """A control plane that knows one profile, unless it ``hangs``."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.hangs = False
        self.paths: list[str] = []
        self.discovery = Discovery(self.call, Options(aliases=MappingProxyType({"best": NOVA})))
        self.clients = ClientKeys(
            lambda authorizer: self.call, self.discovery, 60.0, lambda: self.now
        )

    async def call(self, region, path, query):
        self.paths.append(path)
        if self.hangs:
            raise TimeoutError
        found = BEHIND if path.startswith("/inference-profiles/") else {}
        return 200, {}, orjson.dumps(found)

    def caller(self, key: str = "ABSKone"):
        return self.clients.caller({"authorization": f"Bearer {key}"})


async def test_what_stands_behind_an_arn_is_asked_once_for_each_client() -> None:
    plane = Plane()
    for key in ("ABSKone", "ABSKone", "ABSKtwo"):
        found = await plane.clients.resolve(ARN, plane.caller(key))
        assert (found.id, found.foundation) == (ARN, SONNET)
    assert len(plane.paths) == 2


async def test_what_could_not_be_had_is_asked_again_later() -> None:
    plane = Plane()
    plane.hangs = True
    for _ in range(3):
        assert (await plane.clients.resolve(ARN, plane.caller())).foundation == ""
    assert len(plane.paths) == 1
    plane.hangs, plane.now = False, plane.now + 301
    assert (await plane.clients.resolve(ARN, plane.caller())).foundation == SONNET


async def test_what_was_asked_in_vain_is_bounded(monkeypatch) -> None:
    monkeypatch.setattr("proxy.bedrock.client_keys._KEPT", 5)
    plane = Plane()
    plane.hangs = True
    await asyncio.gather(*(plane.clients.resolve(f"{ARN}{at}", plane.caller()) for at in range(20)))
    assert len(plane.clients._vain) == 5


async def test_new_aliases_count_for_what_is_kept() -> None:
    plane = Plane()
    caller = plane.caller()
    await plane.clients.catalog(caller)
    assert (await plane.clients.resolve("best", caller)).id == NOVA
    plane.discovery.rename({"best": SONNET})
    assert (await plane.clients.resolve("best", caller)).foundation == SONNET
