"""A managed prompt (its ARN) as the model: what stands in the prompt itself is not sent.

Converse refuses ``system``, ``toolConfig``, ``inferenceConfig`` and model fields beside it.
"""

from typing import Any

import orjson
import pytest

from proxy.catalog.family_rows import PROMPT
from proxy.catalog.model import Model
from proxy.dialect import Options, Translation
from proxy.errors import ProxyError
from proxy.openai.chat.request import parse_request
from proxy.openai.chat.to_converse import translate

ARN = "arn:aws:bedrock:us-east-1:123456789012:prompt/ABCDEFGHIJ:2"
FORBIDDEN = {"system", "toolConfig", "inferenceConfig", "additionalModelRequestFields"}


def asked(**fields: Any) -> Translation:
    body = {"model": ARN, "messages": [{"role": "user", "content": "Hi"}], **fields}
    model = Model(ARN, ARN, "", "other", PROMPT)
    return translate(parse_request(orjson.dumps(body), {}), model, Options(auto_cache=True))


def test_what_clients_send_with_everything_is_left_out_and_told() -> None:
    made = asked(
        messages=[{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hi"}],
        max_completion_tokens=8192, temperature=0.2, top_p=0.9, top_k=5, stop=["END"],
        reasoning_effort="high", promptVariables={"topic": "fjords"}, response_format={
            "type": "json_schema",
            "json_schema": {"name": "a", "schema": {"type": "object", "properties": {}}},
        },
    )  # fmt: skip
    assert not FORBIDDEN & made.body.keys()
    assert made.body["promptVariables"] == {"topic": {"text": "fjords"}}
    first, *_ = made.body["messages"][0]["content"]
    assert first == {"text": "Be brief."}
    assert made.plan.stop == ("END",)
    assert {"system:moved", "max_tokens:dropped", "temperature:dropped"} <= set(made.notes)


def test_tools_are_refused_and_a_history_of_them_is_told_as_text() -> None:
    tool = {"type": "function", "function": {"name": "f"}}
    with pytest.raises(ProxyError) as caught:
        asked(tools=[tool])
    assert (caught.value.status, caught.value.param) == (400, "tools")
    call = {"id": "t1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    made = asked(
        messages=[
            {"role": "user", "content": "Hi"},
            {"role": "assistant", "content": None, "tool_calls": [call]},
            {"role": "tool", "tool_call_id": "t1", "content": "4"},
        ]
    )
    assert not FORBIDDEN & made.body.keys()


def test_a_plain_request_is_plain() -> None:
    made = asked()
    assert made.body == {"messages": [{"role": "user", "content": [{"text": "Hi"}]}]}
    assert made.notes == ()
