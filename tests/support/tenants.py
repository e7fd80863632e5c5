"""A proxy with a keys file: one key a tenant, each with what the test says of it."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

from proxy.access.hashing import hash_minted, mint_key
from proxy.cli import toml_text
from proxy.simulator import Simulator
from tests.support.running import Running, serving

SONNET = "us.anthropic.claude-sonnet-4-5-20250929-v1:0"
NOVA = "us.amazon.nova-pro-v1:0"


class Tenants:
    """``ask`` sends a chat as a tenant; ``keys`` are the keys themselves, by name."""

    def __init__(self, simulator: Simulator, running: Running, keys: Mapping[str, str]) -> None:
        self.simulator = simulator
        self.running = running
        self.url = running.url
        self.keys = keys

    def headers(self, name: str) -> dict[str, str]:
        return {"authorization": f"Bearer {self.keys[name]}"}

    def post(
        self, name: str, path: str, body: Any, headers: Mapping[str, str] | None = None
    ) -> httpx.Response:
        sent = {**self.headers(name), **(headers or {})}
        return httpx.post(f"{self.url}{path}", json=body, headers=sent, timeout=30)

    def get(self, name: str, path: str) -> httpx.Response:
        return httpx.get(f"{self.url}{path}", headers=self.headers(name), timeout=30)

    def ask(
        self,
        name: str,
        text: str = "Hello",
        headers: Mapping[str, str] | None = None,
        **fields: Any,
    ) -> httpx.Response:
        body = {"model": SONNET, "messages": [{"role": "user", "content": text}], **fields}
        return self.post(name, "/v1/chat/completions", body, headers)

    def calls(self) -> list[Any]:
        """What Bedrock was asked to answer."""
        planes = ("Converse", "InvokeModel")
        return [one for one in self.simulator.requests if one.operation.startswith(planes)]

    def last(self) -> Any:
        return self.calls()[-1]


@contextmanager
def tenants(
    folder: Path,
    of: Mapping[str, Mapping[str, Any]],
    settings: Mapping[str, object] | None = None,
    **simulated: Any,
) -> Iterator[Tenants]:
    """Serve ``of`` (name to fields of its keys table) before a simulator."""
    keys = {name: mint_key() for name in of}
    tree = {name: {"hash": hash_minted(keys[name]), **fields} for name, fields in of.items()}
    file = folder / "keys.toml"
    file.write_text(toml_text.write({"keys": tree}), encoding="utf-8")
    with (
        Simulator(**simulated) as simulator,
        serving(
            simulator.url,
            access_key=simulator.access_key,
            secret_key=simulator.secret_key,
            settings={"keys": str(file), **(settings or {})},
        ) as running,
    ):
        yield Tenants(simulator, running, keys)
