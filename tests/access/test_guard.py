"""The door: who may pass."""

import hashlib
from pathlib import Path
from typing import Any

import orjson
import pytest

from proxy.access.guard import Guard
from proxy.access.hashing import hash_chosen, hash_minted, mint_key
from proxy.access.key_sources import FileSource
from proxy.access.keys import KeyStore
from proxy.access.refusals import Refusals
from proxy.metrics import Metrics

pytestmark = pytest.mark.anyio
KEY = "sk-correct"


class Door:
    """A guard before an app that notes what it let in."""

    def __init__(
        self,
        key: str | None = KEY,
        metrics_public: bool = False,
        keys: KeyStore | None = None,
    ) -> None:
        self.passed: list[str] = []
        self.tenants: list[str] = []
        self.metrics = Metrics(version="0", mode="test", stream_limit=1)
        self.guard = Guard(
            self.app, key=key, keys=keys, metrics_public=metrics_public, metrics=self.metrics,
            render=lambda error: orjson.dumps({"code": error.code, "message": error.message}),
            refusals=Refusals(),
        )  # fmt: skip

    async def app(self, scope: Any, receive: Any, send: Any) -> None:
        self.passed.append(scope["path"])
        self.tenants.append(scope["state"]["tenant"].name)
        assert KEY not in repr(scope["state"])

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


@pytest.mark.parametrize("again", [KEY, "", " "])
@pytest.mark.parametrize("name", ["api-key", "x-api-key"])
async def test_the_same_key_in_two_headers_is_one_key(name: str, again: str) -> None:
    """Continue sends its key as ``api-key``, too; without a key that header is empty."""
    assert (await Door().knock(("authorization", f"Bearer {KEY}"), (name, again)))[0] == 200


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
        [("api-key", "")],
        [("api-key", KEY), ("x-api-key", KEY + "x")],
        [("api-key", KEY), ("api-key", KEY)],
        [("authorization", f"Bearer {KEY}"), ("api-key", "wrong")],
        [("authorization", f"Basic {KEY}"), ("api-key", KEY)],
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


def bearer(key: str) -> tuple[str, str]:
    return ("authorization", f"Bearer {key}")


async def test_whoever_passes_is_known_behind_the_door(tmp_path: Path) -> None:
    minted, ended, chosen = mint_key(), mint_key(), "a-passphrase-of-ours"
    file = tmp_path / "keys.toml"
    file.write_text(
        f'[keys.alice]\nhash = "{hash_minted(minted)}"\nmodels = ["anthropic.*"]\n'
        f'[keys.bob]\nhash = "{hash_chosen(chosen)}"\n'
        f'[keys.old]\nhash = "{hash_minted(ended)}"\nexpires = 2020-01-01\n'
    )
    store = KeyStore(FileSource(file), single=KEY)
    await store.load()
    door = Door(keys=store)
    for key in (minted, chosen, KEY):
        assert (await door.knock(bearer(key)))[0] == 200
    await door.knock(path="/healthz")
    assert door.tenants == ["alice", "bob", "default", "anonymous"]
    status, answer, body = await door.knock(bearer(ended))
    assert status == 401
    assert orjson.loads(body) == {"code": "invalid_api_key", "message": "The API key has expired."}
    assert answer[b"www-authenticate"] == b"Bearer"
    assert answer[b"x-should-retry"] == b"false"


async def test_keys_that_cannot_be_told_yet_are_no_401(tmp_path: Path) -> None:
    door = Door(keys=KeyStore(FileSource(tmp_path / "keys.toml"), single=KEY))
    status, answer, body = await door.knock(bearer(mint_key()))
    assert (status, orjson.loads(body)["code"]) == (503, "keys_unavailable")
    assert (answer[b"retry-after"], answer[b"x-should-retry"]) == (b"2", b"true")
    assert b"www-authenticate" not in answer
    assert (await door.knock(bearer(KEY)))[0] == 200


async def test_an_empty_file_of_keys_is_no_open_door(tmp_path: Path) -> None:
    file = tmp_path / "keys.toml"
    file.write_text("")
    store = KeyStore(FileSource(file))
    await store.load()
    assert (await Door(key=None, keys=store).knock())[0] == 401
    assert (await Door(key=None, keys=store).knock(bearer("")))[0] == 401


async def test_a_caller_cannot_bring_a_tenant_along() -> None:
    door = Door(key=None)
    await door.knock(("x-tenant", "alice"), ("tenant", "alice"))
    assert door.tenants == ["anonymous"]
