"""The short way leads where Starlette's router would, and everything else goes to that router."""

import os

import pytest
from starlette.routing import Match, Route

from proxy.app import build
from proxy.bedrock.regions import AwsConfig
from proxy.endpoints.front import Front
from proxy.settings import Loaded, load


@pytest.fixture(scope="module")
def front() -> Front:
    environment = {
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        "AWS_ACCESS_KEY_ID": "AKIDEXAMPLE",
        "AWS_SECRET_ACCESS_KEY": "secret",
    }
    loaded = load({"port": 0, "api_key": "sk-test", "route_prefix": "/team"}, None, {})
    service = build(
        Loaded(loaded.settings, loaded.origins, environment), AwsConfig(None, False, False, {})
    )
    app = service.asgi
    while not isinstance(app, Front):
        app = app._app
    return app


def asked(method: str, path: str) -> dict[str, object]:
    return {"type": "http", "method": method, "path": path, "headers": [], "root_path": ""}


def test_every_known_path_is_starlettes_own_match(front: Front) -> None:
    assert {"/v1/chat/completions", "/chat/completions", "/v1/embeddings"} <= set(front._endpoints)
    assert "/team/chat/completions" in front._endpoints
    for path, endpoint in front._endpoints.items():
        first = next(
            route
            for route in front._app.routes
            if route.matches(asked("POST", path))[0] is Match.FULL
        )
        assert isinstance(first, Route)
        assert first.endpoint is endpoint


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("method", "path", "short"),
    [
        ("POST", "/v1/chat/completions", True),
        ("GET", "/v1/chat/completions", False),
        ("HEAD", "/v1/chat/completions", False),
        ("POST", "/v1/chat/completions/", False),
        ("POST", "/v1/models", False),
        ("POST", "/nowhere", False),
    ],
)
async def test_only_posts_to_exact_paths_take_it(
    front: Front, monkeypatch: pytest.MonkeyPatch, method: str, path: str, short: bool
) -> None:
    taken: list[str] = []

    def called(name: str):
        async def app(scope, receive, send) -> None:
            taken.append(name)

        return app

    monkeypatch.setattr(front, "_app", called("starlette"))
    monkeypatch.setattr(front, "_endpoints", {p: called("short") for p in front._endpoints})
    await front(asked(method, path), None, None)
    assert taken == ["short" if short else "starlette"]
    await front({"type": "lifespan"}, None, None)
    assert taken[1:] == ["starlette"]
