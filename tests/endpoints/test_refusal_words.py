"""What a client reads of a refusal decides what it does: compact, wait, or give up.

Agents recognise an overflow by its code or wording and shorten their history; they take "too many
tokens" for one too unless the text says "rate limit"; "insufficient quota" stops them for hours.
Here every wording passes the whole proxy and the official SDK.
"""

from collections.abc import Iterator
from typing import Any

import openai
import pytest

from proxy.simulator import Simulator
from tests.support.running import serving

SONNET = "us.anthropic.claude-sonnet-4-5-20250929-v1:0"
GIF = "R0lGODlhAQABAAAAACwAAAAAAQABAAACAkQBADs="
SAYS = "The model returned the following errors: "
OVERFLOWS = (
    SAYS + "prompt is too long: 210000 tokens > 200000 maximum",
    SAYS + "Input Tokens Exceeded: Number of input tokens exceeds maximum length. Please update "
           "the input to try again.",
    "Too many input tokens. Max input tokens exceeded for the requested model.",
    "Input is too long for requested model.",
    SAYS + "input length and `max_tokens` exceed context limit: 190000 + 64000 > 200000, decrease "
           "input length or `max_tokens` and try again",
)  # fmt: skip
RATES = (
    ("ThrottlingException", "Too many tokens, please wait before trying again."),
    ("ThrottlingException", "Too many tokens per day, please wait before trying again."),
    ("ThrottlingException", "Too many requests, please wait before trying again."),
    ("ServiceQuotaExceededException", "Your account has insufficient quota for this model."),
)
OTHERS = (
    "Input is too long: the request body has 30000000 bytes, over the limit of 20971520 bytes.",
    "The value at toolConfig.tools.0.toolSpec.name is too long.",
    SAYS + "messages.1.content.0.text: text is too long for a title",
)


@pytest.fixture(scope="module")
def client(simulator: Simulator) -> Iterator[openai.OpenAI]:
    with (
        serving(simulator.url, access_key=simulator.access_key,
                secret_key=simulator.secret_key) as running,
        openai.OpenAI(base_url=f"{running.url}/v1", api_key="x", max_retries=0) as one,
    ):  # fmt: skip
        yield one


def refused(
    simulator: Simulator, client: openai.OpenAI, error: str, message: str
) -> openai.APIStatusError:
    simulator.reset()
    headers = {"x-amz-retry-after": "9000"}  # too long for the proxy to wait itself
    simulator.control("error", error=error, message=message, model=".", headers=headers)
    with pytest.raises(openai.APIStatusError) as caught:
        client.chat.completions.create(model=SONNET, messages=[{"role": "user", "content": "Hi"}])
    return caught.value


@pytest.mark.parametrize("message", OVERFLOWS)
def test_an_overflow_is_one(simulator: Simulator, client: openai.OpenAI, message: str) -> None:
    error = refused(simulator, client, "ValidationException", message)
    assert (error.status_code, error.code) == (400, "context_length_exceeded")
    assert "context_length_exceeded" in error.message
    assert error.response.headers["x-should-retry"] == "false"


@pytest.mark.parametrize(("name", "message"), RATES)
def test_a_rate_is_worded_as_one(
    simulator: Simulator, client: openai.OpenAI, name: str, message: str
) -> None:
    error = refused(simulator, client, name, message)
    assert (error.status_code, error.code) == (429, "rate_limit_exceeded")
    said = error.message.lower()
    assert "rate limit" in said
    assert "too many tokens" not in said
    assert "insufficient quota" not in said
    assert "insufficient_quota" not in said
    assert "context" not in said


@pytest.mark.parametrize("message", OTHERS)
def test_other_refusals_are_no_overflow(
    simulator: Simulator, client: openai.OpenAI, message: str
) -> None:
    error = refused(simulator, client, "ValidationException", message)
    assert error.status_code in (400, 413)
    assert error.code != "context_length_exceeded"
    assert "context_length_exceeded" not in error.message


def test_a_conversation_that_grew_too_long(simulator: Simulator, client: openai.OpenAI) -> None:
    """The simulator's own count, on families with words of their own."""
    simulator.reset()
    for model in (SONNET, "us.amazon.nova-2-lite-v1:0", "us.amazon.nova-micro-v1:0",
                  "us.meta.llama3-3-70b-instruct-v1:0"):  # fmt: skip
        with pytest.raises(openai.BadRequestError) as caught:
            client.chat.completions.create(
                model=model, messages=[{"role": "user", "content": "word " * 1_000_000}]
            )
        assert caught.value.code == "context_length_exceeded"


@pytest.mark.parametrize(
    ("kind", "param"), [("image", "messages[0].content[1].type"), ("audio", None)]
)
def test_media_that_a_model_does_not_take_are_named(
    simulator: Simulator, client: openai.OpenAI, kind: str, param: str | None
) -> None:
    simulator.reset()
    words = f"This model doesn't support the {kind} content block that you provided."
    simulator.control("error", error="ValidationException", message=words, model=".")
    picture = {"type": "image_url", "image_url": {"url": f"data:image/gif;base64,{GIF}"}}
    messages: Any = [{"role": "user", "content": [{"type": "text", "text": "Hi"}, picture]}]
    with pytest.raises(openai.BadRequestError) as caught:
        client.chat.completions.create(model=SONNET, messages=messages)
    assert (caught.value.param, caught.value.code) == (param, "invalid_value")
    assert words in caught.value.message
