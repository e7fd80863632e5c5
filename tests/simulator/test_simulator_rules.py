"""The families' rules, one refusal a row, and the neighbouring request that passes."""

from __future__ import annotations

import base64
import struct
from typing import Any

import pytest

from proxy.simulator.estate import Estate
from proxy.simulator.judge import judge
from proxy.simulator.refusals import Refusal
from proxy.simulator.signatures import Ledger

ESTATE = Estate.build("us-east-1")

HAIKU_3 = "anthropic.claude-3-haiku-20240307-v1:0"
SONNET_45 = "us.anthropic.claude-sonnet-4-5-20250929-v1:0"
SONNET_46 = "us.anthropic.claude-sonnet-4-6"
OPUS_47 = "us.anthropic.claude-opus-4-7"
OPUS_48 = "us.anthropic.claude-opus-4-8"
NOVA = "us.amazon.nova-lite-v1:0"
NOVA_PREMIER = "us.amazon.nova-premier-v1:0"
NOVA_2 = "us.amazon.nova-2-lite-v1:0"
TITAN = "amazon.titan-text-express-v1"
LLAMA_33 = "us.meta.llama3-3-70b-instruct-v1:0"
MISTRAL_7B = "mistral.mistral-7b-instruct-v0:2"
LARGE_2402 = "mistral.mistral-large-2402-v1:0"
PIXTRAL = "us.mistral.pixtral-large-2502-v1:0"
GPT_OSS = "openai.gpt-oss-120b-1:0"
GPT_6 = "us.openai.gpt-6-sol"
QWEN = "qwen.qwen3-32b-v1:0"
KIMI_K3 = "us.moonshotai.kimi-k3"
PALMYRA = "us.writer.palmyra-x5-v1:0"
R1 = "us.deepseek.r1-v1:0"

PNG = base64.b64encode(
    b"\x89PNG\r\n\x1a\n" + bytes(8) + struct.pack(">II", 2, 2) + bytes(9)
).decode()
WIDE = base64.b64encode(
    b"\x89PNG\r\n\x1a\n" + bytes(8) + struct.pack(">II", 9000, 2) + bytes(9)
).decode()
PDF = base64.b64encode(b"%PDF-1.4 " + bytes(30)).decode()
OBJECT = {"type": "object", "properties": {}}
CLOSED = {**OBJECT, "additionalProperties": False}
POINT = {"cachePoint": {"type": "default"}}


def user(*blocks: Any) -> dict[str, Any]:
    return {"role": "user", "content": [{"text": b} if isinstance(b, str) else b for b in blocks]}


def said(*blocks: Any) -> dict[str, Any]:
    return {**user(*blocks), "role": "assistant"}


def use(call_id: str = "t1", name: str = "look", given: Any = None) -> dict[str, Any]:
    given = {} if given is None else given
    return {"toolUse": {"toolUseId": call_id, "name": name, "input": given}}


def result(call_id: str = "t1", *blocks: Any, **members: Any) -> dict[str, Any]:
    content = list(blocks) or [{"text": "found"}]
    return {"toolResult": {"toolUseId": call_id, "content": content, **members}}


def tool(name: str = "look", schema: Any = None, **members: Any) -> dict[str, Any]:
    return {"toolSpec": {"name": name, "inputSchema": {"json": schema or OBJECT}, **members}}


def tools(*offered: dict[str, Any], choice: Any = None) -> dict[str, Any]:
    config: dict[str, Any] = {"tools": list(offered) or [tool()]}
    if choice is not None:
        config["toolChoice"] = choice
    return {"toolConfig": config}


def image(form: str = "png", data: str = PNG) -> dict[str, Any]:
    return {"image": {"format": form, "source": {"bytes": data}}}


def document(name: str = "report", **members: Any) -> dict[str, Any]:
    return {"document": {"format": "pdf", "name": name, "source": {"bytes": PDF}, **members}}


def schema(text: str) -> dict[str, Any]:
    structure = {"jsonSchema": {"name": "answer", "schema": text}}
    return {"outputConfig": {"textFormat": {"type": "json_schema", "structure": structure}}}


def history(*messages: dict[str, Any], **members: Any) -> dict[str, Any]:
    return {"messages": list(messages), **members}


def native(**fields: Any) -> dict[str, Any]:
    return {"additionalModelRequestFields": fields}


def dials(**values: Any) -> dict[str, Any]:
    return {"inferenceConfig": values}


LOOP = (user("go"), said(use()), user(result()))

REFUSED: list[tuple[str, str, dict[str, Any], str]] = [
    # Conversation.
    ("no messages", SONNET_45, history(), "messages field is empty"),
    ("no content", SONNET_45, history(user()), "content field in the Message object at messages.0"),
    ("blank", NOVA, history(user("  ")), "messages.0.content.0 is blank"),
    ("assistant first", NOVA, history(said("a"), user("b")), "must start with a user message"),
    ("two users", NOVA, history(user("a"), user("b")), "must alternate between user and assistant"),
    ("system", TITAN, {"system": [{"text": "Be"}]}, "doesn't support system messages"),
    ("system 7B", MISTRAL_7B, {"system": [{"text": "Be"}]}, "doesn't support system messages"),
    (
        "system role",
        SONNET_45,
        history(user("a"), {"role": "system", "content": [{"text": "b"}]}),
        "doesn't support the system role",
    ),
    ("prefill", SONNET_46, history(user("a"), said("{")), "does not support assistant message pre"),
    ("trailing blank", SONNET_45, history(user("a"), said("b ")), "end with trailing whitespace"),
    ("image from assistant", SONNET_45, history(user("a"), said(image()), user("b")), "image"),
    # Tools.
    ("no tools", TITAN, tools(), "doesn't support tool use."),
    ("no tools R1", R1, tools(), "doesn't support tool use."),
    ("orphan toolConfig", SONNET_45, history(*LOOP), "toolConfig field must be defined"),
    (
        "unanswered",
        SONNET_45,
        {**history(user("a"), said(use("t7")), user("b")), **tools()},
        "Expected toolResult blocks at messages.2.content for the following Ids: t7",
    ),
    (
        "half answered",
        SONNET_45,
        {**history(user("a"), said(use("t1"), use("t2")), user(result("t1"))), **tools()},
        "Expected toolResult blocks at messages.2.content for the following Ids: t2",
    ),
    (
        "orphan result",
        SONNET_45,
        {**history(user("a"), said("b"), user(result())), **tools()},
        "exceeds the number of toolUse blocks of previous turn",
    ),
    (
        "never answered",
        HAIKU_3,
        {**history(user("a"), said(use("t9"))), **tools()},
        "Expected toolResult blocks at messages.2.content",
    ),
    (
        "an id of Kimi's at Claude",
        SONNET_45,
        {
            **history(user("a"), said(use("functions.a:0")), user(result("functions.a:0"))),
            **tools(),
        },
        "messages.1.content.0.tool_use.id: String should match pattern '^[a-zA-Z0-9_-]+$'",
    ),
    (
        "twice the same id",
        SONNET_45,
        {**history(user("a"), said(use(), use()), user(result(), result())), **tools()},
        "`tool_use` ids must be unique",
    ),
    (
        "input not an object",
        SONNET_45,
        {**history(user("a"), said(use(given=[1])), user(result())), **tools()},
        "toolUse.input is invalid",
    ),
    ("twice the same name", SONNET_45, tools(tool(), tool()), "Tool names must be unique"),
    ("schema not an object", SONNET_45, tools(tool(schema={"type": "string"})), "inputSchema.json"),
    (
        "top-level anyOf",
        SONNET_45,
        tools(tool(schema={**OBJECT, "anyOf": [{}]})),
        "does not support oneOf, allOf, or anyOf at the top level",
    ),
    (
        "odd property",
        SONNET_45,
        tools(tool(schema={"type": "object", "properties": {"a b": {}}})),
        "Property keys should match pattern",
    ),
    ("choice any", LLAMA_33, tools(choice={"any": {}}), "toolConfig.toolChoice.any field"),
    ("choice tool", PIXTRAL, tools(choice={"tool": {"name": "look"}}), "toolChoice.tool field"),
    ("choice auto", QWEN, tools(choice={"auto": {}}), "toolChoice.auto field"),
    ("unknown choice", NOVA, tools(choice={"tool": {"name": "x"}}), "Tool 'x' not found"),
    ("strict", NOVA, tools(tool(schema=CLOSED, strict=True)), "strict: Extra inputs"),
    ("strict new", OPUS_47, tools(tool(schema=CLOSED, strict=True)), "strict: Extra inputs"),
    (
        "strict and open",
        SONNET_45,
        tools(tool(strict=True)),
        "'additionalProperties' must be explicitly set to false",
    ),
    (
        "21 strict",
        SONNET_45,
        tools(*(tool(f"t{n}", CLOSED, strict=True) for n in range(21))),
        "The maximum number of strict tools supported is 20",
    ),
    ("foreign id", LARGE_2402, {**history(*LOOP), **tools()}, "with a length of 9"),
    (
        "text beside a result",
        LLAMA_33,
        {**history(user("a"), said(use()), user(result(), "and?")), **tools()},
        "Conversation blocks and tool result blocks cannot be provided in the same turn.",
    ),
    (
        "text beside a call",
        LLAMA_33,
        {**history(user("a"), said("I look.", use()), user(result())), **tools()},
        "Conversation blocks and tool use blocks cannot be provided in the same turn.",
    ),
    (
        "result after text",
        SONNET_45,
        {**history(user("a"), said(use()), user("and?", result())), **tools()},
        "without `tool_result` blocks immediately after: t1",
    ),
    (
        "status",
        PALMYRA,
        {**history(user("a"), said(use()), user(result(status="success"))), **tools()},
        "toolResult.status field",
    ),
    (
        "image in a result",
        QWEN,
        {**history(user("a"), said(use()), user(result("t1", image()))), **tools()},
        "doesn't support the image content block",
    ),
    ("system tool", SONNET_45, tools({"systemTool": {"name": "nova_grounding"}}), "systemTool"),
    (
        "code without Nova 2",
        NOVA_PREMIER,
        tools({"systemTool": {"name": "nova_code_interpreter"}}),
        "systemTool",
    ),
    (
        "look-around",
        KIMI_K3,
        tools(tool(schema={**OBJECT, "properties": {"a": {"pattern": "(?=x)"}}})),
        "look-around",
    ),
    (
        "reference",
        LLAMA_33,
        tools(tool(schema={**OBJECT, "properties": {"a": {"$ref": "#/$defs/x"}}})),
        "$ref is not supported",
    ),
    # Dials.
    (
        "both dials",
        SONNET_45,
        dials(temperature=0.5, topP=0.5),
        "`temperature` and `top_p` cannot both be specified",
    ),
    ("temperature", OPUS_47, dials(temperature=1.0), "`temperature` is deprecated for this model."),
    ("top_p", OPUS_48, dials(topP=0.9), "`top_p` is deprecated for this model."),
    ("top_k", OPUS_48, native(top_k=5), "`top_k` is deprecated for this model."),
    ("temperature GPT", GPT_6, dials(temperature=1.0), "inferenceConfig.temperature field"),
    ("stop", GPT_OSS, dials(stopSequences=["x"]), "doesn't support the stopSequences field"),
    ("stop Qwen", QWEN, dials(stopSequences=["x"]), "doesn't support the stopSequences field"),
    ("blank stop", SONNET_45, dials(stopSequences=["\n"]), "must contain non-whitespace"),
    ("too many tokens", HAIKU_3, dials(maxTokens=5000), "exceeds the model limit of 4096"),
    ("too few tokens", GPT_6, dials(maxTokens=5), "Expected a value >= 16"),
    ("foreign field", SONNET_45, native(topK=5), "topK: Extra inputs are not permitted"),
    ("foreign field Nova", NOVA, native(top_k=5), "extraneous key [top_k] is not permitted"),
    (
        "half a guardrail",
        NOVA,
        {"guardrailConfig": {"guardrailIdentifier": "abc"}},
        "must be provided together",
    ),
    (
        "pointer",
        SONNET_45,
        {"additionalModelResponseFieldPaths": ["stop_sequence"]},
        "invalid JSON Pointer",
    ),
    (
        "context",
        HAIKU_3,
        history(user("word " * 170_000)),
        "prompt is too long: 212500 tokens > 20",
    ),
    (
        "context Nova 2",
        NOVA_2,
        history(user("words " * 700_000)),
        "Number of input tokens exceeds maximum length",
    ),
    ("context Mistral", MISTRAL_7B, history(user("word " * 30_000)), "Input is too long for requ"),
    # Media.
    ("image", LLAMA_33, history(user("see", image())), "doesn't support the image content block"),
    (
        "format",
        SONNET_45,
        history(user("see", image("jpeg"))),
        "the image appears to be a image/png image",
    ),
    ("no image", SONNET_45, history(user(image(data=PDF))), "Could not process image"),
    ("cut image", SONNET_45, history(user(image(data=WIDE[:20]))), "Could not process image"),
    ("wide image", SONNET_45, history(user(image(data=WIDE))), "8000 pixels"),
    ("21 images", SONNET_45, history(user(*[image()] * 21)), "21 images"),
    ("6 documents", SONNET_45, history(user("a", *(document(f"d{n}") for n in range(6)))), "6 doc"),
    ("document name", SONNET_45, history(user("a", document("a.pdf"))), "document file name"),
    ("double space", SONNET_45, history(user("a", document("a  b"))), "document file name"),
    (
        "same name",
        SONNET_45,
        history(user("a", document(), document())),
        "duplicate document names",
    ),
    ("no text beside", SONNET_45, history(user(document())), "document but no text"),
    # Structured output.
    ("schema", NOVA, schema('{"type":"object"}'), "outputConfig.textFormat field"),
    ("schema old", HAIKU_3, schema('{"type":"object"}'), "output_config.format: Extra inputs"),
    ("open schema", SONNET_45, schema('{"type":"object"}'), "explicitly set to false"),
    ("bad schema", SONNET_45, schema("{"), "not valid JSON"),
    (
        "bounds",
        SONNET_45,
        schema(
            '{"type":"object","additionalProperties":false,"properties":'
            '{"n":{"type":"integer","maximum":3}}}'
        ),
        "property 'maximum' is not supported",
    ),
    # Caching.
    ("point", LLAMA_33, history(user("a", POINT)), "did not allow prompt caching"),
    ("point in tools", NOVA, tools(tool(), POINT), "extraneous key [cachePoint]"),
    ("point first", SONNET_45, history(user(POINT, "a")), "nothing before it to cache"),
    (
        "five points",
        SONNET_45,
        history(*(m for n in range(5) for m in (user(f"q{n}", POINT), said("a"))), user("z")),
        "A maximum of 4 blocks with cache_control may be provided. Found 5.",
    ),
    (
        "hour after minutes",
        SONNET_45,
        {
            "system": [{"text": "Be"}, POINT],
            **history(user("a", {"cachePoint": {"type": "default", "ttl": "1h"}})),
        },
        "must not come after a ttl='5m'",
    ),
    (
        "no hour",
        "us.anthropic.claude-3-7-sonnet-20250219-v1:0",
        history(user("a", {"cachePoint": {"type": "default", "ttl": "1h"}})),
        "cachePoint.ttl field",
    ),
    # Shape.
    ("unknown member", NOVA, {"top_p": 1}, "extraneous key [top_p] is not permitted"),
    ("two in a union", NOVA, history(user({"text": "a", "json": 1})), "extraneous key [json]"),
    (
        "empty union",
        NOVA,
        history(user({})),
        "ContentBlock object at messages.0.content.0 must set",
    ),
    ("null", NOVA, history(user({"text": None})), "Member must not be null"),
    ("tool name", NOVA, tools(tool("a.b")), "toolConfig.tools.1.member.toolSpec.name"),
    ("empty tools", NOVA, {"toolConfig": {"tools": []}}, "length greater than or equal to 1"),
    ("temperature 2", NOVA, dials(temperature=2), "less than or equal to 1"),
    ("empty description", NOVA, tools(tool(description="")), "length greater than or equal to 1"),
    ("metadata", NOVA, {"requestMetadata": {"a": "ü"}}, "regular expression pattern"),
]

ACCEPTED: list[tuple[str, str, dict[str, Any]]] = [
    ("assistant first", SONNET_45, history(said("a"), user("b"))),
    ("two users", TITAN, history(user("a"), user("b"))),
    ("prefill", SONNET_45, history(user("a"), said("{"))),
    (
        "system role",
        OPUS_48,
        history(user("a"), said("b"), {"role": "system", "content": [{"text": "c"}]}, user("d")),
    ),
    ("loop", SONNET_45, {**history(*LOOP), **tools()}),
    (
        "own ids on Mistral",
        PIXTRAL,
        {
            **history(
                user("a"), said(use("tooluse_" + "a" * 22)), user(result("tooluse_" + "a" * 22))
            ),
            **tools(),
        },
    ),
    (
        "nine letters",
        LARGE_2402,
        {**history(user("a"), said(use("abcDEF123")), user(result("abcDEF123"))), **tools()},
    ),
    ("20 strict", SONNET_45, tools(*(tool(f"t{n}", CLOSED, strict=True) for n in range(20)))),
    ("dials old", HAIKU_3, dials(temperature=0.5, topP=0.5)),
    ("topK nested", NOVA, native(inferenceConfig={"topK": 5})),
    ("image", SONNET_45, history(user("see", image()))),
    ("document", SONNET_45, history(user("read", document("a (1) [x]")))),
    ("closed schema", SONNET_45, schema('{"type":"object","additionalProperties":false}')),
    ("four points", SONNET_45, {"system": [{"text": "Be"}, POINT], **history(user("a", POINT))}),
    ("empty extras", NOVA, {"system": [], "inferenceConfig": {}}),
    ("server tools", NOVA_2, tools({"systemTool": {"name": "nova_grounding"}})),
    ("web search", NOVA_PREMIER, tools({"systemTool": {"name": "nova_grounding"}})),
]


def verdict(model: str, body: dict[str, Any], operation: str = "Converse") -> str:
    whole = {"messages": [user("Hello")], **body}
    try:
        judge(operation, model, whole, ESTATE, Ledger(0), "vendor")
    except Refusal as refusal:
        return refusal.message
    return ""


@pytest.mark.parametrize(
    ("model", "body", "sentence"), [r[1:] for r in REFUSED], ids=[r[0] for r in REFUSED]
)
def test_refused(model: str, body: dict[str, Any], sentence: str) -> None:
    assert sentence in verdict(model, body)


@pytest.mark.parametrize(
    ("model", "body"), [r[1:] for r in ACCEPTED], ids=[f"{r[0]}-{r[1]}" for r in ACCEPTED]
)
def test_accepted(model: str, body: dict[str, Any]) -> None:
    assert verdict(model, body) == ""


@pytest.mark.parametrize("model", [LLAMA_33, LARGE_2402, PALMYRA])
def test_tools_only_without_streaming(model: str) -> None:
    assert verdict(model, tools()) == ""
    streamed = verdict(model, tools(), "ConverseStream")
    assert streamed == "This model doesn't support tool use in streaming mode."


@pytest.mark.parametrize(
    ("model", "status", "sentence"),
    [
        ("no-such.model", 400, "The provided model identifier is invalid."),
        (SONNET_45[3:], 400, "with on-demand throughput isn\u2019t supported. Retry your request"),
        (
            "anthropic.claude-3-haiku-20240307-v1:0:48k",
            400,
            "with on-demand throughput isn\u2019t supported",
        ),
        ("anthropic.claude-instant-v1", 404, "has reached the end of its life"),
        ("amazon.titan-embed-text-v2:0", 400, "doesn't support the Converse operation"),
        ("arn:aws:bedrock:us-east-1:123456789012:prompt/ABCDEFGHIJ", 400, "identifier is invalid"),
        ("a b", 400, "regular expression pattern"),
    ],
)
def test_model_ids(model: str, status: int, sentence: str) -> None:
    with pytest.raises(Refusal) as caught:
        judge("Converse", model, {"messages": [user("Hi")]}, ESTATE, Ledger(0), "vendor")
    assert caught.value.status == status
    assert sentence in caught.value.message


@pytest.mark.parametrize(
    "model",
    [
        "arn:aws:bedrock:us-east-1::foundation-model/anthropic.claude-3-haiku-20240307-v1:0",
        "arn:aws:bedrock:us-east-1:123456789012:inference-profile/us.amazon.nova-pro-v1:0",
        "arn:aws:bedrock:us-east-1:123456789012:application-inference-profile/mi1dadi0g15f",
        "mi1dadi0g15f",
        "arn:aws:bedrock:us-east-1:123456789012:provisioned-model/9fq4a1k2m3n5",
        "arn:aws:bedrock:us-east-1:123456789012:imported-model/4ky2v8b1q7ws",
        "arn:aws:bedrock:us-east-1:123456789012:custom-model-deployment/7hd02ksl4mzx",
        "global.anthropic.claude-opus-5",
    ],
)
def test_every_kind_of_id_is_callable(model: str) -> None:
    assert verdict(model, {}) == ""


def test_every_chat_model_answers_a_plain_question() -> None:
    for model in ESTATE.models.values():
        if model.chats and model.life != "G" and "D" in model.types:
            assert verdict(model.id, {}) == "", model.id
    for profile in ESTATE.profiles.values():
        if ESTATE.models[profile.foundation].chats:
            assert verdict(profile.id, {}) == "", profile.id
