"""The control endpoint: script faults, turn dials, read what was received, over plain HTTP.

For tests and demos in another process; a test in the same process uses `Simulator` directly. It
asks for no signature, which is one more reason for the simulator to live on loopback only.

    GET    /__sim/state      faults still to come, settings
    POST   /__sim/faults     {"kind": "throttle", "times": 2, …}; DELETE clears
    POST   /__sim/settings   {"pace": 0.02, "denied": ["ListInferenceProfiles"]}
    GET    /__sim/requests   what was received, oldest first; DELETE forgets
    POST   /__sim/reset      clears faults, requests and the prompt cache
"""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import orjson
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from proxy.simulator.faults import fault_from
from proxy.simulator.state import Settings, State


def control_routes(state: State) -> list[Route]:
    async def show(request: Request) -> Response:
        return _json({"faults": state.faults.pending(), "settings": asdict(state.settings)})

    async def script(request: Request) -> Response:
        if request.method == "DELETE":
            state.faults.clear()
            return _json({})
        try:
            state.faults.add(fault_from(orjson.loads(await request.body())))
        except (ValueError, TypeError) as problem:
            return _json({"error": str(problem)}, 400)
        return _json({"faults": state.faults.pending()})

    async def turn(request: Request) -> Response:
        try:
            state.settings.change(orjson.loads(await request.body()))
        except ValueError as problem:
            return _json({"error": str(problem)}, 400)
        return _json(asdict(state.settings))

    async def requests(request: Request) -> Response:
        if request.method == "DELETE":
            state.forget_requests()
        return _json([received.as_json() for received in list(state.requests)])

    async def reset(request: Request) -> Response:
        reset_state(state)
        return _json({})

    return [
        Route("/__sim/state", show, methods=["GET"]),
        Route("/__sim/faults", script, methods=["POST", "DELETE"]),
        Route("/__sim/settings", turn, methods=["POST"]),
        Route("/__sim/requests", requests, methods=["GET", "DELETE"]),
        Route("/__sim/reset", reset, methods=["POST"]),
    ]


def reset_state(state: State) -> None:
    """Forget faults, received requests and cached prompts; settings as at the start."""
    state.faults.clear()
    state.forget_requests()
    state.cache.clear()
    fresh = Settings()
    state.settings.change({**asdict(fresh), "pace": state.default_pace})


def _json(value: Any, status: int = 200) -> Response:
    data = orjson.dumps(value, default=_text)
    return Response(data, status, media_type="application/json")


def _text(value: object) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)
