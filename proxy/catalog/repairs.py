"""Which refusal allows which repair: a table of wordings, each with the fact it teaches.

A repair is no edit of a request but a change of ``Traits``: the service has just told us a fact
about this model that its row does not have. The request is translated again with that fact, so a
repaired call is one that the translators would have made had they known, and tells its losses in
their own notes. A model is thereby right on its launch day, without a release.

Only the facts in ``MAY_CHANGE`` can be learned; those that stand for something a caller must never
lose unknowingly (guardrails, tools, media) are not among them, and ``keeps_what_matters`` compares
the two bodies besides. Sources: sentences of Bedrock and of the models behind it, recorded or from
field reports of 2026; Claude's own words come behind "The model returned the following errors:".
"""

import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Any, Final, NamedTuple

import orjson

from proxy.catalog.model import Traits

Changes = Mapping[str, object]
"""Members of ``Traits`` and their new values."""

Body = Mapping[str, Any]
"""A Converse request."""

MAY_CHANGE: Final = frozenset(
    {
        "stream", "stream_tools",  # the operation; the answer is replayed as a stream
        "system", "mid_system", "leading_assistant", "prefill", "results_alone",  # moved
        "stop", "blank_stop",  # emulated on the answer
        "sampling", "one_sampler", "penalties",  # dropped
        "max_output_tokens", "clamp_output", "min_max_tokens",  # clamped
        "cache_places", "cache_hour",  # dropped
        "strict_tools", "result_status", "parallel_dial", "tool_choices", "forced_tools",
        "schema_refs", "schema_lookaround",  # of a tool's schema: inlined, dropped
        "native_schema",  # the format is asked for by a tool or in words instead
        "reasoning", "budget_too", "efforts", "effort_field", "interleaved_beta",  # other fields
        "replays",  # earlier reasoning is left out
    }
)  # fmt: skip
"""The allowlist of facts that a refusal may teach, each with what becomes of the field."""

_SAMPLERS: Final[Mapping[str, str]] = MappingProxyType(
    {"temperature": "temperature", "top_p": "top_p", "topp": "top_p", "top_k": "top_k",
     "topk": "top_k"}
)  # fmt: skip
_EFFORTS: Final = frozenset({"none", "minimal", "low", "medium", "high", "xhigh", "max"})
_QUOTES_THE_REQUEST: Final = re.compile(
    r"validation errors? detected|failed to satisfy constraint", re.IGNORECASE
)
_NO_MEDIA: Final = re.compile(
    r"support the (image|document|video|audio) content block", re.IGNORECASE
)
"""Recorded: video to Claude."""
_THINKING: Final = frozenset({"thinking", "reasoning_config"})
_NO_CACHE: Final = "did not allow prompt caching"
"""The one refusal of a capability that comes as a 403."""


class Repair(NamedTuple):
    """What a refusal taught. ``lasting``: of the model, to be remembered; else of this request."""

    name: str
    changes: Changes
    lasting: bool = True


class _Row(NamedTuple):
    name: str
    wording: re.Pattern[str]
    teach: Callable[[Traits, "re.Match[str]"], Changes]
    lasting: bool = True


def find_repair(status: int, message: str, traits: Traits) -> Repair | None:
    """What Bedrock's refusal teaches about a model with these traits; ``None``: nothing new.

    Any 400 is looked at, and the one 403 that names a capability. A message that quotes the
    request is not trusted: it may say anything.
    """
    if status != 400 and not (status == 403 and _NO_CACHE in message):
        return None
    if _QUOTES_THE_REQUEST.search(message):
        return None
    for row in _ROWS:
        if (match := row.wording.search(message)) is not None:  # the first that fits decides
            taught = row.teach(traits, match)
            changes = {key: new for key, new in taught.items() if getattr(traits, key) != new}
            return Repair(row.name, MappingProxyType(changes), row.lasting) if changes else None
    return None


def refused_media(status: int, message: str) -> str | None:
    """The kind of media that the model does not support, if that is why it refused."""
    if status != 400 or _QUOTES_THE_REQUEST.search(message):
        return None
    match = _NO_MEDIA.search(message)
    return None if match is None else match[1].lower()


def for_the_request(repair: Repair, refused: Body) -> Repair:
    """``repair`` as far as it may be remembered. A forced tool that was refused beside thinking
    which the request itself asked for says nothing of requests that do not think."""
    asked = refused.get("additionalModelRequestFields", {})
    if "forced_tools" in repair.changes and not _THINKING.isdisjoint(asked):
        return repair._replace(lasting=False)
    return repair


def with_changes(traits: Traits, changes: Changes) -> Traits:
    """``traits`` with what was learned. ``KeyError``: a fact that may not be."""
    unlawful = changes.keys() - MAY_CHANGE
    if unlawful:
        raise KeyError(*unlawful)
    return replace(traits, **changes)  # type: ignore[arg-type]  # checked by name just above


def keeps_what_matters(before: Body, after: Body) -> bool:
    """Whether a repaired body still has what no repair may take: the guardrail, every tool, every
    image and document, and a wish for JSON in some form."""
    return (
        before.get("guardrailConfig") == after.get("guardrailConfig")
        and _tools(before) <= _tools(after)
        and _media(before) == _media(after)
        and (not _wants_json(before) or _asks_for_json(before, after))
    )


def _tools(body: Body) -> frozenset[str]:
    tools = body.get("toolConfig", {}).get("tools", ())
    specs = (tool.get("toolSpec") or tool.get("systemTool") or {} for tool in tools)
    return frozenset(spec["name"] for spec in specs if "name" in spec)


def _media(body: Body) -> Counter[str]:
    kinds = ("image", "document", "video", "audio", "guardContent", "searchResult")
    return Counter(kind for block in _blocks(body) for kind in kinds if kind in block)


def _blocks(body: Body) -> Iterator[Body]:
    """Every content block, those inside tool results and the system prompt included."""
    yield from body.get("system", ())
    for message in body.get("messages", ()):
        for block in message["content"]:
            yield block
            yield from block.get("toolResult", {}).get("content", ())


def _wants_json(body: Body) -> bool:
    return "textFormat" in body.get("outputConfig", {})


def _asks_for_json(before: Body, after: Body) -> bool:
    """Still requested natively, by an additional tool, or by an instruction."""
    return (
        _wants_json(after)
        or _tools(after) > _tools(before)
        or "JSON" in orjson.dumps([after.get("system"), after["messages"][:1]]).decode()
    )


# ---- what each refusal teaches ------------------------------------------------------------------


def _fact(**changes: object) -> Callable[[Traits, "re.Match[str]"], Changes]:
    return lambda _traits, _match: changes


def _sampler(traits: Traits, match: "re.Match[str]") -> Changes:
    return {"sampling": traits.sampling - {_SAMPLERS[match["sampler"].lower()]}}


def _cache_place(traits: Traits, match: "re.Match[str]") -> Changes:
    return {"cache_places": traits.cache_places - {match["place"]}}


def _choice(traits: Traits, match: "re.Match[str]") -> Changes:
    kind = match["kind"]
    return {"tool_choices": traits.tool_choices - {kind} if kind else frozenset()}


def _highest(_traits: Traits, match: "re.Match[str]") -> Changes:
    return {"max_output_tokens": int(match[1]), "clamp_output": True}


def _lowest(_traits: Traits, match: "re.Match[str]") -> Changes:
    return {"min_max_tokens": int(match["least"])}


def _levels(_traits: Traits, match: "re.Match[str]") -> Changes:
    known = _EFFORTS & set(re.findall(r"'(\w+)'", match["levels"]))
    return {"efforts": frozenset(known)} if known else {}


def _no_budget(traits: Traits, _match: "re.Match[str]") -> Changes:
    style = "adaptive" if traits.reasoning == "budget" else traits.reasoning
    return {"budget_too": False, "reasoning": style}


def _only_budget(traits: Traits, _match: "re.Match[str]") -> Changes:
    return {"reasoning": "budget"} if traits.reasoning in ("adaptive", "always") else {}


_NO: Final = r"(?:doesn.?t|does not) support"
_SAMPLER: Final = r"(?P<sampler>temperature|top_?p|top_?k)\b"
_QUOTE: Final = r"[`'\"]?"
_DIAL: Final = r"(?:thinking|reasoning_effort|reasoning_config|reasoningConfig|reasoning)"
_STRANGE: Final = r": Extra inputs are not permitted"

# (name, wording, what it teaches), judged top down.
_LASTING: Final = (
    # The operation
    ("stream_tools", rf"{_NO} tool use in streaming", _fact(stream_tools=False)),
    ("stream", rf"{_NO} (?:the ConverseStream|response streaming)", _fact(stream=False)),
    # The conversation
    ("system", rf"{_NO} (?:system (?:messages|prompts?)|the system field)", _fact(system=False)),
    ("mid_system", rf"{_NO} the system role in messages", _fact(mid_system=False)),
    ("leading_assistant", r"conversation must start with a user message",
     _fact(leading_assistant=False)),
    ("prefill", rf"{_NO} assistant message prefill|conversation must end with a user message"
                r"|expected last role user or tool", _fact(prefill=False)),
    ("results_alone",
     r"conversation blocks and tool (?:use|result) blocks cannot be provided in the same turn",
     _fact(results_alone=True)),
    ("replays", rf"{_NO} the reasoningContent|cannot contain reasoning content",
     _fact(replays=False)),
    # Sampling and limits
    ("stop", rf"{_NO} the (?:inferenceConfig\.)?stopSequences", _fact(stop=False)),
    ("blank_stop", r"stop_sequences: each stop sequence must contain non-whitespace",
     _fact(blank_stop=False)),
    ("one_sampler", r"`?temperature`? and `?top_p`? cannot both be", _fact(one_sampler=True)),
    ("sampling", rf"{_SAMPLER}{_QUOTE} is (?:deprecated|not supported)", _sampler),
    ("sampling", rf"{_NO} the (?:inferenceConfig\.)?{_SAMPLER}", _sampler),
    ("sampling", rf"(?:^|[ \[]){_SAMPLER}(?:\] is not permitted|{_STRANGE})", _sampler),
    ("penalties", r"extraneous key \[(?:frequency|presence)_penalty\]", _fact(penalties=False)),
    ("max_tokens", r"maximum tokens you requested exceeds the model limit of (\d{1,9})", _highest),
    ("max_tokens", r"\bmax_tokens: \d{1,9} > (\d{1,9})", _highest),
    ("min_tokens", r"below minimum value\. Expected a value >= (?P<least>\d{1,6})", _lowest),
    # Caching
    ("cache_control", rf"{_NO} the cachePoint\.ttl|cache_control\S*\.ttl{_STRANGE}",
     _fact(cache_hour=False)),
    ("cache_control",
     r"#/(?P<place>tools|system|messages)\S*: extraneous key \[cachePoint\]", _cache_place),
    ("cache_control",
     rf"{_NO_CACHE}|{_NO} the (?:\S*\.)?cachePoint|extraneous key \[cachePoint\]",
     _fact(cache_places=frozenset[str]())),
    # Tools and formats
    ("tools.strict", rf"tools\.\d+\.(?:\w+\.)?strict{_STRANGE}|{_NO} the (?:\S+\.)?strict field",
     _fact(strict_tools=False)),
    ("tool_choice", rf"{_NO} the (?:toolConfig\.)?toolChoice(?:\.(?P<kind>auto|any|tool))? field",
     _choice),
    ("tool_choice", r"Thinking may not be enabled when tool_choice forces",
     _fact(forced_tools=False)),
    ("parallel_tool_calls",
     rf"(?:^|[ \[])tool_choice(?:\] is not permitted|(?:\.\S+)?{_STRANGE})",
     _fact(parallel_dial=False)),
    ("tool_results.status", rf"{_NO} the (?:toolResult\.)?status field",
     _fact(result_status=False)),
    ("tools.parameters", r"\$ref is not supported", _fact(schema_refs=False)),
    ("tools.parameters", r"regex look-?around is not supported", _fact(schema_lookaround=False)),
    ("response_format", rf"output_config\.format{_STRANGE}|{_NO} the outputConfig(?:\.textFormat)? "
                        r"field", _fact(native_schema=False)),
    # Reasoning
    ("reasoning", r"thinking\.type\.enabled\W+is not supported", _no_budget),
    ("reasoning", r"thinking\.type\.disabled\W+is not supported", _fact(reasoning="always")),
    ("reasoning", r"Input tag 'adaptive' found|adaptive thinking is not supported", _only_budget),
    ("reasoning", rf"(?:^|[ \[]){_DIAL}(?:\] is not permitted|{_STRANGE})",
     _fact(reasoning="none")),
    ("reasoning", rf"(?:output_config\.effort|{_DIAL}): Input should be (?P<levels>'[^.]*)",
     _levels),
    ("reasoning", rf"output_config(?:\.effort)?{_STRANGE}|{_NO} the outputConfig\.effort",
     _fact(effort_field=False)),
    ("anthropic_beta", r"invalid beta flag", _fact(interleaved_beta=False)),
)  # fmt: skip

# Of one request only: reasoning that was signed elsewhere, or lost on its way here; a schema that
# constrained decoding cannot compile; a cache point in a place that nobody told of.
_PASSING: Final = (
    ("reasoning_replay", r"invalid `?signature`? in|invalid `?data`? in `?redacted_thinking"
                         r"|thinking\.signature: field required"
                         r"|thinking`? blocks in the latest assistant message cannot be modified"
                         r"|expected `?thinking`? or `?redacted_thinking", _fact(replays=False)),
    ("cache_control", r"cache point cannot be inserted", _fact(cache_places=frozenset[str]())),
    ("response_format", r"output_config\.format\b", _fact(native_schema=False)),
    ("schemas",  # strict tools and the answer's are compiled into one grammar
     r"schema is too complex|compiled grammar is too large"
     r"|schemas contains? too many (?:optional parameters|parameters with union types)",
     _fact(strict_tools=False, native_schema=False)),
)  # fmt: skip

_ROWS: Final = tuple(
    _Row(name, re.compile(wording, re.IGNORECASE), teach, lasting)
    for rows, lasting in ((_LASTING, True), (_PASSING, False))
    for name, wording, teach in rows
)
