"""Bedrock's own members in a chat request: the escape hatch, checked before AWS sees it.

Each may be spelled as Converse has it or in snake case, and comes through the SDKs' ``extra_body``;
the guardrail, latency and tier headers are those of Bedrock's own OpenAI-shaped endpoint. Where
both speak of one member, the body wins. A wrong value is a 400 that names it, not AWS's.

Source: the service model of bedrock-runtime 2023-09-30 (Converse and ConverseStream requests).
"""

import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from proxy.converse.types import Json
from proxy.openai.request_checks import (
    as_object,
    bad_value,
    check_depth,
    join,
    missing,
    read_array,
    read_choice,
    read_object,
    read_text,
    require_text,
    wrong_type,
)

Members = dict[str, Json]

MAX_PAIRS: Final = 16
_METADATA: Final = re.compile(r"[a-zA-Z0-9\s:_@$#=/+,\-.]{0,256}", re.ASCII)
_VERSION: Final = re.compile(r"[1-9][0-9]{0,7}|DRAFT")
_PROJECT: Final = re.compile(
    r"[a-zA-Z0-9_-]+"
    r"|arn:aws(-us-gov|-cn|-iso|-iso-b|-iso-f|-eusc)?:bedrock:[0-9a-z-]{1,20}:[0-9]{12}"
    r":project/[a-zA-Z0-9_-]+"
)
_TAG: Final = re.compile(r"[a-zA-Z0-9]{1,20}")
_TRACES: Final = ("enabled", "disabled", "enabled_full")
_MODES: Final = ("sync", "async")
_LATENCIES: Final = ("standard", "optimized")
_TIERS: Final = ("priority", "default", "flex", "reserved")
_GUARDRAIL: Final = (
    "guardrailIdentifier",
    "guardrailVersion",
    "trace",
    "streamProcessingMode",
)
_SNAKE: Final = MappingProxyType(
    {
        "additionalModelRequestFields": "additional_model_request_fields",
        "additionalModelResponseFieldPaths": "additional_model_response_field_paths",
        "guardrailConfig": "guardrail_config",
        "guardrailIdentifier": "guardrail_identifier",
        "guardrailVersion": "guardrail_version",
        "streamProcessingMode": "stream_processing_mode",
        "performanceConfig": "performance_config",
        "requestMetadata": "request_metadata",
        "promptVariables": "prompt_variables",
        "outputConfig": "output_config",
        "projectIdentifier": "project_identifier",
        "textFormat": "text_format",
    }
)
_GUARDRAIL_HEADERS: Final = (
    ("x-amzn-bedrock-guardrailidentifier", "guardrailIdentifier"),
    ("x-amzn-bedrock-guardrailversion", "guardrailVersion"),
    ("x-amzn-bedrock-trace", "trace"),
)
_LATENCY_HEADER: Final = "x-amzn-bedrock-performanceconfig-latency"
_TIER_HEADER: Final = "x-amzn-bedrock-service-tier"
_HEADERS: Final = frozenset(
    {_LATENCY_HEADER, _TIER_HEADER, *(name for name, _ in _GUARDRAIL_HEADERS)}
)
MEMBERS: Final = frozenset({*_SNAKE, *_SNAKE.values(), "serviceTier"})


def read_native(body: Mapping[str, Json], headers: Mapping[str, str]) -> Members:
    """Converse's members by Converse's names. Raises ``ProxyError`` 400 naming the fault."""
    if MEMBERS.isdisjoint(body) and _HEADERS.isdisjoint(headers):
        return {}  # the common case, and it stands on every request's way
    members = {
        "additionalModelRequestFields": _request_fields(body),
        "additionalModelResponseFieldPaths": _response_paths(body),
        "guardrailConfig": _guardrail(body, headers),
        "performanceConfig": _performance(body, headers),
        "requestMetadata": _metadata(body),
        "promptVariables": _variables(body),
        "serviceTier": _tier(body, headers),
        "outputConfig": _output(body),
        "projectIdentifier": _project(body),
    }
    return {name: value for name, value in members.items() if value}


def read_guard_tag(body: Mapping[str, Json]) -> str:
    """``tagSuffix`` of Bedrock's own body-level guardrail object; "" if unset."""
    at = "amazon-bedrock-guardrailConfig"
    suffix = read_text(read_object(body, at) or {}, "tagSuffix", at)
    if suffix and not _TAG.fullmatch(suffix):
        raise bad_value(f"{at}.tagSuffix", "1 to 20 letters or digits.")
    return suffix or ""


def _spelling(body: Mapping[str, Json], name: str) -> str:
    """The key under which this member was sent; its own name if it was not."""
    snake = _SNAKE.get(name, name)
    return snake if body.get(name) is None and body.get(snake) is not None else name


def _member(body: Mapping[str, Json], name: str, allowed: tuple[str, ...]) -> tuple[Members, str]:
    """An object with its keys in Converse's spelling, and the path it came under."""
    path = _spelling(body, name)
    value = read_object(body, path) or {}
    known = {_spelling(value, key): key for key in allowed}
    for key, inner in value.items():
        if key not in known and inner is not None:
            raise bad_value(join(path, key), f"known members are: {', '.join(allowed)}.")
    return {known[key]: inner for key, inner in value.items() if inner is not None}, path


def _request_fields(body: Mapping[str, Json]) -> Members | None:
    path = _spelling(body, "additionalModelRequestFields")
    value = read_object(body, path)
    if value is not None:
        check_depth(value, path)
    return dict(value) if value else None


def _response_paths(body: Mapping[str, Json]) -> list[Json] | None:
    path = _spelling(body, "additionalModelResponseFieldPaths")
    value = read_array(body, path, 10)
    for index, entry in enumerate(value or ()):
        if not isinstance(entry, str):
            raise wrong_type(f"{path}[{index}]", "a string", entry)
        if not 1 <= len(entry) <= 256 or not entry.startswith("/"):
            raise bad_value(f"{path}[{index}]", "a JSON pointer of 1 to 256 characters.")
    return list(value) if value else None


def _guardrail(body: Mapping[str, Json], headers: Mapping[str, str]) -> Members | None:
    config, path = _member(body, "guardrailConfig", _GUARDRAIL)
    sent = {
        name: word.lower() if name == "trace" else word
        for header, name in _GUARDRAIL_HEADERS
        if name not in config and (word := _header(headers, header))
    }
    if not config and not sent.keys() - {"trace"}:
        return None  # a trace by header, of no guardrail, asks for nothing
    paths = {name: join(path, name) for name in _GUARDRAIL}
    paths |= {name: header for header, name in _GUARDRAIL_HEADERS if name in sent or not config}
    config |= sent
    told = {paths[name]: value for name, value in config.items()}
    require_text(told, paths["guardrailIdentifier"], limit=2048)
    if not _VERSION.fullmatch(require_text(told, paths["guardrailVersion"])):
        raise bad_value(paths["guardrailVersion"], "a version number or DRAFT.")
    read_choice(told, paths["trace"], _TRACES)
    read_choice(told, paths["streamProcessingMode"], _MODES)
    return config


def _header(headers: Mapping[str, str], name: str) -> str:
    return headers.get(name, "").strip()


def _performance(body: Mapping[str, Json], headers: Mapping[str, str]) -> Members | None:
    config, path = _member(body, "performanceConfig", ("latency",))
    sent = _header(headers, _LATENCY_HEADER).lower()
    if sent and not config:
        read_choice({_LATENCY_HEADER: sent}, _LATENCY_HEADER, _LATENCIES)
        return {"latency": sent}
    return config if read_choice(config, "latency", _LATENCIES, path) else None


def _tier(body: Mapping[str, Json], headers: Mapping[str, str]) -> Members | None:
    if isinstance(body.get("serviceTier"), str):
        body = {"serviceTier": {"type": body["serviceTier"]}}
    elif body.get("serviceTier") is None:  # "service_tier" is OpenAI's own field, a string
        body = {}
    config, path = _member(body, "serviceTier", ("type",))
    sent = _header(headers, _TIER_HEADER).lower()
    if sent and not config:
        read_choice({_TIER_HEADER: sent}, _TIER_HEADER, _TIERS)
        return {"type": sent}
    return config if read_choice(config, "type", _TIERS, path) else None


def _metadata(body: Mapping[str, Json]) -> Members | None:
    path = _spelling(body, "requestMetadata")
    value = read_object(body, path) or {}
    if len(value) > MAX_PAIRS:
        raise bad_value(path, f"at most {MAX_PAIRS} pairs may be sent.")
    for key, entry in value.items():
        if not key or not _METADATA.fullmatch(key):
            raise bad_value(path, "keys are 1 to 256 letters, digits, blanks or :_@$#=/+,-. signs.")
        if not isinstance(entry, str):
            raise wrong_type(join(path, key), "a string", entry)
        if not _METADATA.fullmatch(entry):
            raise bad_value(
                join(path, key), "at most 256 letters, digits, blanks or :_@$#=/+,-. signs."
            )
    return dict(value) or None


def _variables(body: Mapping[str, Json]) -> Members | None:
    path = _spelling(body, "promptVariables")
    variables: Members = {}
    for name, value in (read_object(body, path) or {}).items():
        at = join(path, name)
        text = value if isinstance(value, str) else read_text(as_object(value, at), "text", at)
        if text is None:
            raise missing(join(at, "text"))
        variables[name] = {"text": text}
    return variables or None


def _output(body: Mapping[str, Json]) -> Members | None:
    config, path = _member(body, "outputConfig", ("textFormat", "effort"))
    read_text(config, "effort", path, 16)
    text_format = read_object(config, "textFormat", path)
    if text_format is not None:
        at = join(path, "textFormat")
        if require_text(text_format, "type", at) != "json_schema":
            raise bad_value(join(at, "type"), "supported values are: json_schema.")
        structure = as_object(text_format.get("structure"), join(at, "structure"))
        at = join(at, "structure.jsonSchema")
        definition = as_object(structure.get("jsonSchema"), at)
        require_text(definition, "schema", at, limit=10_000_000)
        read_text(definition, "name", at)
        read_text(definition, "description", at)
        config["textFormat"] = {
            "type": "json_schema",
            "structure": {"jsonSchema": {k: v for k, v in definition.items() if v is not None}},
        }
    return config or None


def _project(body: Mapping[str, Json]) -> str | None:
    """The Bedrock project that the call belongs to (its quotas and bill)."""
    path = _spelling(body, "projectIdentifier")
    project = read_text(body, path, limit=2048)
    if project is not None and not _PROJECT.fullmatch(project):
        raise bad_value(path, "a project's id or ARN.")
    return project
