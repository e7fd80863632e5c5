"""Run one process of the proxy: build the house, open the door, leave politely.

Shared by ``serve`` (and its workers) and ``demo``.
"""

import asyncio
import gc
import socket
from collections.abc import Callable

import click

from proxy import logs
from proxy.app import House, build
from proxy.bedrock.regions import AwsConfig
from proxy.cli.options import stop
from proxy.server import Server, configure, raise_descriptor_limit
from proxy.settings import Loaded

_ABSENT_WITHIN = 4.0
"""Seconds that uncertain sources (instance metadata) get to turn out empty before we listen."""


def run(
    loaded: Loaded,
    aws: AwsConfig,
    *,
    mode: str = "aws",
    source_is_certain: bool = True,
    sockets: list[socket.socket] | None = None,
    on_absent: str = "",
    announce: Callable[[str], None] | None = None,
) -> None:
    """Serve until a signal ends it. ``announce`` is told the URL once it can be used."""
    settings = loaded.settings
    logs.configure(settings.log_level, settings.log_format)
    raise_descriptor_limit()
    house = build(loaded, aws, mode=mode)
    config = configure(house.asgi, settings.host, settings.port, settings.drain_timeout)
    server = Server(
        config,
        leave=house.leave,
        drain=house.drain,
        reload=house.reload,
        ready=announce or (lambda url: click.echo(f"listening on {url}", err=True)),
    )

    async def serve() -> None:
        if not source_is_certain and await _absent(house):
            raise stop(on_absent)
        gc.collect()
        gc.freeze()  # what is alive now lives for good; collections need not look at it
        await server.serve(sockets)

    with asyncio.Runner(loop_factory=config.get_loop_factory()) as runner:
        try:
            runner.run(serve())
        except KeyboardInterrupt:
            return
        except SystemExit as ended:
            if ended.code:
                raise stop(
                    f"{settings.host}:{settings.port} cannot be listened on; is it in use? "
                    "Choose another --port (0 picks a free one)."
                ) from None
            raise


async def _absent(house: House) -> bool:
    """Whether every source was asked in time and none had credentials."""
    if house.credentials is None:
        return False
    return (await house.credentials.settled(_ABSENT_WITHIN)).absent
