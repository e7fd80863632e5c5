"""Runs one process of the proxy: build the service, listen, shut down in order.

Shared by ``serve`` (and its workers) and ``demo``.
"""

import asyncio
import gc
import socket
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, closing

from proxy import logs
from proxy.app import Service, build
from proxy.bedrock.regions import AwsConfig
from proxy.cli.options import say, stop
from proxy.cli.sockets import Inherited, address, listen, place, raise_descriptor_limit, takes_both
from proxy.metrics.workers import Link
from proxy.server import MetricsListener, Server, configure
from proxy.settings import Loaded, Settings, SettingsError
from proxy.tasks import tell
from proxy.tracing import ExtraMissing

_YOUNG = 10_000
"""Objects made and not freed before the collector looks for cycles among them. No request leaves
one, however it ends (``tests/relay/test_cycles.py``); at Python's 700 each read of many events had
it look in vain, for 3 to 5 % of the CPU."""

_THREADS = 2
"""Threads for work on large bodies. It holds the interpreter's lock, so that more of them would
only take it from the event loop more often; and each keeps 1 to 2 MB of freed memory for itself."""

_ABSENT_WITHIN = 4.0
"""Seconds that uncertain sources (instance metadata) get to turn out empty before we listen."""


def run(
    loaded: Loaded,
    aws: AwsConfig,
    *,
    mode: str = "aws",
    source_is_certain: bool = True,
    inherited: Inherited | None = None,
    on_absent: str = "",
    announce: Callable[[str], None] | None = None,
) -> None:
    """Serve until a signal ends it. ``announce`` is called with the URL once it can be used."""
    settings = loaded.settings
    stderr = logs.configure(settings.log_level, settings.log_format)
    raise_descriptor_limit()
    link = None if inherited is None else Link(inherited.line)
    service = built(loaded, aws, mode, link)
    stderr.on_lost = service.metrics.log_lines_dropped.inc
    side = _metrics_listener(service, inherited)
    config = configure(
        service.asgi, settings.host, settings.port, settings.drain_timeout, settings.idle_timeout,
        service.refused,
    )  # fmt: skip
    server = Server(
        config,
        leave=service.leave,
        drain=service.drain,
        reload=service.reload,
        ready=announce or (lambda url: stderr.write(f"listening on {url}\n")),
    )

    async def serve() -> None:
        if not source_is_certain and await _absent(service):
            raise stop(on_absent)
        _be_thrifty()
        async with _open(side), _joined(link, service, server):
            await server.serve(_listeners(settings, inherited))

    with closing(stderr), asyncio.Runner(loop_factory=config.get_loop_factory()) as runner:
        try:
            runner.run(serve())
        except KeyboardInterrupt:
            return
        except SystemExit as ended:
            if ended.code:
                raise stop(
                    f"{place(settings.host, settings.port)} cannot be listened on; is it in use? "
                    "Choose another --port (0 picks a free one)."
                ) from None
            raise


def _listeners(settings: Settings, inherited: Inherited | None) -> list[socket.socket] | None:
    """Our own listeners; ``None``: uvicorn makes them."""
    if inherited is not None:
        return [inherited.listener]
    if takes_both(settings.host):
        return [listen(settings.host, settings.port, "--port")]
    return None


def _be_thrifty() -> None:
    """Runs in the loop just before serving starts."""
    gc.collect()
    gc.freeze()  # what is alive now lives for good; collections need not look at it
    gc.set_threshold(_YOUNG)
    asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(_THREADS, "work"))


def built(loaded: Loaded, aws: AwsConfig, mode: str = "aws", link: Link | None = None) -> Service:
    """The service, or an exit that says which settings are wrong or do not go together."""
    try:
        return build(loaded, aws, mode=mode, page=None if link is None else link.page)
    except (ExtraMissing, SettingsError) as fault:
        raise stop(str(fault)) from None


def _metrics_listener(service: Service, inherited: Inherited | None) -> MetricsListener | None:
    """The metrics port, where there is one."""
    settings = service.settings
    if service.side is None or settings.metrics_port is None:
        return None
    listener = None if inherited is None else inherited.metrics
    if listener is None:
        listener = listen(settings.metrics_host, settings.metrics_port, "--metrics-port")
        say(f"metrics on {address(listener)}/metrics")
    return MetricsListener(service.side, listener)


@asynccontextmanager
async def _open(side: MetricsListener | None) -> AsyncIterator[None]:
    if side is not None:
        await side.open()
    try:
        yield
    finally:
        if side is not None:
            await side.close()


@asynccontextmanager
async def _joined(link: Link | None, service: Service, server: Server) -> AsyncIterator[None]:
    """Connected to the parent: it gets our figures until the end, and we exit if it has ended."""
    if link is None:
        yield
        return
    talk = asyncio.create_task(link.run(service.metrics.snapshot, server.stop), name="link")
    talk.add_done_callback(tell)
    try:
        yield
    finally:
        talk.cancel()
        await asyncio.wait({talk})


async def _absent(service: Service) -> bool:
    """Whether every source was asked in time and none had credentials."""
    if service.account.credentials is None or service.account.clients_pay:
        return False
    return (await service.account.credentials.settled(_ABSENT_WITHIN)).absent
