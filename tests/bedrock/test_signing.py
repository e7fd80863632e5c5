"""Signatures equal botocore's: three fixed vectors, then anything hypothesis can think of.

The vectors were made with the official signer at a fixed clock and confirmed by an independent
implementation of AWS's description (they are not recorded traffic).
"""

import string
from dataclasses import dataclass
from datetime import UTC, datetime
from unittest.mock import patch

import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from hypothesis import given
from hypothesis import strategies as st

from proxy.bedrock.paths import query_string, segment
from proxy.bedrock.signing import Signer, body_hash, derive_key, sign

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
BODY = b'{"messages":[{"role":"user","content":[{"text":"hi"}]}]}'
SECRET = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"
RUNTIME = "bedrock-runtime.us-east-1.amazonaws.com"
JSON = "application/json"


@dataclass(frozen=True)
class Secrets:
    access_key: str = "AKIDEXAMPLE"
    secret_key: str = SECRET
    token: str | None = None


VECTORS = {
    "A": (
        ("POST", "/model/anthropic.claude-haiku-4-5-20251001-v1%3A0/converse-stream", "",
         {"host": RUNTIME, "content-type": JSON}, BODY, Secrets()),
        "content-type;host;x-amz-date",
        "c2792f9cc9700b1bc6973eaa4ccef8e9d1daba774e0c934e2ad92e0c55fb91c8",
    ),
    "B": (
        ("POST",
         "/model/arn%3Aaws%3Abedrock%3Aus-east-1%3A123456789012%3Aapplication-inference-profile"
         "%2Fabc123/converse", "",
         {"host": RUNTIME, "content-type": JSON}, BODY, Secrets(token="SESSIONTOKEN")),
        "content-type;host;x-amz-date;x-amz-security-token",
        "8d68d34293cdfa02415957dc822a7850c996771b6f0edd5fbf3687c63d18f067",
    ),
    "C": (
        ("GET", "/inference-profiles",
         query_string({"type": "APPLICATION", "nextToken": "a/b==", "maxResults": "1000"}),
         {"host": "bedrock.us-east-1.amazonaws.com"}, b"", Secrets()),
        "host;x-amz-date",
        "86414236acf64ef82f04af371c706556d708458c2ec8f5acd97301c3016b2143",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", VECTORS)
def test_vector(name: str) -> None:
    request, names, signature = VECTORS[name]
    added = sign(*request, "us-east-1", NOW)
    assert added["x-amz-date"] == "20260102T030405Z"
    assert added.get("x-amz-security-token") == request[-1].token
    assert added["authorization"] == (
        "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20260102/us-east-1/bedrock/aws4_request, "
        f"SignedHeaders={names}, Signature={signature}"
    )


def test_derived_key_and_body_hash() -> None:
    key = derive_key(SECRET, "20260102", "us-east-1", "bedrock")
    assert key.hex() == "5fe7d00891a75b7029b7875f73e3395713a85cc92df11a0b55a6a2f63078cf17"
    assert body_hash(BODY) == "c3335e07d6e89650bf94cb98664be69f8774dbc3198df221f113db0a59ea14f0"


def test_only_what_nobody_changes_is_signed() -> None:
    headers = {
        "Host": RUNTIME, "Content-Type": JSON, "User-Agent": "x", "Accept": "*/*",
        "Content-Length": "9", "X-Amzn-Trace-Id": "Root=1", "X-Amz-Target": "t",
        "X-Amzn-Bedrock-Trace": "ENABLED", "X-Amz-Date": "stale", "Authorization": "Bearer theirs",
        "X-Amz-Security-Token": "stale", "X-Amz-Content-Sha256": "stale",
    }  # fmt: skip
    added = sign("POST", "/model/a/converse", "", headers, b"{}", Secrets(), "us-east-1", NOW)
    names = added["authorization"].split("SignedHeaders=")[1].split(",")[0]
    assert names == "content-type;host;x-amz-date;x-amz-target;x-amzn-bedrock-trace"
    assert added["x-amz-date"] == "20260102T030405Z"


def test_kept_keys_are_bounded_and_separate() -> None:
    signer = Signer()
    digest, headers = body_hash(b""), {"host": RUNTIME}
    seen = set()
    for region in (f"us-east-{n}" for n in range(70)):
        for secrets in (Secrets(), Secrets(secret_key="other")):
            made = signer.sign("GET", "/", "", headers, digest, secrets, region, NOW)
            assert made == sign("GET", "/", "", headers, b"", secrets, region, NOW)
            seen.add(made["authorization"])
    assert len(seen) == 140
    assert len(signer._keys) <= 32


def test_kept_forms_are_bounded_and_separate() -> None:
    """One signer for requests that differ in any one part: each is signed as by a new one."""
    signer = Signer()
    seen = set()
    for method in ("GET", "POST"):
        for path in (f"/model/{n}/converse" for n in range(40)):
            for query in ("", "a=1"):
                for token in (None, "T"):
                    for headers in ({"host": RUNTIME}, {"host": RUNTIME, "x-amz-target": "t"}):
                        for body in (b"", b"{}"):
                            rest = (Secrets(token=token), "us-east-1", NOW)
                            parts = (method, path, query, headers)
                            made = signer.sign(*parts, body_hash(body), *rest)
                            if path.endswith(("/0/converse", "/39/converse")):
                                assert made == sign(*parts, body, *rest)
                            seen.add(made["authorization"])
    assert len(seen) == 2 * 40 * 2 * 2 * 2 * 2
    assert len(signer._forms) <= 256


def test_a_form_is_used_again_with_another_date_and_body() -> None:
    signer, headers = Signer(), {"host": RUNTIME, "content-type": JSON}
    for day in (1, 2):
        for body in (b"{}", BODY):
            now = NOW.replace(day=day)
            args = ("POST", "/model/a/converse", "", headers)
            made = signer.sign(*args, body_hash(body), Secrets(), "us-east-1", now)
            assert made == sign(*args, body, Secrets(), "us-east-1", now)
    assert len(signer._forms) == 1


def test_the_kept_date_is_of_its_second_only() -> None:
    signer, headers = Signer(), {"host": RUNTIME}

    def signed(now: datetime) -> dict[str, str]:
        return signer.sign("GET", "/", "", headers, body_hash(b""), Secrets(), "us-east-1", now)

    for second in (5, 5, 6, 4):
        now = NOW.replace(second=second)
        assert signed(now) == sign("GET", "/", "", headers, b"", Secrets(), "us-east-1", now)
        assert signed(now)["x-amz-date"] == f"20260102T03040{second}Z"


def test_segment_leaves_only_the_unreserved_bare() -> None:
    assert segment("arn:aws/x y%é-_.~") == "arn%3Aaws%2Fx%20y%25%C3%A9-_.~"


tokens = st.text(string.ascii_letters + string.digits + "+/=", min_size=1, max_size=40)
anything = st.text(st.characters(codec="utf-8", exclude_categories=("Cs",)), max_size=30)
header_values = st.text(string.ascii_letters + string.digits + " ;=/.", min_size=1, max_size=20)


@given(
    method=st.sampled_from(["GET", "POST"]),
    model=anything.filter(lambda text: text not in ("", ".", "..")),
    query=st.dictionaries(anything.filter(bool), anything, max_size=4),
    extra=st.dictionaries(st.sampled_from(["x-amz-target", "x-amzn-bedrock-x"]), header_values),
    body=st.binary(max_size=200),
    access=tokens,
    secret=tokens,
    token=st.none() | tokens,
    region=st.sampled_from(["us-east-1", "eu-central-2", "us-gov-west-1"]),
    port=st.sampled_from(["", ":8443"]),
    now=st.datetimes(min_value=datetime(2001, 1, 1), max_value=datetime(2099, 12, 31)),
)
def test_equal_to_botocore(
    method, model, query, extra, body, access, secret, token, region, port, now
) -> None:
    """Against ``add_auth`` itself, with its clock held still and the headers that we would sign."""
    host, path = f"host.example{port}", f"/prefix/model/{segment(model)}/converse"
    headers = {"host": host, "content-type": JSON, **extra}
    secrets = Secrets(access, secret, token)
    now = now.replace(microsecond=0)
    ours = sign(method, path, query_string(query), headers, body, secrets, region, now)

    url = f"https://{host}{path}"
    theirs = AWSRequest(method, url, headers=headers, data=body, params=query)
    with patch("botocore.auth.get_current_datetime", return_value=now):
        SigV4Auth(secrets, "bedrock", region).add_auth(theirs)
    assert ours["authorization"] == theirs.headers["Authorization"]
    assert ours["x-amz-date"] == theirs.headers["X-Amz-Date"]
    assert ours.get("x-amz-security-token") == theirs.headers.get("X-Amz-Security-Token")
