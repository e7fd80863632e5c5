"""Recorded Converse requests, said in OpenAI's words, become the recorded requests again.

Bedrock took each of them, so what the translators make of the same wishes is known to be taken. The
recordings stand beside the project, not in it. What is written otherwise on purpose, and says the
same, is taken out of both (``plain``); what is said otherwise on purpose stands in ``OTHERWISE``.
"""

import base64
import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import orjson
import pytest

from proxy.catalog.families import foundation_of, traits_for
from proxy.catalog.model import Model
from proxy.dialect import Options
from proxy.openai.chat.request import parse_request
from proxy.openai.chat.to_converse import translate

RECORDINGS = Path(__file__).parents[4] / "shared" / "captures"
PDF = base64.b64encode(b"%PDF-1.4\n" + bytes(40)).decode()
PNG = base64.b64encode(b"\x89PNG\r\n\x1a\n" + bytes(40)).decode()
JPEG = base64.b64encode(b"\xff\xd8\xff\xe0" + bytes(40)).decode()
MEDIA = {"png": PNG, "jpeg": JPEG}
TYPES = {"txt": "text/plain", "pdf": "application/pdf", "three_gp": "video/3gpp"}
NATIVE = ("guardrailConfig", "performanceConfig", "serviceTier", "additionalModelRequestFields")
DIALS = {
    "maxTokens": "max_tokens", "temperature": "temperature", "topP": "top_p",
    "stopSequences": "stop",
}  # fmt: skip

OTHERWISE = {
    "bedrock-converse-boolean": "Claude 3 is not on AWS's list for outputConfig: a tool instead",
    "bedrock-converse-categorical": "the same",
    "should-handle-different-image-formats-with-correct-mime-types": "a PNG that is called jpeg",
    "test-bedrock-cache-write-and-read": "a blank text is refused elsewhere",
    "test-bedrock-cache-write-and-read-1": "the same",
    "test-video-url-input-1": "its format is video/mp4, which the reference does not have",
    "test-guardrail-converse": "two messages of a user in a row are made one",
    "test-guardrail-converse-stream": "the same",
}


class Unsayable(Exception):
    """OpenAI's API has no words for it."""


def recorded() -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path in sorted(RECORDINGS.glob("*/*.json")):
        exchange = json.loads(path.read_text())
        body = exchange["request"]["body"]
        taken = exchange["recorded"] == "real" and exchange["response"]["status"] == 200
        if taken and exchange["operation"].startswith("Converse") and isinstance(body, dict):
            yield path.stem, exchange["model"], with_media(body)


def with_media(value: Any, form: str = "") -> Any:
    """The request with something in the place of the media that the recordings leave out."""
    if isinstance(value, list):
        return [with_media(inner, form) for inner in value]
    if not isinstance(value, dict):
        left_out = isinstance(value, str) and value.startswith("<base64")
        return MEDIA.get(form, PDF) if left_out else value
    form = value.get("format", form)
    return {name: with_media(inner, form) for name, inner in value.items()}


# Converse in OpenAI's words


def said(body: Mapping[str, Any]) -> dict[str, Any]:
    request: dict[str, Any] = {"model": "m", "messages": list(messages(body))}
    inference = body.get("inferenceConfig", {})
    request |= {DIALS[name]: value for name, value in inference.items()}
    request |= {name: body[name] for name in NATIVE if name in body}
    if tools := body.get("toolConfig"):
        request |= said_tools(tools)
    if form := body.get("outputConfig", {}).get("textFormat"):
        told = form["structure"]["jsonSchema"]
        schema = {**told, "schema": json.loads(told["schema"])}
        request["response_format"] = {"type": "json_schema", "json_schema": schema}
    return request


def messages(body: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    if body.get("system"):
        yield {"role": "system", "content": parts(body["system"])}
    for message in body["messages"]:
        results = [block["toolResult"] for block in message["content"] if "toolResult" in block]
        others = [block for block in message["content"] if "toolResult" not in block]
        if message["role"] == "assistant":
            if results:
                raise Unsayable
            yield assistant(others)
            continue
        for result in results:
            content = parts(result["content"])
            failed = {"is_error": True} if result.get("status") == "error" else {}
            call = {"tool_call_id": result["toolUseId"]}
            yield {"role": "tool", **call, "content": content, **failed}
        if others:
            yield {"role": "user", "content": parts(others)}


def assistant(blocks: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    message: dict[str, Any] = {"role": "assistant"}
    calls = [block["toolUse"] for block in blocks if "toolUse" in block]
    thoughts = [block["reasoningContent"] for block in blocks if "reasoningContent" in block]
    rest = [b for b in blocks if "toolUse" not in b and "reasoningContent" not in b]
    if rest:
        message["content"] = parts(rest)
    if calls:
        message["tool_calls"] = [
            {"id": use["toolUseId"], "type": "function",
             "function": {"name": use["name"], "arguments": json.dumps(use["input"])}}
            for use in calls
        ]  # fmt: skip
    if thoughts:
        message["thinking_blocks"] = [
            {"type": "redacted_thinking", "data": thought["redactedContent"]}
            if "redactedContent" in thought
            else {"type": "thinking", "thinking": thought["reasoningText"]["text"],
                  "signature": thought["reasoningText"]["signature"]}
            for thought in thoughts
        ]  # fmt: skip
    return message


def parts(blocks: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    content: list[dict[str, Any]] = []
    for block in blocks:
        [(kind, value)] = block.items()
        if kind == "cachePoint":
            content[-1]["cache_control"] = {"type": "ephemeral"}
        elif kind in ("text", "json"):
            text = value if kind == "text" else json.dumps(value)
            content.append({"type": "text", "text": text})
        elif kind == "document":
            content.append(document(value))
        elif kind in ("image", "video"):
            form = value["format"].rpartition("/")[2]
            kinds = f"{kind}_url"
            content.append({"type": kinds, kinds: {"url": url(value, f"{kind}/{form}")}})
        elif kind == "guardContent":
            content.append({"type": "guarded_text", **value["text"]})
        elif kind == "searchResult":
            content.append({"type": "search_result", **value})
        else:
            raise Unsayable
    return content


def url(value: Mapping[str, Any], media_type: str) -> str:
    source = value["source"]
    if "s3Location" in source:
        return str(source["s3Location"]["uri"])
    return f"data:{TYPES.get(value['format'], media_type)};base64,{source['bytes']}"


def document(value: Mapping[str, Any]) -> dict[str, Any]:
    form, source = value.get("format", "txt"), value["source"]
    told: dict[str, Any] = {"type": "text", "data": source.get("text")}
    if "content" in source:
        pieces = [{"type": "text", **piece} for piece in source["content"]]
        told = {"type": "content", "content": pieces}
    elif "text" not in source:
        told = {"type": "url", "url": url(value, f"application/{form}")}
    title = f"{value['name']}.{form}"
    more = {name: value[name] for name in ("context", "citations") if name in value}
    return {"type": "document", "source": told, "title": title, **more}


def said_tools(config: Mapping[str, Any]) -> dict[str, Any]:
    tools: list[dict[str, Any]] = []
    for tool in config["tools"]:
        if "cachePoint" in tool:
            tools[-1]["cache_control"] = {"type": "ephemeral"}
        elif "systemTool" in tool:
            raise Unsayable
        else:
            function = dict(tool["toolSpec"])
            function["parameters"] = function.pop("inputSchema")["json"]
            tools.append({"type": "function", "function": function})
    choice: dict[str, Any] = config.get("toolChoice", {})
    if "any" in choice:
        return {"tools": tools, "tool_choice": "required"}
    if "tool" in choice:
        return {"tools": tools, "tool_choice": {"type": "function", "function": choice["tool"]}}
    return {"tools": tools}


# What says the same


def plain(body: Mapping[str, Any]) -> dict[str, Any]:
    """Without what is empty, what is the default (a choice of ``auto``, a result's ``success``),
    and a ``strict`` inside a tool's schema, where it is no keyword. Schemas and results as values,
    not as text."""
    made: dict[str, Any] = orjson.loads(orjson.dumps(body))
    for tool in made.get("toolConfig", {}).get("tools", ()):
        if "toolSpec" in tool:
            tool["toolSpec"]["inputSchema"]["json"].pop("strict", None)
    if made.get("toolConfig", {}).get("toolChoice") == {"auto": {}}:
        del made["toolConfig"]["toolChoice"]
    for message in made["messages"]:
        for block in message["content"]:
            for part in block.get("toolResult", {}).get("content", ()):
                if "json" in part:
                    part["text"] = json.dumps(part.pop("json"))
            if block.get("toolResult", {}).get("status") == "success":
                del block["toolResult"]["status"]
    if form := made.get("outputConfig", {}).get("textFormat"):
        told = form["structure"]["jsonSchema"]
        told["schema"] = json.loads(told["schema"])
    inference = {k: v for k, v in made.get("inferenceConfig", {}).items() if v != []}
    made["inferenceConfig"] = inference
    return {name: value for name, value in made.items() if value not in ([], {})}


@pytest.mark.skipif(not RECORDINGS.is_dir(), reason="no recordings beside the project")
def test_recorded_requests_are_made_again() -> None:
    other, count = set(), Counter[str]()
    for name, model_id, body in recorded():
        try:
            request = said(body)
        except Unsayable:
            count["unsayable"] += 1
            continue
        foundation = foundation_of(model_id)
        model = Model("m", model_id, foundation, "m", traits_for(foundation))
        made = translate(parse_request(orjson.dumps(request), {}), model, Options())
        count["made"] += 1
        if plain(made.body) != plain(body):
            other.add(name)
    assert other == set(OTHERWISE)
    assert count["made"] > 240
    assert count["unsayable"] < 10
