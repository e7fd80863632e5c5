"""For the orchestrator and for Prometheus: liveness, readiness, metrics.

Live means that the process responds. Ready means that a request could succeed: not while shutting
down and not without credentials. A stale model list is reported but does not affect readiness,
since any model can be called without it. Neither response shows a key, an ARN, a path or a prompt.
"""

from collections.abc import Awaitable, Callable, Mapping

import orjson
from starlette.requests import Request
from starlette.responses import Response

from proxy.endpoints.gate import Gate
from proxy.metrics.workers import Unavailable

Endpoint = Callable[[Request], Awaitable[Response]]


async def healthz(request: Request) -> Response:
    return Response(b'{"status":"ok"}', media_type="application/json")


def readyz(gate: Gate, report: Callable[[], tuple[bool, Mapping[str, object]]]) -> Endpoint:
    """``report`` tells whether credentials are usable, and what to show of it all."""

    async def endpoint(request: Request) -> Response:
        usable, shown = report()
        ready = usable and not gate.leaving
        body = {"ready": ready, "leaving": gate.leaving, **shown}
        return Response(orjson.dumps(body), 200 if ready else 503, media_type="application/json")

    return endpoint


def metrics_page(page: Callable[[str], Awaitable[tuple[bytes, str]]]) -> Endpoint:
    """``page`` renders the metrics as an ``accept`` header asks: bytes and their content type."""

    async def endpoint(request: Request) -> Response:
        try:
            body, kind = await page(request.headers.get("accept", ""))
        except Unavailable as fault:
            return Response(f"{fault}\n", 503, media_type="text/plain")
        return Response(body, headers={"content-type": kind})

    return endpoint
