"""Signatures and keys: what gets in, and the recorded words for what does not."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from botocore.exceptions import ClientError

from proxy.simulator import Simulator
from proxy.simulator.auth import Account, Signed, authenticate

ARN = "arn:aws:bedrock:us-east-1:123456789012:application-inference-profile/1arbu5hu2sjr"
BODY = b'{"messages":[{"role":"user","content":[{"text":"hi"}]}]}'
PATH = "/model/openai.gpt-oss-20b-1%3A0/converse"


@pytest.fixture
def http(simulator: Simulator) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=simulator.url) as client:
        yield client


def signed_headers(simulator: Simulator, path: str = PATH, **changes: Any) -> dict[str, str]:
    """Headers signed by botocore; `changes` are `key`, `secret`, `token`, `region`, `service`."""
    credentials = Credentials(
        changes.get("key", simulator.access_key),
        changes.get("secret", simulator.secret_key),
        changes.get("token"),
    )
    request = AWSRequest(
        "POST", simulator.url + path, headers={"Content-Type": "application/json"}, data=BODY
    )
    service, region = changes.get("service", "bedrock"), changes.get("region", "us-east-1")
    SigV4Auth(credentials, service, region).add_auth(request)
    return dict(request.headers.items())


def test_the_reference_vector() -> None:
    """Vector A of the signing notes, made with botocore at a fixed clock."""
    host = "bedrock-runtime.us-east-1.amazonaws.com"
    authorization = (
        "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20260102/us-east-1/bedrock/aws4_request, "
        "SignedHeaders=content-type;host;x-amz-date, "
        "Signature=c2792f9cc9700b1bc6973eaa4ccef8e9d1daba774e0c934e2ad92e0c55fb91c8"
    )
    headers = {
        "content-type": "application/json",
        "host": host,
        "x-amz-date": "20260102T030405Z",
        "authorization": authorization,
    }
    path = "/model/anthropic.claude-haiku-4-5-20251001-v1%3A0/converse-stream"
    secret = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"
    account = Account("AKIDEXAMPLE", secret, None, "key", "us-east-1")
    now = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    authenticate(Signed("POST", path, "", headers, BODY), account, now, token_expired=False)


def test_model_arns_are_signed_encoded_twice(runtime: Any) -> None:
    answer = runtime.converse(modelId=ARN, messages=[{"role": "user", "content": [{"text": "hi"}]}])
    assert answer["stopReason"] == "end_turn"


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        (
            {"key": "AKIAUNKNOWN"},
            "UnrecognizedClientException",
            "The security token included in the request is invalid.",
        ),
        (
            {"token": "unasked-for"},
            "UnrecognizedClientException",
            "The security token included in the request is invalid.",
        ),
        (
            {"secret": "wrong"},
            "InvalidSignatureException",
            "The request signature we calculated does not match",
        ),
        ({"region": "eu-west-1"}, "InvalidSignatureException", "scoped to a valid region"),
        ({"service": "s3"}, "InvalidSignatureException", "scoped to correct service: 'bedrock'"),
    ],
)
def test_refusals(
    simulator: Simulator, http: httpx.Client, changes: dict[str, str], error: str, message: str
) -> None:
    answer = http.post(PATH, content=BODY, headers=signed_headers(simulator, **changes))
    assert answer.status_code == 403
    assert message in answer.json()["message"]
    assert answer.headers["x-amzn-errortype"] == (
        f"{error}:http://internal.amazon.com/coral/com.amazon.coral.service/"
    )
    assert answer.headers["x-amzn-requestid"]


def test_a_changed_body_or_path_breaks_the_signature(
    simulator: Simulator, http: httpx.Client
) -> None:
    headers = signed_headers(simulator)
    for path, body in ((PATH, BODY + b" "), (PATH.replace("%3A", ":"), BODY)):
        answer = http.post(path, content=body, headers=headers)
        assert answer.headers["x-amzn-errortype"].startswith("InvalidSignatureException:")


def test_skew_is_told_in_both_directions(simulator: Simulator, http: httpx.Client) -> None:
    simulator.control(clock_offset=600.0)
    late = http.post(PATH, content=BODY, headers=signed_headers(simulator)).json()["message"]
    assert late.startswith("Signature expired: ")
    assert late.endswith("Z - 5 min.)")
    simulator.control(clock_offset=-600.0)
    early = http.post(PATH, content=BODY, headers=signed_headers(simulator))
    assert early.json()["message"].startswith("Signature not yet current: ")
    assert early.headers["date"] != datetime.now(UTC).strftime("%a, %d %b %Y %H:%M:%S GMT")


def test_missing_and_unfinished_authorization(http: httpx.Client) -> None:
    missing = http.post(PATH, content=BODY)
    assert missing.status_code == 403
    assert missing.headers["x-amzn-errortype"].startswith("MissingAuthenticationTokenException")
    for unfinished in ("AWS4-HMAC-SHA256 Credential=a", "AWS4-HMAC-SHA256 nonsense"):
        answer = http.post(PATH, content=BODY, headers={"authorization": unfinished})
        assert answer.status_code == 400


def test_bearer(simulator: Simulator, http: httpx.Client) -> None:
    good = {"authorization": f"Bearer {simulator.bearer}"}
    assert http.post(PATH, content=BODY, headers=good).status_code == 200
    wrong = http.post(PATH, content=BODY, headers={"authorization": "Bearer nope"})
    assert wrong.status_code == 403
    assert list(wrong.json()) == ["Message"]


def test_session_tokens_expire(runtime: Any, simulator: Simulator) -> None:
    simulator.control(token_expired=True)
    with pytest.raises(ClientError) as caught:
        runtime.converse(
            modelId="openai.gpt-oss-20b-1:0",
            messages=[{"role": "user", "content": [{"text": "hi"}]}],
        )
    assert caught.value.response["Error"] == {
        "Code": "ExpiredTokenException",
        "Message": "The security token included in the request is expired",
    }


def test_rotation_refuses_the_old_key() -> None:
    with Simulator(session_token="first") as simulator, httpx.Client() as client:
        url = simulator.url + PATH
        old = signed_headers(simulator, token="first")
        assert client.post(url, content=BODY, headers=old).status_code == 200
        simulator.rotate(access_key="AKIANEW", session_token="second")
        assert client.post(url, content=BODY, headers=old).status_code == 403
        fresh = signed_headers(simulator, token="second")
        assert client.post(url, content=BODY, headers=fresh).status_code == 200


def test_nothing_is_taken_from_a_malformed_body(simulator: Simulator, http: httpx.Client) -> None:
    good = {"authorization": f"Bearer {simulator.bearer}"}
    for body in (b"{", b"[]", base64.b64encode(b"{}")):
        answer = http.post(PATH, content=body, headers=good)
        assert answer.status_code == 400
        assert answer.headers["x-amzn-errortype"].startswith("SerializationException")
