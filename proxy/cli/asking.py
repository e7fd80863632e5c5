"""Two ways to request a chat completion from the command line: a proxy's URL, or in process.

Both yield the answer's bytes as they arrive, or raise ``Refused`` with the status and the body.
In process the proxy is called as an ASGI application, without a port.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, MutableMapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, Final

import httpx

from proxy.app import Service
from proxy.cli.serve import settle

Ask = Callable[[str, str, bytes], AsyncIterator[bytes]]
"""Method, path below ``/v1``, body: the answer's bytes."""
Opened = AbstractAsyncContextManager[Ask]
Message = MutableMapping[str, Any]
_PATIENCE: Final = httpx.Timeout(600.0, connect=5.0)


class Refused(Exception):
    """An answer that is not 200. ``body`` is whole."""

    def __init__(self, status: int, body: bytes) -> None:
        super().__init__(f"status {status}")
        self.status = status
        self.body = body


@asynccontextmanager
async def over_http(url: str, key: str | None) -> AsyncIterator[Ask]:
    """Ask the proxy at ``url`` (with or without ``/v1``). Raises ``httpx.HTTPError`` too."""
    base = url.rstrip("/")
    base = base if base.endswith("/v1") else f"{base}/v1"
    headers = {"content-type": "application/json"}
    if key:
        headers["authorization"] = f"Bearer {key}"
    async with httpx.AsyncClient(headers=headers, timeout=_PATIENCE) as client:

        async def ask(method: str, path: str, body: bytes) -> AsyncIterator[bytes]:
            async with client.stream(method, f"{base}{path}", content=body) as answer:
                if answer.status_code != 200:
                    raise Refused(answer.status_code, await answer.aread())
                async for data in answer.aiter_bytes():
                    yield data

        yield ask


@asynccontextmanager
async def within(service: Service) -> AsyncIterator[Ask]:
    """Ask a proxy started in this process and closed afterwards. Without AWS credentials this exits
    and says how to get some."""
    key = service.settings.api_key
    headers = [(b"content-type", b"application/json")]
    if key:
        headers.append((b"authorization", b"Bearer " + key.encode()))
    async with _alive(service):
        await settle(service)

        async def ask(method: str, path: str, body: bytes) -> AsyncIterator[bytes]:
            status, parts = 0, []
            async for message in _call(service, method, f"/v1{path}", headers, body):
                status = message.get("status", status)
                data = message.get("body", b"")
                if status != 200:
                    parts.append(data)
                elif data:
                    yield data
            if status != 200:
                raise Refused(status, b"".join(parts))

        yield ask


@asynccontextmanager
async def _alive(service: Service) -> AsyncIterator[None]:
    """What a server does around its requests: ASGI's *Lifespan*."""
    told: asyncio.Queue[Message] = asyncio.Queue()
    said: asyncio.Queue[Message] = asyncio.Queue()
    await told.put({"type": "lifespan.startup"})
    scope: Message = {"type": "lifespan", "asgi": {"version": "3.0"}, "state": {}}
    living = asyncio.create_task(service.asgi(scope, told.get, said.put))
    if (await said.get())["type"] != "lifespan.startup.complete":
        await living  # raises why
    try:
        yield
    finally:
        await told.put({"type": "lifespan.shutdown"})
        await living


async def _call(
    service: Service, method: str, path: str, headers: list[tuple[bytes, bytes]], body: bytes
) -> AsyncIterator[Message]:
    """One request of an ASGI application: its messages as they are sent."""
    sent: asyncio.Queue[Message | None] = asyncio.Queue()
    requests: list[Message] = [{"type": "http.request", "body": body}]
    forever = asyncio.Event()

    async def receive() -> Message:
        if not requests:
            await forever.wait()
        return requests.pop()

    async def run() -> None:
        scope: Message = {
            "type": "http", "method": method, "path": path, "raw_path": path.encode(),
            "query_string": b"", "root_path": "", "scheme": "http", "http_version": "1.1",
            "headers": headers, "client": None, "server": None, "state": {},
        }  # fmt: skip
        try:
            await service.asgi(scope, receive, sent.put)
        finally:
            await sent.put(None)

    task = asyncio.create_task(run())
    try:
        while (message := await sent.get()) is not None:
            yield message
        await task
    finally:
        task.cancel()
        await asyncio.wait({task})
