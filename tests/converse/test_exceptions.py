"""AWS's errors as clients see them: one case a row of the documented and recorded errors.

*recorded*: wordings taken from real answers (the captures beside the repository); everything else
follows documentation and field reports. The captures themselves are read where they are present.
"""

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from proxy.converse.exceptions import (
    EXCEPTIONS,
    from_exception,
    from_response,
    protocol_fault,
    retry_after,
)
from proxy.converse.masking import mask, presentable
from proxy.errors import ProxyError

CAPTURES = Path(__file__).parents[3] / "shared" / "captures"
SERVICE = "http://internal.amazon.com/coral/com.amazon.bedrock/"
CORAL = "http://internal.amazon.com/coral/com.amazon.coral.service/"
BAD = "invalid_request_error"
SERVER = "server_error"
RATE = "rate_limit_error"


class Case(NamedTuple):
    """An exception with its native status, and what the client and the retry loop get."""

    name: str
    native: int
    message: str
    status: int
    type: str
    code: str | None
    retry: str


# mapping.md section 14 and bedrock-converse.md section 9, a row each.
NAMES = (
    Case("ValidationException", 400, "x", 400, BAD, "invalid_value", "never"),
    Case("SerializationException", 400, "x", 400, BAD, "invalid_value", "never"),
    Case("ConflictException", 400, "x", 400, BAD, "conflict", "never"),
    Case(
        "AccessDeniedException", 403, "x", 403, "permission_error", "model_access_denied", "never"
    ),
    Case("FTUFormNotFilled", 404, "x", 403, "permission_error", "model_access_denied", "never"),
    Case("OptInRequired", 403, "x", 403, "permission_error", "model_access_denied", "never"),
    Case("ResourceNotFoundException", 404, "x", 404, BAD, "model_not_found", "never"),
    Case("ThrottlingException", 429, "x", 429, RATE, "rate_limit_exceeded", "throttle"),
    Case("Throttling", 429, "x", 429, RATE, "rate_limit_exceeded", "throttle"),
    Case("ThrottledException", 429, "x", 429, RATE, "rate_limit_exceeded", "throttle"),
    Case("RequestThrottled", 429, "x", 429, RATE, "rate_limit_exceeded", "throttle"),
    Case("RequestThrottledException", 429, "x", 429, RATE, "rate_limit_exceeded", "throttle"),
    Case("TooManyRequestsException", 429, "x", 429, RATE, "rate_limit_exceeded", "throttle"),
    Case("RequestLimitExceeded", 503, "x", 429, RATE, "rate_limit_exceeded", "throttle"),
    Case("LimitExceededException", 400, "x", 429, RATE, "rate_limit_exceeded", "throttle"),
    Case(
        "ProvisionedThroughputExceededException",
        400, "x", 429, RATE, "rate_limit_exceeded", "throttle",
    ),
    Case("SlowDown", 503, "x", 429, RATE, "rate_limit_exceeded", "throttle"),
    Case("ServiceQuotaExceededException", 400, "x", 429, RATE, "rate_limit_exceeded", "never"),
    Case("ModelNotReadyException", 429, "x", 503, SERVER, "model_not_ready", "throttle"),
    Case("ModelTimeoutException", 408, "x", 504, SERVER, "model_timeout", "never"),
    Case("RequestTimeoutException", 408, "x", 504, SERVER, "timeout", "transient"),
    Case("ModelErrorException", 424, "x", 502, SERVER, "model_error", "once"),
    Case("ModelStreamErrorException", 424, "x", 502, SERVER, "model_error", "once"),
    Case("InternalServerException", 500, "x", 500, SERVER, "internal_error", "transient"),
    Case("InternalFailure", 500, "x", 500, SERVER, "internal_error", "transient"),
    Case("InternalServerError", 500, "x", 500, SERVER, "internal_error", "transient"),
    Case("ServiceUnavailableException", 503, "x", 503, SERVER, "service_unavailable", "transient"),
    Case("ServiceUnavailable", 503, "x", 503, SERVER, "service_unavailable", "transient"),
    Case(
        "UnrecognizedClientException",
        403, "x", 503, SERVER, "upstream_credentials", "credentials",
    ),
    Case(
        "InvalidSignatureException", 403, "x", 503, SERVER, "upstream_credentials", "credentials"
    ),
    Case("SignatureDoesNotMatch", 403, "x", 503, SERVER, "upstream_credentials", "credentials"),
    Case("ExpiredTokenException", 403, "x", 503, SERVER, "upstream_credentials", "credentials"),
    Case("ExpiredToken", 403, "x", 503, SERVER, "upstream_credentials", "credentials"),
    Case("RequestExpired", 400, "x", 503, SERVER, "upstream_credentials", "credentials"),
    Case("RequestTimeTooSkewed", 403, "x", 503, SERVER, "upstream_credentials", "credentials"),
    Case("IncompleteSignature", 400, "x", 503, SERVER, "upstream_credentials", "credentials"),
    Case(
        "MissingAuthenticationToken",
        403, "x", 503, SERVER, "upstream_credentials", "credentials",
    ),
    Case("InvalidClientTokenId", 403, "x", 503, SERVER, "upstream_credentials", "credentials"),
    Case("RequestTooLarge", 413, "x", 413, BAD, "request_too_large", "never"),
    Case("RequestEntityTooLargeException", 413, "x", 413, BAD, "request_too_large", "never"),
    Case("UnknownOperationException", 404, "x", 502, SERVER, "upstream_protocol_error", "never"),
)  # fmt: skip


def validation(message: str, status: int, code: str, type: str = BAD, retry: str = "never") -> Case:
    return Case("ValidationException", 400, message, status, type, code, retry)


def overflow(message: str) -> Case:
    return validation(message, 400, "context_length_exceeded")


def plain(message: str) -> Case:
    return validation(message, 400, "invalid_value")


MODEL_SAID = "The model returned the following errors: "

RECORDED = (
    validation("The provided model identifier is invalid.", 404, "model_not_found"),
    validation(
        "1 validation error detected: Value 'anthropic/claude-sonnet-4.5' at 'modelId' failed to "
        "satisfy constraint: Member must satisfy regular expression pattern: (arn:aws(-[^:]+)?:…)",
        404,
        "model_not_found",
    ),
    overflow(
        MODEL_SAID + "Input Tokens Exceeded: Number of input tokens exceeds maximum length. "
        "Please update the input to try again."
    ),
    plain("The provided model doesn't support counting tokens."),
    plain(
        "tools.0: Input tag 'web_search_20250305' found using 'type' does not match any of the "
        "expected tags: 'bash_20250124', 'custom', 'text_editor_20250124'"
    ),
    plain(
        "This model doesn't support the video content block that you provided. "
        "Update the content block and try again."
    ),
    plain("This model doesn't support the s3Uri field. Remove s3Uri and try again."),
    plain(MODEL_SAID + "messages.2.content.2.document.source.type: Field required"),
    plain(
        MODEL_SAID + "Malformed input request: #/messages/2/content/0: extraneous key "
        "[toolResult] is not permitted, please reformat your input and try again."
    ),
    validation(
        "messages.0.content.1.image.source.base64.data: URL sources are not supported",
        400,
        "invalid_image",
    ),
    Case(
        "AccessDeniedException",
        403,
        "You don't have access to the model with the specified model ID.",
        403,
        "permission_error",
        "model_access_denied",
        "never",
    ),
    Case(
        "ExpiredTokenException",
        403,
        "The security token included in the request is expired",
        503,
        SERVER,
        "upstream_credentials",
        "credentials",
    ),
    Case(
        "UnrecognizedClientException",
        403,
        "The security token included in the request is invalid.",
        503,
        SERVER,
        "upstream_credentials",
        "credentials",
    ),
    Case(
        "InvalidSignatureException",
        403,
        "Signature expired: 20250130T064508Z is now earlier than 20250210T013411Z "
        "(20250210T013911Z - 5 min.)",
        503,
        SERVER,
        "upstream_credentials",
        "credentials",
    ),
)

OVERFLOWS = tuple(
    overflow(message)
    for message in (
        "Input is too long for requested model.",
        "prompt is too long: 210021 tokens > 200000 maximum",
        MODEL_SAID + "prompt is too long: 210021 tokens > 200000 maximum",
        "input length and `max_tokens` exceed context limit: 190000 + 20000 > 200000, decrease "
        "input length or `max_tokens` and try again",
        "Your request exceeds the maximum number of tokens in the model's context.",
        "Too many input tokens. Max input tokens: 128000, request input token count: 130001",
        "This model's maximum context length is 131072 tokens. Please reduce the length of the "
        "messages.",
        "The input token count (1050000) exceeds the maximum number of tokens allowed (1048576).",
        "The prompt exceeds the model's context window.",
        "Input length exceeds context window of this model",
        "too many tokens: total number of tokens in the prompt cannot exceed 4081",
        "model_context_window_exceeded",
    )
)

TOO_LARGE = tuple(
    validation(message, 413, "request_too_large")
    for message in (
        "Request body is too large",
        "http content length exceeded 25000000 bytes.",
        "Input is too long: the payload has 26214400 bytes",
        "The request payload exceeds the limit of 25 MB",
        "messages: too many total text bytes: 9500000 > 9000000",
    )
)

# A validation error keeps its code, whatever other words it happens to contain.
PLAIN = tuple(
    plain(message)
    for message in (
        "tools.0.custom.name: 'get_quota' is already used",
        "The quota field is not permitted here",
        "tool 'image' is invalid: schema must be an object",
        "Invalid tool name image_editor.v2",
        "properties.image: invalid type: string",
        "invalid image_url property in schema",
        "This model doesn't support the image content block that you provided.",
        "The tool name exceeds maximum length of 64 characters",
        "name exceeds the maximum length",
        "The maximum tokens you requested exceeds the model limit of 8192. Try again with a "
        "maximum tokens value that is lower than 8192.",
        "max_tokens: 100000 > 64000, which is the maximum allowed number of output tokens",
        "1 validation error detected: Value 'my prompt is too long, and too many requests came' "
        "at 'messages.1.member.content' failed to satisfy constraint: Member must not be null",
        "Value 'throttled image exceeds' at 'toolConfig' failed to satisfy constraint: Member must "
        "have length less than or equal to 64",
        "The toolConfig field must be defined when using toolUse and toolResult content blocks.",
        "Expected toolResult blocks at messages.2.content for the following Ids: tooluse_x",
        "The number of toolResult blocks at messages.2.content exceeds the number of toolUse "
        "blocks of previous turn.",
        "messages: text content blocks must contain non-whitespace text",
        "The text field in the ContentBlock object at messages.0.content.0 is blank.",
        "This model doesn't support tool use in streaming mode.",
        "This model doesn't support the stopSequences field. Remove stopSequences and try again.",
        "This model does not support assistant message prefill. The conversation must end with a "
        "user message.",
        "`temperature` and `top_p` cannot both be specified for this model.",
        "`temperature` is deprecated for this model.",
        "output_config.format: Extra inputs are not permitted",
        "rate limiting is not a tool",
    )
)

OTHERS = (
    validation(
        "Invocation of model ID anthropic.claude-x with on-demand throughput isn\u2019t supported. "
        "Retry your request with the ID or ARN of an inference profile that contains this model.",
        400,
        "model_not_found",
    ),
    validation("This model version has reached the end of its life.", 404, "model_not_found"),
    validation("Could not resolve the foundation model from the id.", 404, "model_not_found"),
    validation("Too many tokens, please wait.", 429, "rate_limit_exceeded", RATE, "throttle"),
    validation("Too many requests", 429, "rate_limit_exceeded", RATE, "throttle"),
    validation("Your quota was exceeded", 429, "rate_limit_exceeded", RATE, "throttle"),
    validation(
        "Bedrock is unable to process your request.",
        503,
        "service_unavailable",
        SERVER,
        "transient",
    ),
    validation("Could not process image", 400, "invalid_image"),
    validation("Unable to process provided image", 400, "invalid_image"),
    validation("messages.0.content.1.image.source.base64: bad padding", 400, "invalid_image"),
    validation(
        "The image was specified using the image/jpeg media type, but the image appears to be a "
        "image/png image",
        400,
        "invalid_image",
    ),
    validation("image exceeds 5 MB maximum: 6000000 bytes > 5242880", 400, "invalid_image"),
    validation("image dimensions exceed max allowed size: 8000 pixels", 400, "invalid_image"),
    Case(
        "ResourceNotFoundException",
        404,
        "Model use case details have not been submitted for this account. Fill out the form.",
        403,
        "permission_error",
        "model_access_denied",
        "never",
    ),
    Case(
        "AccessDeniedException",
        403,
        "Bearer Token has expired",
        503,
        SERVER,
        "upstream_credentials",
        "credentials",
    ),
    Case(
        "AccessDeniedException",
        403,
        "User: arn:aws:iam::123456789012:user/bearer is not authorized to perform: "
        "bedrock:CallWithBearerToken with an explicit deny",
        403,
        "permission_error",
        "model_access_denied",
        "never",
    ),
)

CASES = NAMES + RECORDED + OVERFLOWS + TOO_LARGE + PLAIN + OTHERS


def judged(case: Case, error: ProxyError) -> None:
    assert (error.status, error.type, error.code, error.retry) == case[3:], error.message
    assert error.param is None


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.name}-{case.message[:40]}")
def test_exception_as_http_answer(case: Case) -> None:
    headers = {"x-amzn-errortype": f"{case.name}:{SERVICE}", "x-amzn-requestid": "req-1"}
    error = from_response(case.native, headers, json.dumps({"message": case.message}).encode())
    judged(case, error)
    assert error.upstream_id == "req-1"
    assert error.reason == case.name


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.name}-{case.message[:40]}")
def test_exception_in_a_stream(case: Case) -> None:
    error = from_exception(case.name[:1].lower() + case.name[1:], case.message)
    judged(case, error)
    assert error.reason == case.name  # one spelling in metrics, wherever it came from


@pytest.mark.parametrize(
    "spelling",
    [
        {"x-amzn-errortype": f"ThrottlingException:{CORAL}"},
        {"x-amzn-errortype": "ThrottlingException"},
        {"x-amzn-errortype": f"com.amazon.bedrock#ThrottlingException:{CORAL}#x"},
        {"__type": "com.amazon.coral.service#ThrottlingException"},
        {"__type": "ThrottlingException"},
        {"code": "ThrottlingException"},
    ],
)
def test_name_in_all_its_spellings(spelling: dict[str, str]) -> None:
    header = {k: v for k, v in spelling.items() if k.startswith("x-")}
    body = {k: v for k, v in spelling.items() if not k.startswith("x-")} | {"message": "slow down"}
    error = from_response(400, header, json.dumps(body).encode())
    assert (error.status, error.reason) == (429, "ThrottlingException")


def test_every_row_has_a_case() -> None:
    named = {case.name.lower().removesuffix("exception") for case in NAMES}
    aliases = {"internalerror", "bandwidthlimitexceeded", "priorrequestnotcomplete", "authfailure"}
    assert set(EXCEPTIONS) - named == aliases


# ---- wording that clients act upon ----------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("ThrottlingException", "Too many tokens, please wait before trying again."),
        ("ThrottlingException", "Too many tokens per day, please wait before trying again."),
        ("throttlingException", "Too many requests, please wait before trying again."),
        ("ServiceQuotaExceededException", "Insufficient quota for this model"),
        ("ServiceQuotaExceededException", "insufficient_quota"),
        ("ServiceQuotaExceededException", ""),
        ("ThrottlingException", ""),
    ],
)
def test_throttles_are_worded_as_a_rate_limit(name: str, message: str) -> None:
    text = from_exception(name, message).message.lower()
    assert "rate limit" in text
    assert "too many tokens" not in text
    assert "insufficient" not in text


def test_quota_is_named_a_service_quota() -> None:
    assert "service quota" in from_exception("ServiceQuotaExceededException", "Used up.").message


def test_overflow_carries_its_code_and_the_original_hint() -> None:
    error = from_exception("ValidationException", "Input is too long for requested model.")
    expected = "context_length_exceeded: Input is too long for requested model."
    assert error.message == expected
    again = from_exception("ValidationException", expected)
    assert again.message == expected  # not said twice


@pytest.mark.parametrize(
    ("original", "status", "code"),
    [
        (400, 400, "invalid_value"),
        (404, 404, "model_not_found"),
        (408, 504, "model_timeout"),
        (413, 413, "request_too_large"),
        (422, 400, "invalid_value"),
        (429, 429, "rate_limit_exceeded"),
        (401, 502, "model_error"),  # between Bedrock and the model: not our credentials
        (403, 502, "model_error"),
        (500, 502, "model_error"),
        (503, 502, "model_error"),
    ],
)
def test_a_model_errors_original_status_decides(original: int, status: int, code: str) -> None:
    body = {"message": "The model said no", "originalStatusCode": original}
    headers = {"x-amzn-errortype": "ModelErrorException"}
    error = from_response(424, headers, json.dumps(body).encode())
    assert (error.status, error.code) == (status, code)


def test_overflow_inside_a_model_error() -> None:
    error = from_exception("modelStreamErrorException", "prompt is too long: 2 > 1 maximum")
    assert (error.status, error.code) == (400, "context_length_exceeded")


# ---- credentials ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "message",
    [
        "Authentication failed: Please make sure your API Key is valid.",
        "Bearer Token has expired",
        "Invalid API Key format: Must start with pre-defined prefix",
        "Something that nobody has seen yet",
        "",
    ],
)
def test_refused_bearer(message: str) -> None:
    """A refused Bedrock API key: 403, ``{"Message": …}`` and no error type (documented)."""
    error = from_response(403, {}, json.dumps({"Message": message}).encode())
    assert (error.status, error.code) == (503, "upstream_credentials")
    assert error.retry == "credentials"


def test_policy_denial_without_a_name_stays_a_denial() -> None:
    body = b'{"Message":"User: x is not authorized to perform: bedrock:InvokeModel"}'
    assert from_response(403, {}, body).code == "model_access_denied"


def test_unnamed_401_is_ours() -> None:
    assert from_response(401, {}, b"").code == "upstream_credentials"


def test_refused_signature_keeps_its_signed_headers_to_itself() -> None:
    message = (
        "The request signature we calculated does not match the signature you provided. Check your "
        "AWS Secret Access Key and signing method.\n\nThe Canonical String for this request should "
        "have been\n'POST\n/model/x/converse\n\nhost:h\nx-amz-security-token:FwoGZXIvYXdzEXAMPLE'"
    )
    error = from_exception("InvalidSignatureException", message)
    assert error.code == "upstream_credentials"
    assert "does not match" in error.message
    assert "FwoG" not in error.message
    assert "\n" not in error.message


# ---- nothing raw ------------------------------------------------------------------------------

PAGE = (
    b"<html><head><title>504 Gateway Time-out</title></head><body>nginx at 10.0.0.1</body></html>"
)


@pytest.mark.parametrize(
    ("status", "told", "code"),
    [
        (400, 400, "invalid_value"),
        (403, 403, "model_access_denied"),
        (404, 404, "model_not_found"),
        (408, 504, "model_timeout"),
        (413, 413, "request_too_large"),
        (418, 400, "invalid_value"),
        (424, 502, "model_error"),
        (429, 429, "rate_limit_exceeded"),
        (500, 500, "internal_error"),
        (502, 503, "service_unavailable"),
        (503, 503, "service_unavailable"),
        (504, 503, "service_unavailable"),
        (599, 500, "internal_error"),
    ],
)
@pytest.mark.parametrize(
    "body",
    [
        PAGE,
        b"",
        b"upstream connect error",
        b'"a string"',
        b"[1]",
        b"\xff\xfe",
        b'{"message":{"a":1}}',
    ],
)
def test_foreign_bodies_are_reported_by_status_alone(
    status: int, told: int, code: str, body: bytes
) -> None:
    error = from_response(status, {"content-type": "text/html"}, body)
    assert (error.status, error.code) == (told, code)
    assert str(status) in error.message
    for leak in ("nginx", "upstream connect", "string", "html", "{"):
        assert leak not in error.message


def test_html_inside_a_json_message_is_not_shown() -> None:
    body = json.dumps({"message": PAGE.decode()}).encode()
    error = from_response(502, {"x-amzn-errortype": "ModelErrorException"}, body)
    assert error.message == "Bedrock reported an error."


@pytest.mark.parametrize("status", [200, 204, 301, 302, 303, 307, 308, 399, 600])
def test_redirects_and_other_statuses_are_protocol_faults(status: int) -> None:
    headers = {"location": "https://elsewhere.example/", "x-amzn-requestid": "r"}
    error = from_response(status, headers, b"")
    assert (error.status, error.code, error.retry) == (502, "upstream_protocol_error", "never")
    assert (error.upstream_id, str(status) in error.message) == ("r", True)
    assert "elsewhere" not in error.message


@pytest.mark.parametrize("name", ["429", "<script>", "a" * 65, "Ünlaut", "Two Words"])
def test_a_reason_is_a_word(name: str) -> None:
    """It becomes a metric label and a log field."""
    error = from_response(500, {"x-amzn-errortype": name}, b"{}")
    assert error.reason == "internalserver"
    assert from_response(429, {"x-amzn-errortype": "NewException"}, b"").reason == "NewException"


def test_long_message_keeps_both_ends() -> None:
    message = "START " + "word " * 100_000 + "THE END"
    text = from_exception("ValidationException", message).message
    assert text.startswith("START")
    assert text.endswith("THE END")
    assert len(text) < 2100
    assert len(presentable("x" * 50_000)) < 2100  # no blank to cut at


def test_protocol_fault() -> None:
    error = protocol_fault("a picture of a cat", "r-2")
    assert (error.status, error.code, error.upstream_id) == (502, "upstream_protocol_error", "r-2")
    assert error.message == "Bedrock answered with a picture of a cat."


# ---- masking ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("raw", "shown"),
    [
        (
            "User: arn:aws:sts::123456789012:assumed-role/prod-proxy/i-0abc is not authorized to "
            "perform: bedrock:InvokeModel on resource: arn:aws:bedrock:us-east-1::foundation-model/"
            "anthropic.claude-haiku-4-5-20251001-v1:0 because no identity-based policy allows it",
            "User: <arn> is not authorized to perform: bedrock:InvokeModel on resource: "
            "anthropic.claude-haiku-4-5-20251001-v1:0 because no identity-based policy allows it",
        ),
        (
            "arn:aws-us-gov:bedrock:us-gov-west-1:123456789012:inference-profile/"
            "us-gov.anthropic.claude-x-v1:0.",
            "us-gov.anthropic.claude-x-v1:0.",
        ),
        (
            "arn:aws:bedrock:us-east-1:123456789012:application-inference-profile/abc123, sorry",
            "<arn>, sorry",
        ),
        ('"arn:aws-cn:iam::123456789012:role/x"', '"<arn>"'),
        ("(arn:aws:sts::123456789012:assumed-role/r/a,b@c.d)", "(<arn>)"),
        ("arn:aws:bedrock:*::foundation-model/*", "<arn>"),
        ("account 123456789012 is not allowed", "account <account> is not allowed"),
        ("1234567890123 and 12345678901 stay", "1234567890123 and 12345678901 stay"),
        ("20250130T064508Z stays", "20250130T064508Z stays"),
        ("https://bedrock-runtime.us-east-1.amazonaws.com/model/x?y", "https://<host>"),
        ("vpce-0a1b2c3d4e5f6.bedrock-runtime.us-east-1.vpce.amazonaws.com", "<host>"),
        ("bedrock-runtime.cn-north-1.amazonaws.com.cn", "<host>"),
        ("bedrock-runtime.eusc-de-east-1.amazonaws.eu", "<host>"),
        ("bedrock-runtime.us-east-1.api.aws", "<host>"),
        ("from vpc-0123456789abcdef0 denied", "from <vpc> denied"),
        ("see https://docs.aws.amazon.com/bedrock/x", "see https://docs.aws.amazon.com/bedrock/x"),
        ("key AKIAIOSFODNN7EXAMPLE", "key <id>"),
        ("session AROAIOSFODNN7EXAMPLE:name", "session <id>:name"),
        ("key ABSKQmVkcm9ja0FQSUtleS1leGFtcGxl=", "key <key>"),
        ("bedrock-api-key-YmVkcm9jay5hbWF6b25hd3M=", "<key>"),
        ("role/prod-proxy cannot", "role/<name> cannot"),
        ("user/alice@example.com", "user/<name>"),
        ("turns must be user/assistant", "turns must be user/assistant"),
        ("us.anthropic.claude-sonnet-5-v1:0", "us.anthropic.claude-sonnet-5-v1:0"),
    ],
)
def test_mask(raw: str, shown: str) -> None:
    assert mask(raw) == shown
    assert mask(shown) == shown


@pytest.mark.parametrize("name", ["AccessDeniedException", "ValidationException", "NewException"])
def test_messages_are_masked_on_their_way_out(name: str) -> None:
    message = "User: arn:aws:iam::123456789012:user/eve may not use account 123456789012"
    error = from_exception(name, message)
    assert error.message == "User: <arn> may not use account <account>"


def test_hint_of_an_on_demand_refusal_stays() -> None:
    error = from_exception(
        "ValidationException",
        "Invocation of model ID amazon.nova-premier-v1:0 with on-demand throughput isn\u2019t "
        "supported. Retry your request with the ID or ARN of an inference profile that contains "
        "this model.",
    )
    assert "amazon.nova-premier-v1:0" in error.message
    assert "inference profile that contains this model" in error.message


# ---- the upstream's wait ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"retry-after": "3"}, 3.0),
        ({"retry-after": " 0.5 "}, 0.5),
        ({"x-amz-retry-after": "1500"}, 1.5),
        ({"x-amz-retry-after": "1500", "retry-after": "9"}, 1.5),
        ({"x-amz-retry-after": "soon", "retry-after": "9"}, 9.0),
        ({"retry-after": "-1"}, None),
        ({"retry-after": "inf"}, None),
        ({"retry-after": "1e9"}, None),
        ({"retry-after": "99999999999"}, None),
        ({"retry-after": "Tue, 24 Nov 2026 20:00:00 GMT"}, None),
    ],
)
def test_retry_after(headers: dict[str, str], seconds: float | None) -> None:
    assert retry_after(headers) == seconds
    assert from_response(429, headers, b"").retry_after == seconds


# ---- recorded answers -------------------------------------------------------------------------


def recorded_errors() -> Iterator[tuple[str, dict[str, Any]]]:
    for path in sorted(CAPTURES.glob("*/*.json")):
        exchange = json.loads(path.read_text())
        if exchange["response"]["status"] != 200:
            yield f"{path.parent.name}/{path.stem}", exchange["response"]


def test_recorded_error_answers() -> None:
    if not CAPTURES.is_dir():
        pytest.skip("the recorded captures are not beside this checkout")
    wordings = {case.message: case for case in RECORDED}
    seen = 0
    for name, answer in recorded_errors():
        message = answer["body"]["message"]
        error = from_response(
            answer["status"], answer["headers"], json.dumps(answer["body"]).encode()
        )
        expected = wordings.get(message)
        if message.startswith("Signature expired"):
            expected = RECORDED[-1]
        elif message.startswith("tools.0: Input tag"):
            expected = plain(message)
        assert expected is not None, f"{name}: a wording that RECORDED does not have: {message}"
        judged(expected, error)
        assert error.upstream_id == answer["headers"].get("x-amzn-requestid"), name
        seen += 1
    assert seen >= 30


@pytest.mark.long
@pytest.mark.parametrize(
    "piece", ["a.", "a-", "arn:aws:", "exceeds ", "context ", "image ", "user/"]
)
def test_hostile_text_costs_no_time(piece: str) -> None:
    start = time.thread_time()
    from_exception("ValidationException", piece * 5_000_000)
    assert time.thread_time() - start < 1.0
