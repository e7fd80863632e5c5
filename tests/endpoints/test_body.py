"""A body is judged by its head before it is read: content types, codings, lengths."""

import pytest

from proxy.endpoints.body import judge_head
from proxy.errors import ProxyError


@pytest.mark.parametrize(
    "kind",
    [
        "", "application/json", "Application/JSON", "application/json; charset=utf-8",
        "application/vnd.api+json", "application/problem+json", "text/json", "application/x-json",
    ],
)  # fmt: skip
def test_json_and_its_kin_are_read(kind: str) -> None:
    judge_head({"content-type": kind} if kind else {}, 100)


@pytest.mark.parametrize(
    "kind",
    [
        "text/plain", "text/plain;charset=utf-8", "text/html", "multipart/form-data; boundary=json",
        "application/x-www-form-urlencoded", "application/octet-stream", "application/jsonp",
        "application/json5", "application/json+xml", "json", "/json", "+json", "text/plain, a/json",
        "application/xml; q=json", "multipart/json-ish",
    ],
)  # fmt: skip
def test_nothing_else_is(kind: str) -> None:
    with pytest.raises(ProxyError) as refused:
        judge_head({"content-type": kind}, 100)
    assert (refused.value.status, refused.value.code) == (415, "unsupported_media_type")


@pytest.mark.parametrize("coding", ["gzip", "br", "deflate", "zstd", "identity, gzip", "x" * 9999])
def test_encoded_bodies_are_not_read(coding: str) -> None:
    with pytest.raises(ProxyError) as refused:
        judge_head({"content-encoding": coding}, 100)
    assert (refused.value.status, refused.value.code) == (415, "unsupported_encoding")
    assert len(refused.value.message) < 200


@pytest.mark.parametrize("length", ["101", "1" * 5000])
def test_a_length_over_the_limit_is_refused_unread(length: str) -> None:
    judge_head({"content-length": "100"}, 100)
    with pytest.raises(ProxyError) as refused:
        judge_head({"content-length": length}, 100)
    assert refused.value.status == 413
