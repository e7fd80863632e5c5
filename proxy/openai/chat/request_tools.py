"""``tools``, ``tool_choice``, their deprecated forerunners, and ``response_format``.

Both the nested form of Chat Completions and the flat one of the Responses API (which some clients
send here) are read; Anthropic's words for a choice (``any``, ``{type: tool, name}``) too. Whether a
chosen tool was offered, and what a family can do with it, is judged in ``tools.py``.
Source: OpenAI API reference, *Create chat completion*.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from proxy.converse.types import Json
from proxy.errors import ProxyError, invalid
from proxy.openai.chat.request_shape import ResponseFormat, ToolChoice, ToolSpec
from proxy.openai.request_checks import (
    MAX_TEXT,
    as_object,
    bad_value,
    check_depth,
    is_shallow,
    join,
    missing,
    read_array,
    read_boolean,
    read_choice,
    read_object,
    read_text,
    require_text,
    wrong_type,
)

MAX_TOOLS: Final = 512
_CHOICE_WORDS: Final = MappingProxyType(
    {"auto": "auto", "none": "none", "required": "required", "any": "required"}
)


def read_tools(body: Mapping[str, Json]) -> tuple[ToolSpec, ...]:
    """``tools``, or ``functions`` where that is what was sent."""
    tools = read_array(body, "tools", MAX_TOOLS)
    functions = read_array(body, "functions", MAX_TOOLS)
    if tools and functions:
        raise invalid("'functions' cannot be sent beside 'tools'.", "functions")
    if functions:
        return tuple(
            _spec("function", as_object(entry, path), as_object(entry, path), path, path)
            for index, entry in enumerate(functions)
            for path in (f"functions[{index}]",)
        )
    # All at once; only where that fails is each looked at, so that the fault can be named.
    deep = tools is not None and not is_shallow(tools)
    return tuple(_tool(entry, f"tools[{index}]", deep) for index, entry in enumerate(tools or ()))


def _tool(entry: Json, path: str, deep: bool) -> ToolSpec:
    source = as_object(entry, path)
    kind = read_text(source, "type", path) or "function"
    if kind == "function" or kind == "custom":
        nested = read_object(source, kind, path)
        if nested is None and source.get("name") is None:
            raise missing(join(path, kind))
        inner = source if nested is None else nested
        at = path if nested is None else f"{path}.{kind}"
        return _spec(kind, inner, source, path, at, deep)
    if not kind or kind.isspace() or len(kind) > 256:
        raise bad_value(f"{path}.type", "it does not name a kind of tool.")
    return ToolSpec(kind="builtin", name=kind, path=path, source=source)


def _spec(
    kind: str,
    inner: Mapping[str, Json],
    source: Mapping[str, Json],
    path: str,
    at: str,
    deep: bool = True,
) -> ToolSpec:
    parameters = inner.get("parameters", inner.get("input_schema"))
    if parameters is not None and not isinstance(parameters, dict | bool):
        raise wrong_type(f"{at}.parameters", "an object (a JSON Schema)", parameters)
    if deep:
        check_depth(parameters, f"{at}.parameters")
    if kind == "custom":
        _check_format(inner, at)
    return ToolSpec(
        kind="custom" if kind == "custom" else "function",
        name=require_text(inner, "name", at),
        path=path,
        description=read_text(inner, "description", at) or "",
        parameters=parameters,
        strict=bool(read_boolean(inner, "strict", at)),
        source=source,
    )


def _check_format(tool: Mapping[str, Json], at: str) -> None:
    """A custom tool's ``format``; a grammar stands in a member of its own, or (Responses) flat."""
    form = read_object(tool, "format", at)
    if form is None:
        return
    path = f"{at}.format"
    kind = read_choice(form, "type", ("text", "grammar"), path)
    if kind is None:
        raise missing(f"{path}.type")
    if kind == "grammar":
        nested = read_object(form, "grammar", path)
        if nested is None and form.get("definition") is None:
            raise missing(f"{path}.grammar")
        grammar, path = (form, path) if nested is None else (nested, f"{path}.grammar")
        require_text(grammar, "definition", path, limit=MAX_TEXT)
        if read_choice(grammar, "syntax", ("lark", "regex"), path) is None:
            raise missing(f"{path}.syntax")


def read_choice_of_tool(body: Mapping[str, Json]) -> ToolChoice | None:
    """``tool_choice``, or ``function_call`` where only that was sent."""
    if body.get("tool_choice") is not None:
        return _choice(body["tool_choice"], "tool_choice")
    legacy = body.get("function_call")
    if isinstance(legacy, dict):
        return ToolChoice("named", (require_text(legacy, "name", "function_call"),))
    return None if legacy is None else _choice(legacy, "function_call")


def _choice(value: Json, path: str) -> ToolChoice:
    if isinstance(value, str):
        return _choice_word(value, path)
    if not isinstance(value, dict):
        raise wrong_type(path, "a string or an object", value)
    bare = value.get("type") is None and value.get("function") is not None  # Hugging Face's
    kind = "function" if bare else require_text(value, "type", path)
    if kind in _CHOICE_WORDS:
        return _choice_word(kind, f"{path}.type")
    if kind == "allowed_tools":
        return _allowed(value, path)
    if kind in ("function", "custom", "tool"):
        return ToolChoice("named", (_tool_name(value, path),))
    return ToolChoice("named", (kind,))


def _choice_word(word: str, path: str) -> ToolChoice:
    match _CHOICE_WORDS.get(word):
        case "auto":
            return ToolChoice("auto")
        case "none":
            return ToolChoice("none")
        case "required":
            return ToolChoice("required")
    raise bad_value(path, "supported values are: auto, none, required.")


def _allowed(value: Mapping[str, Json], path: str) -> ToolChoice:
    nested = read_object(value, "allowed_tools", path)
    inner, at = (value, path) if nested is None else (nested, f"{path}.allowed_tools")
    mode = read_choice(inner, "mode", ("auto", "required"), at) or "auto"
    entries = read_array(inner, "tools", MAX_TOOLS, at)
    if not entries:
        raise (
            missing(f"{at}.tools") if entries is None else bad_value(f"{at}.tools", "it is empty.")
        )
    names = tuple(
        _tool_name(as_object(entry, f"{at}.tools[{index}]"), f"{at}.tools[{index}]")
        for index, entry in enumerate(entries)
    )
    return ToolChoice("allowed", names, required=mode == "required")


def _tool_name(entry: Mapping[str, Json], path: str) -> str:
    kind = read_text(entry, "type", path) or "function"
    if kind in ("function", "custom"):
        nested = read_object(entry, kind, path)
        if nested is not None:
            return require_text(nested, "name", f"{path}.{kind}")
        if entry.get("name") is None:
            raise missing(f"{path}.{kind}.name")
    return require_text(entry, "name", path) if entry.get("name") is not None else kind


def check_choice(choice: ToolChoice | None, body: Mapping[str, Json], offered: bool) -> None:
    """A call cannot be demanded where nothing may be called."""
    if choice is not None and choice.mode not in ("auto", "none") and not offered:
        raise _no_tools("function_call" if body.get("tool_choice") is None else "tool_choice")


def _no_tools(path: str) -> ProxyError:
    return invalid(f"'{path}' asks for a tool call, but no tools were sent.", path)


def read_response_format(body: Mapping[str, Json]) -> ResponseFormat:
    value = read_object(body, "response_format")
    if value is None:
        return ResponseFormat("text")
    kind = require_text(value, "type", "response_format")
    if kind == "text":
        return ResponseFormat("text")
    if kind in ("json_object", "json"):
        return _json_mode(value)
    if kind != "json_schema":
        raise bad_value(
            "response_format.type", "supported values are: json_object, json_schema, text."
        )
    at = "response_format.json_schema"
    inner = read_object(value, "json_schema", "response_format")
    if inner is None:
        raise missing(at)
    schema = read_object(inner, "schema", at)
    if schema is None:
        raise missing(f"{at}.schema")
    check_depth(schema, f"{at}.schema")
    return ResponseFormat(
        "json_schema",
        name=require_text(inner, "name", at),
        description=read_text(inner, "description", at) or "",
        schema=schema,
        strict=bool(read_boolean(inner, "strict", at)),
    )


def _json_mode(value: Mapping[str, Json]) -> ResponseFormat:
    """JSON mode; with a schema beside it, a schema's: ``schema`` (Together, llama.cpp,
    instructor) or ``value`` (Text Generation Inference, Hugging Face's client)."""
    member = "value" if value.get("schema") is None else "schema"
    schema = read_object(value, member, "response_format")
    if not schema:
        return ResponseFormat("json_object")
    check_depth(schema, f"response_format.{member}")
    return ResponseFormat("json_schema", schema=schema)
