"""The one kind of failure: what its constructors decide."""

import pytest

from proxy.errors import CLIENT_CLOSED, ProxyError, invalid, unsupported


def test_defaults_are_the_safe_ones() -> None:
    error = ProxyError(500, "It broke.")
    assert (error.status, error.message, str(error)) == (500, "It broke.", "It broke.")
    assert (error.type, error.code, error.param) == ("server_error", None, None)
    assert (error.retry, error.retry_after, error.upstream_id) == ("never", None, None)


def test_everything_is_kept() -> None:
    error = ProxyError(
        429,
        "Slow down.",
        type="rate_limit_error",
        code="rate_limit_exceeded",
        param="model",
        retry="throttle",
        retry_after=1.5,
        reason="ThrottlingException",
        upstream_id="req-1",
    )
    assert (error.type, error.code, error.param) == (
        "rate_limit_error",
        "rate_limit_exceeded",
        "model",
    )
    assert (error.retry, error.retry_after) == ("throttle", 1.5)
    assert (error.reason, error.upstream_id) == ("ThrottlingException", "req-1")


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ({"reason": "Named", "code": "c", "type": "t"}, "Named"),
        ({"code": "c", "type": "t"}, "c"),
        ({"type": "t"}, "t"),
        ({}, "server_error"),
    ],
)
def test_reason_falls_back_to_the_next_best_word(given: dict[str, str], reason: str) -> None:
    assert ProxyError(500, "m", **given).reason == reason  # type: ignore[arg-type]


def test_invalid_is_the_callers_fault() -> None:
    error = invalid("must be a number", "messages[2].content[0].type")
    assert (error.status, error.type, error.code) == (
        400,
        "invalid_request_error",
        "invalid_value",
    )
    assert (error.param, error.retry) == ("messages[2].content[0].type", "never")
    assert error.reason == "invalid_value"


def test_invalid_without_a_code_still_has_a_reason() -> None:
    error = invalid("no JSON", code=None)
    assert (error.code, error.param, error.reason) == (None, None, "invalid")


def test_invalid_with_another_status() -> None:
    assert invalid("too large", code="request_too_large", status=413).status == 413


def test_unsupported() -> None:
    error = unsupported("logprobs are not available on Bedrock", "logprobs")
    assert (error.status, error.code, error.param) == (400, "unsupported_parameter", "logprobs")


def test_repr_tells_a_log_reader_enough() -> None:
    assert repr(invalid("m", "p")) == "ProxyError(400, invalid_value, 'm')"
    assert repr(ProxyError(500, "m")) == "ProxyError(500, server_error, 'm')"


def test_it_is_raised_and_caught_by_its_own_name() -> None:
    with pytest.raises(ProxyError, match="gone") as raised:
        raise ProxyError(CLIENT_CLOSED, "gone")
    assert raised.value.status == 499
