"""The dry run: what a request would become, shown instead of sent.

The question is put exactly as for a real call (names resolved, reasoning recalled, learned repairs
applied), and nothing leaves the process but a look into the shared memory. Names are resolved from
what is known already: an opaque ARN is not looked up for it, and no URL is followed.
"""

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

import orjson
from starlette.requests import Request as HttpRequest
from starlette.responses import Response

from proxy.access.tenant import ANYONE, Tenant
from proxy.bedrock.discovery import Discovery
from proxy.bedrock.paths import segment
from proxy.bedrock.targets import Targets
from proxy.catalog.model import Model
from proxy.converse.types import ConverseRequest
from proxy.dialect import Dialect, Request
from proxy.endpoints.body import headers_of, judge_head, read_body
from proxy.endpoints.generate import Deps
from proxy.endpoints.models import Endpoint
from proxy.endpoints.question import OFF_LOOP, Question

_ANYONE: Final = Tenant(ANYONE)


def explaining(dialect: Dialect, deps: Deps, discovery: Discovery, targets: Targets) -> Endpoint:
    """The endpoint: it takes what the dialect's own endpoint takes."""

    async def endpoint(request: HttpRequest) -> Response:
        headers = headers_of(request.scope)
        judge_head(headers, deps.max_body)
        with deps.gate.holding(0) as held:
            body = await read_body(request.receive, deps.max_body, held.more)
            large = len(body) > OFF_LOOP
            parse = dialect.parse
            parsed: Request = (
                await asyncio.to_thread(parse, body, headers) if large else parse(body, headers)
            )
            model = discovery.snapshot.resolve(parsed.model)
            tenant: Tenant = request.scope["state"]["tenant"]
            deps.borders.check_model(tenant, model)
            told = await explain(dialect, deps, targets, parsed, model, tenant=tenant, large=large)
        return Response(orjson.dumps(told), media_type="application/json")

    return endpoint


async def explain(
    dialect: Dialect,
    deps: Deps,
    targets: Targets,
    request: Request,
    model: Model,
    *,
    tenant: Tenant = _ANYONE,
    large: bool = False,
) -> Mapping[str, Any]:
    """Model, region, operation, the exact body, notes and cache points of a request.

    Raises ``ProxyError`` as the request itself would.
    """
    context = replace(
        deps.context,
        options=deps.borders.options(deps.context.options, tenant),
        repaired=lambda name, learned: None,
    )
    question = Question(dialect, request, model, context, tenant=tenant.name, large=large)
    await question.put()
    translation, target = question.translation, targets(model.region)
    operation = translation.operation
    return {
        "object": "explanation",
        "model": {
            "asked": request.model,
            "called": model.id,
            "foundation": model.foundation or None,
            "family": model.traits.family,
        },
        "region": target.region,
        "operation": "ConverseStream" if operation == "converse-stream" else "Converse",
        "url": f"{target.base}/model/{segment(model.id)}/{operation}",
        "body": translation.body,
        "notes": question.notes,
        "cache_points": cache_points(translation.body),
        "calls": translation.choices,
        "learned": context.learned.shown(model.id, model.region),
    }


def cache_points(body: ConverseRequest | Mapping[str, Any]) -> Sequence[Mapping[str, str]]:
    """Where a body's cache points stand, in the order in which the cache reads them."""
    return [
        {"at": f"{path}[{index}]", "ttl": block["cachePoint"].get("ttl", "5m")}
        for path, blocks in _lists(body)
        for index, block in enumerate(blocks)
        if "cachePoint" in block
    ]


def _lists(
    body: ConverseRequest | Mapping[str, Any],
) -> Iterator[tuple[str, Sequence[Mapping[str, Any]]]]:
    yield "toolConfig.tools", body.get("toolConfig", {}).get("tools", ())
    yield "system", body.get("system", ())
    for index, message in enumerate(body.get("messages", ())):
        yield f"messages[{index}].content", message["content"]
