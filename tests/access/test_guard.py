"""The door: who may pass."""

import hashlib
from typing import Any

import orjson
import pytest

from proxy.access.guard import Guard
from proxy.metrics import Metrics

pytestmark = pytest.mark.anyio
KEY = "sk-correct"


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


class Door:
    """A guard before an app that notes what it let in."""

    def __init__(self, key: str | None = KEY, metrics_public: bool = False) -> None:
        self.passed: list[str] = []
        self.metrics = Metrics(version="0", mode="test", stream_limit=1)
        self.guard = Guard(
            self.app, key=key, metrics_public=metrics_public, metrics=self.metrics,
            render=lambda error: orjson.dumps({"code": error.code, "message": error.message}),
        )  # fmt: skip

    async def app(self, scope: Any, receive: Any, send: Any) -> None:
        self.passed.append(scope["path"])

    async def knock(
        self, *headers: tuple[str, str], path: str = "/v1/models"
    ) -> tuple[int, dict[bytes, bytes], bytes]:
        sent: list[dict[str, Any]] = []

        async def send(message: dict[str, Any]) -> None:
            sent.append(message)

        scope = {
            "type": "http", "path": path, "state": {},
            "headers": [(name.encode(), value.encode()) for name, value in headers],
        }  # fmt: skip
        await self.guard(scope, None, send)
        if not sent:
            return 200, {}, scope["state"]["request_id"].encode()
        return sent[0]["status"], dict(sent[0]["headers"]), sent[1]["body"]


@pytest.mark.parametrize(
    "header",
    [("authorization", f"Bearer {KEY}"), ("authorization", f"bearer  {KEY} "), ("api-key", KEY),
     ("x-api-key", KEY)],
)  # fmt: skip
async def test_the_key_opens_in_each_of_its_headers(header: tuple[str, str]) -> None:
    assert (await Door().knock(header))[0] == 200


@pytest.mark.parametrize(
    "headers",
    [
        [],
        [("authorization", "Bearer wrong")],
        [("authorization", "Bearer")],
        [("authorization", "Bearer ")],
        [("authorization", KEY)],
        [("authorization", f"Basic {KEY}")],
        [("authorization", f"Bearer {hashlib.sha256(KEY.encode()).hexdigest()}")],
        [("api-key", KEY + "x")],
        [("api-key", KEY), ("x-api-key", KEY)],
        [("authorization", f"Bearer {KEY}"), ("authorization", f"Bearer {KEY}")],
        [("x-forwarded-authorization", f"Bearer {KEY}")],
    ],
)
async def test_everything_else_is_refused_and_closes(headers: list[tuple[str, str]]) -> None:
    door = Door()
    status, answer, body = await door.knock(*headers)
    assert (status, door.passed) == (401, [])
    assert answer[b"connection"] == b"close"
    assert answer[b"x-request-id"].startswith(b"req_")
    assert orjson.loads(body)["code"] == "invalid_api_key"
    assert KEY.encode() not in body
    assert (
        dict(door.metrics.samples())['bedrock_proxy_requests_rejected_total{reason="auth"}'] == 1.0
    )


async def test_without_a_key_everyone_may_pass() -> None:
    assert (await Door(key=None).knock())[0] == 200


@pytest.mark.parametrize(
    ("path", "public", "status"),
    [
        ("/healthz", False, 200), ("/readyz", False, 200), ("/healthz/", False, 200),
        ("//healthz", False, 200), ("/metrics", False, 401), ("/metrics", True, 200),
        ("/metrics/x", True, 401), ("/healthz/../v1/models", False, 401), ("/nothing", False, 401),
        ("/V1/models", False, 401), ("", False, 401),
    ],
)  # fmt: skip
async def test_what_is_open(path: str, public: bool, status: int) -> None:
    assert (await Door(metrics_public=public).knock(path=path))[0] == status


async def test_the_path_is_folded_once_for_all() -> None:
    door = Door(key=None)
    await door.knock(path="//v1///chat/completions/")
    assert door.passed == ["/v1/chat/completions"]


@pytest.mark.parametrize(
    ("sent", "kept"), [("abc-1.2:3", True), ("a b", False), ("x" * 129, False)]
)
async def test_a_callers_request_id_is_repeated_only_when_safe(sent: str, kept: bool) -> None:
    _, _, request_id = await Door(key=None).knock(("x-request-id", sent))
    assert (request_id.decode() == sent) is kept
