"""The borders joined from the settings: what cannot stand together, and keys that lie in AWS."""

import asyncio
import os
import re
from collections.abc import Callable
from itertools import product
from typing import Any

import httpx
import orjson
import pytest
from botocore.endpoint_provider import EndpointProvider
from botocore.loaders import Loader

from proxy.access.hashing import hash_minted, mint_key
from proxy.access.key_sources import secret_place
from proxy.app import Service, build
from proxy.bedrock.regions import AwsConfig, read_config
from proxy.defences import secret_url
from proxy.settings import SettingsError, load

QUIET = {
    "AWS_CONFIG_FILE": os.devnull,
    "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
    "AWS_EC2_METADATA_DISABLED": "true",
    "AWS_REGION": "us-east-1",
}
SIGNED = {"AWS_ACCESS_KEY_ID": "AKIDEXAMPLE", "AWS_SECRET_ACCESS_KEY": "secret"}


def built(
    engine: httpx.AsyncBaseTransport | None = None,
    environment: dict[str, str] = SIGNED,
    **settings: str,
) -> Service:
    own = {f"BEDROCK_PROXY_{name}": value for name, value in settings.items()}
    loaded = load({}, None, {**QUIET, **environment, **own})
    return build(loaded, read_config(loaded.environment), engine=engine)


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"KEYS": "secretsmanager:"}, "does not name a secret"),
        ({"KEYS": "ssm:keys", "CLIENT_KEYS": "true"}, "client_keys and keys exclude each other"),
        ({"CORS_ORIGINS": "*"}, "set a key, or name the origins"),
        ({"CORS_ORIGINS": "app.example.com"}, "is not an origin"),
        ({"GUARDRAIL": "abc"}, "`guardrail.guardrailIdentifier`"),
        ({"GUARDRAIL": "abc:latest"}, "`guardrail.guardrailVersion`"),
        ({"REQUEST_METADATA": "team"}, "name=text"),
        ({"REQUEST_METADATA": "team=search!"}, "AWS does not accept the pair"),
        ({"SERVICE_TIER": "gold"}, "must be one of default"),
        ({"FETCH_MEDIA": "on"}, "must be one of auto, off"),
        ({"VALKEY_URL": "http://x", "MEMORY": "false"}, "valkey_url must be like redis://"),
        ({"DAILY_BUDGET_USD": "0"}, "must be at least"),
    ],
)  # fmt: skip
def test_what_does_not_go_together_is_told(settings: dict[str, str], says: str) -> None:
    with pytest.raises(SettingsError, match=re.escape(says)):
        built(**settings)


def test_keys_in_aws_are_not_read_with_a_bedrock_key() -> None:
    with pytest.raises(SettingsError, match="cannot be read with a Bedrock API key"):
        built(KEYS="ssm:keys", environment={"AWS_BEARER_TOKEN_BEDROCK": "bedrock-api-key-1"})


@pytest.mark.parametrize("service", ["secretsmanager", "ssm"])
def test_secrets_are_asked_where_botocore_would_ask(service: str) -> None:
    loader = Loader()
    partitions = loader.load_data("partitions")
    rules = EndpointProvider(loader.load_service_model(service, "endpoint-rule-set-1"), partitions)
    place = secret_place(f"{service}:keys")
    assert place is not None
    for one, fips, dual in product(partitions["partitions"], (False, True), (False, True)):
        # In the isolated partitions Secrets Manager has a second name; its first one serves too.
        if dual and service == "secretsmanager" and one["id"] not in ("aws", "aws-us-gov"):
            continue
        for region in one["regions"]:
            theirs = rules.resolve_endpoint(Region=region, UseFIPS=fips, UseDualStack=dual).url
            assert secret_url(place, region, AwsConfig(region, fips, dual, {})) == f"{theirs}/"


class Aws:
    """AWS on the other side of the transport. ``secret`` is the keys file; ``None``: denied."""

    def __init__(self) -> None:
        self.secret: str | None = None
        self.asked: list[httpx.Request] = []

    async def __call__(self, request: httpx.Request) -> httpx.Response:
        if not request.url.host.startswith(("secretsmanager", "ssm")):
            return httpx.Response(200, json={"modelSummaries": [], "inferenceProfileSummaries": []})
        self.asked.append(request)
        if self.secret is None:
            return httpx.Response(400, json={"__type": "AccessDeniedException", "Message": "arn:…"})
        held = {"SecretString": self.secret, "Parameter": {"Value": self.secret}}
        return httpx.Response(200, json=held)


async def call(service: Service, path: str, key: str) -> tuple[int, Any]:
    """One GET through the whole service, in this process."""
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b""}

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {
        "type": "http", "method": "GET", "path": path, "query_string": b"", "state": {},
        "headers": [(b"authorization", b"Bearer " + key.encode())], "root_path": "",
    }  # fmt: skip
    await service.asgi(scope, receive, send)
    return sent[0]["status"], orjson.loads(sent[1]["body"])


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(5):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0.01)


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("place", "host", "target", "body"),
    [
        (
            "secretsmanager:team/keys", "secretsmanager.us-east-1.amazonaws.com",
            "secretsmanager.GetSecretValue", {"SecretId": "team/keys"},
        ),
        (
            "arn:aws:ssm:eu-west-1:123456789012:parameter/keys", "ssm.eu-west-1.amazonaws.com",
            "AmazonSSM.GetParameter",
            {"Name": "arn:aws:ssm:eu-west-1:123456789012:parameter/keys", "WithDecryption": True},
        ),
    ],
)  # fmt: skip
async def test_keys_are_read_over_the_signed_transport(
    place: str, host: str, target: str, body: dict[str, Any]
) -> None:
    aws, key = Aws(), mint_key()
    service = built(httpx.MockTransport(aws), KEYS=place)
    service.account.start()
    await service.defences.open()
    try:
        await until(lambda: bool(aws.asked))
        [asked] = aws.asked
        assert (asked.url, asked.method) == (httpx.URL(f"https://{host}/"), "POST")
        assert orjson.loads(asked.content) == body
        assert asked.headers["x-amz-target"] == target
        assert asked.headers["content-type"] == "application/x-amz-json-1.1"
        signed_for, region = host.split(".")[:2]
        assert f"/{region}/{signed_for}/aws4_request" in asked.headers["authorization"]
        assert (
            "SignedHeaders=content-type;host;x-amz-date;x-amz-target,"
            in (asked.headers["authorization"])
        )
        # Denied so far: nobody is told that his key is wrong, and we are not ready.
        assert (await call(service, "/v1/models", key))[0] == 503
        status, told = await call(service, "/readyz", key)
        assert (status, told["keys"]) == (503, {"ok": False})
        aws.secret = f'[keys.team]\nhash = "{hash_minted(key)}"\n'
        service.reload()
        await until(lambda: service.defences.ready)
        assert (await call(service, "/v1/models", key))[0] == 200
        assert (await call(service, "/v1/models", mint_key()))[0] == 401
        aws.secret = None  # what was read stays, whatever becomes of AWS
        service.reload()
        await until(lambda: len(aws.asked) == 3)
        assert (await call(service, "/v1/models", key))[0] == 200
    finally:
        await service.defences.close()
        await service.account.close()
