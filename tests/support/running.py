"""The proxy as a real server on an ephemeral port, for tests that must see bytes as they come.

The in-process ASGI transports collect the whole body before they return, so they see neither the
timing of a chunk nor a client that leaves.
"""

import asyncio
import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import httpx

from proxy.app import Service, build
from proxy.bedrock.regions import AwsConfig
from proxy.server import Server, configure
from proxy.settings import Loaded, load

QUIET = {
    "AWS_CONFIG_FILE": os.devnull,
    "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
    "AWS_EC2_METADATA_DISABLED": "true",
    "AWS_REGION": "us-east-1",
}


class Running:
    """A served service. ``url`` ends without a slash; ``call`` runs a function on its loop."""

    def __init__(self, service: Service, server: Server, loop: asyncio.AbstractEventLoop, url: str):
        self.service = service
        self.server = server
        self.loop = loop
        self.url = url

    def samples(self) -> dict[str, float]:
        """Every metric as ``name{labels}`` to value."""
        return dict(self.service.metrics.samples())

    def stop(self) -> None:
        """What the first SIGTERM does."""
        self.loop.call_soon_threadsafe(self.server.stop)


def wait_until(condition: Callable[[], bool], within: float = 5.0) -> None:
    """Poll until ``condition`` holds; fail after ``within`` seconds."""
    ends = time.monotonic() + within
    while not condition():
        assert time.monotonic() < ends, "it did not come to pass"
        time.sleep(0.005)


@contextmanager
def serving(
    upstream_url: str,
    *,
    settings: Mapping[str, object] | None = None,
    environment: Mapping[str, str] | None = None,
    access_key: str = "AKIDEXAMPLE",
    secret_key: str = "secret",
    engine: httpx.AsyncBaseTransport | None = None,
    mode: str = "aws",
    configured_region: str | None = "us-east-1",
) -> Iterator[Running]:
    """Serve on loopback with ``upstream_url`` as both planes of Bedrock."""
    variables = {
        **QUIET,
        "AWS_ACCESS_KEY_ID": access_key,
        "AWS_SECRET_ACCESS_KEY": secret_key,
        **(environment or {}),
    }
    own = {name: value for name, value in variables.items() if value}
    loaded = load(
        {"port": 0, "log_level": "error", **(settings or {})},
        None,
        {name: value for name, value in own.items() if name.startswith("BEDROCK_PROXY_")},
    )
    loaded = Loaded(loaded.settings, loaded.origins, own)
    aws = AwsConfig(
        region=configured_region, fips=False, dualstack=False,
        endpoints={"bedrock-runtime": upstream_url, "bedrock": upstream_url},
    )  # fmt: skip
    started = threading.Event()
    box: dict[str, Any] = {}

    def announce(url: str) -> None:
        box["url"] = url
        started.set()

    async def main() -> None:
        service = build(loaded, aws, mode=mode, engine=engine)
        drain_timeout = loaded.settings.drain_timeout
        config = configure(service.asgi, "127.0.0.1", 0, drain_timeout, refused=service.refused)
        server = Server(
            config, leave=service.leave, drain=service.drain, reload=service.reload, ready=announce
        )
        box.update(service=service, server=server, loop=asyncio.get_running_loop())
        try:
            await server.serve()
        finally:
            started.set()

    def run() -> None:
        try:
            asyncio.run(main())
        except BaseException as fault:
            box["fault"] = fault
            raise
        finally:
            started.set()

    thread = threading.Thread(target=run, name="proxy-under-test", daemon=True)
    thread.start()
    assert started.wait(15), "the proxy did not start"
    assert "url" in box, f"the proxy did not start: {box.get('fault')!r}"
    try:
        yield Running(box["service"], box["server"], box["loop"], box["url"])
    finally:
        if thread.is_alive():
            box["loop"].call_soon_threadsafe(_end, box["server"])
        thread.join(15)
        assert not thread.is_alive(), "the proxy did not stop"


def _end(server: Server) -> None:
    """Stop without a drain: whatever is still open is torn."""
    server.should_exit = True
    for connection in tuple(server.server_state.connections):
        connection.transport.abort()
