"""The rules of tools: what may be offered, how it may be forced, and what a schema may say.

Sources: the service's sentences in public reports; AWS's pages on tool use and structured output
(strict: at most 20 tools, `additionalProperties: false` on every object); Anthropic's on property
names and top-level combinators.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import orjson

from proxy.simulator.call import Call, tool_results, tool_uses
from proxy.simulator.refusals import invalid, model_says, unsupported

_MOST_STRICT = 20
_PROPERTY = re.compile(r"[a-zA-Z0-9_.-]{1,64}")
_LOOKAROUND = re.compile(r"\(\?(?:=|!|<=|<!)")
_STRICT_UNKNOWN = (
    "minimum",
    "maximum",
    "exclusiveMinimum",
    "exclusiveMaximum",
    "multipleOf",
    "maxItems",
)


def check_tools(call: Call) -> None:
    """Raise `Refusal` for an offer, a choice or a history of tools that the family refuses."""
    config = call.body.get("toolConfig")
    used = any(tool_uses(m) or tool_results(m) for m in call.messages)
    if config is None:
        if used:
            raise invalid(
                "The toolConfig field must be defined when using toolUse and toolResult content "
                "blocks."
            )
        return
    if not call.family.tools:
        raise invalid("This model doesn't support tool use.")
    if call.streaming and not call.family.stream_tools:
        raise invalid("This model doesn't support tool use in streaming mode.")
    _check_system_tools(call, config)
    _check_offer(call)
    _check_choice(call, config)
    _check_inputs(call)


def check_output_format(call: Call) -> None:
    """Raise `Refusal` for structured output that the family does not know, or a bad schema."""
    text_format = (call.body.get("outputConfig") or {}).get("textFormat")
    if text_format is None:
        return
    if not call.family.schema:
        if call.family.is_claude:
            raise model_says("output_config.format: Extra inputs are not permitted")
        raise unsupported("outputConfig.textFormat")
    try:
        schema = orjson.loads(text_format["structure"]["jsonSchema"]["schema"])
    except orjson.JSONDecodeError:
        raise invalid("The provided JSON schema is not valid JSON.") from None
    if not isinstance(schema, dict):
        raise invalid("The provided JSON schema must be an object.")
    _check_closed(call, schema, "output_config.format.schema")


def _check_system_tools(call: Call, config: dict[str, Any]) -> None:
    for tool in config["tools"]:
        named = (tool.get("systemTool") or {}).get("name")
        if named is not None and named not in call.family.system_tools:
            raise unsupported("toolConfig.tools.systemTool")


def _check_offer(call: Call) -> None:
    names = [spec["name"] for spec in call.specs]
    if len(set(names)) < len(names):
        raise model_says("tools: Tool names must be unique.")
    strict = [spec for spec in call.specs if spec.get("strict")]
    if strict and not call.family.strict:
        at = call.specs.index(strict[0])
        raise model_says(f"tools.{at}.custom.strict: Extra inputs are not permitted")
    if len(strict) > _MOST_STRICT:
        raise model_says(
            f"Too many strict tools ({len(strict)}). The maximum number of strict tools supported "
            f"is {_MOST_STRICT}."
        )
    for at, spec in enumerate(call.specs):
        _check_schema(call, at, spec)


def _check_schema(call: Call, at: int, spec: dict[str, Any]) -> None:
    schema = spec["inputSchema"].get("json")
    where = f"tools.{at}.custom.input_schema"
    if not isinstance(schema, dict) or schema.get("type") != "object":
        raise invalid(
            f"The value at toolConfig.tools.{at}.toolSpec.inputSchema.json.type must be one of the "
            "following: object."
        )
    if spec.get("strict"):
        _check_closed(call, schema, where)
    if call.family.is_claude:
        _check_claude_schema(schema, where)
    if not call.family.references and any("$ref" in node for node in _objects(schema)):
        raise model_says(f"Malformed input request: #/tools/{at}: $ref is not supported")
    if not call.family.lookaround:
        for node in _objects(schema):
            if _LOOKAROUND.search(str(node.get("pattern", ""))):
                raise model_says(f"{where}: regex look-around is not supported in pattern")


def _check_claude_schema(schema: dict[str, Any], where: str) -> None:
    if any(word in schema for word in ("oneOf", "allOf", "anyOf")):
        raise model_says(
            f"{where}: input_schema does not support oneOf, allOf, or anyOf at the top level"
        )
    for node in _objects(schema):
        properties = node.get("properties")
        for name in properties if isinstance(properties, dict) else ():
            if not _PROPERTY.fullmatch(name):
                raise model_says(
                    f"{where}.properties: Property keys should match pattern "
                    "'^[a-zA-Z0-9_.-]{1,64}$'"
                )


def _check_closed(call: Call, schema: dict[str, Any], where: str) -> None:
    """The subset that constrained decoding knows: closed objects, no numeric bounds."""
    for node in _objects(schema):
        is_object = node.get("type") == "object"
        if is_object and node.get("additionalProperties") is not False and _wants_closed(call):
            raise model_says(
                f"{where}: For 'object' type, 'additionalProperties' must be explicitly set to "
                "false"
            )
        unknown = next((word for word in _STRICT_UNKNOWN if word in node), None)
        if unknown and isinstance(node.get("type"), str):
            raise model_says(
                f"{where}: For '{node['type']}' type, property '{unknown}' is not supported"
            )


def _wants_closed(call: Call) -> bool:
    """GLM took an open schema (captures fact 27); everyone else wants objects closed."""
    return call.family.name != "glm"


def _objects(schema: Any) -> Iterator[dict[str, Any]]:
    """Every object of a schema, itself included, depth first."""
    if isinstance(schema, dict):
        yield schema
        for inner in schema.values():
            yield from _objects(inner)
    elif isinstance(schema, list):
        for inner in schema:
            yield from _objects(inner)


def _check_choice(call: Call, config: dict[str, Any]) -> None:
    if not call.choice:
        return
    if call.choice not in call.family.choices:
        raise unsupported(f"toolConfig.toolChoice.{call.choice}")
    if call.choice == "tool":
        named = config["toolChoice"]["tool"]["name"]
        if named not in {spec["name"] for spec in call.specs}:
            raise model_says(f"Tool '{named}' not found in provided tools")


def _check_inputs(call: Call) -> None:
    for at, index, _, block in call.blocks():
        if "toolUse" in block and not isinstance(block["toolUse"]["input"], dict):
            raise invalid(
                f"The format of the value at messages.{at}.content.{index}.toolUse.input is "
                "invalid. Provide a json object for the field and try again."
            )
        for result in (block.get("toolResult") or {}).get("content", ()):
            if "json" in result and not isinstance(result["json"], dict):
                raise invalid(
                    f"The format of the value at messages.{at}.content.{index}.toolResult.content"
                    ".json is invalid. Provide a json object for the field and try again."
                )
