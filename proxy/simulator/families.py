"""What each model family takes, refuses and how it writes: the simulator's own rules, as rows.

This table is written from AWS's and the vendors' pages, public reports and the recorded exchanges,
independently of the proxy's table: where the two disagree a test fails, and that is the point.
Where sources leave a rule open the row is the stricter reading, unless a recording shows the
service taking it. `family_of` goes from a foundation model id to its row by longest prefix.
"""

from __future__ import annotations

from dataclasses import replace

from proxy.simulator.family import ALL_CHOICES, NOTHING, Family

_CACHE_ALL = frozenset({"tools", "system", "messages"})

_CLAUDE_FIELDS = frozenset(
    {"anthropic_beta", "thinking", "reasoning_config", "top_k", "tool_choice", "tools"}
)
_CLAUDE = Family(
    "claude-3",
    media=frozenset({"image", "document", "searchResult"}),
    result_media=frozenset({"image", "document", "searchResult"}),
    unique_ids=True,
    fields=_CLAUDE_FIELDS,
    overflow="claude",
)
_CACHED = replace(_CLAUDE, cache=_CACHE_ALL, cache_usage="zeros")
_CLAUDE_37 = replace(
    _CACHED, name="claude-3.7", thinking="budget", reasoning="signed", replay="signed"
)
_CLAUDE_4 = replace(
    _CLAUDE_37,
    name="claude-4",
    leading_assistant=True,
    sniffs_images=True,
    fields=_CLAUDE_FIELDS | {"context_management"},
)
_CLAUDE_45 = replace(
    _CLAUDE_4,
    name="claude-4.5",
    sampling="one",
    strict=True,
    schema=True,
    typed_calls=True,
    cache_hour=True,
)
_CLAUDE_46 = replace(
    _CLAUDE_45,
    name="claude-4.6",
    thinking="either",
    prefill=False,
    efforts=("low", "medium", "high", "max"),
    fields=_CLAUDE_45.fields | {"output_config"},
)
_CLAUDE_47 = replace(
    _CLAUDE_46,
    name="claude-4.7",
    thinking="adaptive",
    sampling="none",
    strict=False,
    schema=False,
    efforts=("low", "medium", "high", "xhigh", "max"),
    cache_minimum=2048,
)
_CLAUDE_48 = replace(
    _CLAUDE_47, name="claude-4.8", mid_system=True, schema=True, cache_minimum=1024
)
_CLAUDE_5 = replace(_CLAUDE_48, name="claude-5", cache_usage="read")
_OPUS_5 = replace(_CLAUDE_5, name="claude-opus-5", schema=False, cache_minimum=512)
_ALWAYS = replace(_OPUS_5, name="claude-always", thinking="always")
_ALWAYS_AUTO = replace(_ALWAYS, name="claude-always-auto", forced=False)

_NOVA = Family(
    "nova-1",
    media=frozenset({"image", "document", "video"}),
    s3=True,
    result_media=frozenset({"image", "document"}),
    fields=frozenset({"inferenceConfig"}),
    keeps_stop=True,
    overflow="nova",
    cache=frozenset({"system", "messages"}),
    cache_usage="marked",
    whole_input=True,
    ends_empty=True,
)
_NOVA_2 = replace(
    _NOVA,
    name="nova-2",
    system_tools=frozenset({"nova_grounding", "nova_code_interpreter"}),
    result_media=frozenset({"image", "document", "video"}),
    fields=frozenset({"inferenceConfig", "reasoningConfig", "additionalModelRequestFields"}),
    overflow="nova2",
    thinking="nova",
    efforts=("low", "medium", "high"),
    reasoning="masked",
    replay="plain",
)
_LLAMA_3 = Family("llama-3", tools=False, media=frozenset({"document"}), lead="\n\n")
_LLAMA_31 = replace(
    _LLAMA_3,
    name="llama-3.1",
    tools=True,
    stream_tools=False,
    choices=frozenset({"auto"}),
    references=False,
    result_alone=True,
    result_media=frozenset({"image", "document"}),
)
_LLAMA_32 = replace(_LLAMA_31, name="llama-3.2", media=frozenset({"image", "document"}))
_LLAMA_4 = replace(_LLAMA_32, name="llama-4", lead="")
_MISTRAL = Family(
    "mistral",
    choices=frozenset({"auto", "any"}),
    references=False,
    result_alone=True,
    nine_letter_ids=True,
    result_media=frozenset({"document"}),
    media=frozenset({"document"}),
    fields=frozenset({"top_k"}),
)
_MISTRAL_NEW = replace(
    _MISTRAL,
    name="mistral-3",
    strict=True,
    schema=True,
    media=frozenset({"image", "document"}),
    nine_letter_ids=False,
    references=True,
)
_OPEN = Family(
    "open-weights",
    choices=NOTHING,
    alternation=False,
    leading_assistant=True,
    result_status=True,
    prefill=True,
)
_GPT_OSS = replace(
    _OPEN,
    name="gpt-oss",
    leading_assistant=False,
    stop=False,
    thinking="effort",
    efforts=("low", "medium", "high"),
    fields=frozenset({"reasoning_effort"}),
    reasoning="plain",
    replay="plain",
    opens_empty=True,
)
_GPT = Family(
    "gpt",
    media=frozenset({"image"}),
    sampling="none",
    stop=False,
    min_output=16,
    fields=frozenset({"reasoning"}),
    thinking="effort",
    efforts=("none", "low", "medium", "high", "xhigh", "max"),
    reasoning="sealed",
    replay="signed",
    alternation=False,
)
_GROK = replace(
    _GPT,
    name="grok",
    lookaround=False,
    fields=frozenset({"reasoning_effort"}),
    efforts=("low", "medium", "high"),
    reasoning="plain",
    replay="plain",
)
_QWEN = replace(
    _OPEN,
    name="qwen-3",
    stop=False,
    strict=True,
    schema=True,
    thinking="switch",
    efforts=("low", "high"),
    fields=frozenset({"reasoning_config"}),
    reasoning="plain",
    replay="plain",
    lead="\n\n",
)
_KIMI = replace(
    _OPEN,
    name="kimi",
    choices=ALL_CHOICES,
    strict=True,
    schema=True,
    sampling="none",
    thinking="self",
    reasoning="plain",
    replay="plain",
    positional_ids=True,
)
_DEEPSEEK = replace(
    _OPEN,
    name="deepseek-v3",
    choices=ALL_CHOICES,
    strict=True,
    schema=True,
    alternation=True,
    leading_assistant=False,
    fields=frozenset({"reasoning_effort"}),
)

FAMILIES: tuple[tuple[str, Family], ...] = (
    ("anthropic.claude-instant", replace(_CLAUDE, name="claude-2", tools=False, media=NOTHING)),
    (
        "anthropic.claude-v",
        replace(_CLAUDE, name="claude-2", tools=False, media=frozenset({"document"})),
    ),
    ("anthropic.claude-3-5-haiku", replace(_CACHED, media=frozenset({"document"}))),
    ("anthropic.claude-3-5-sonnet-20241022", _CACHED),
    ("anthropic.claude-3-7", _CLAUDE_37),
    ("anthropic.claude-3", _CLAUDE),
    ("anthropic.claude-opus-4-1", replace(_CLAUDE_4, name="claude-4.1", sampling="one")),
    ("anthropic.claude-opus-4-2", _CLAUDE_4),
    ("anthropic.claude-sonnet-4-2", _CLAUDE_4),
    ("anthropic.claude-haiku-4-5", replace(_CLAUDE_45, cache_minimum=4096)),
    (
        "anthropic.claude-opus-4-5",
        replace(
            _CLAUDE_45,
            cache_minimum=4096,
            efforts=("low", "medium", "high"),
            fields=_CLAUDE_45.fields | {"output_config"},
        ),
    ),
    ("anthropic.claude-sonnet-4-5", _CLAUDE_45),
    ("anthropic.claude-opus-4-6", replace(_CLAUDE_46, cache_minimum=4096)),
    ("anthropic.claude-sonnet-4-6", _CLAUDE_46),
    ("anthropic.claude-opus-4-7", _CLAUDE_47),
    ("anthropic.claude-opus-4-8", _CLAUDE_48),
    ("anthropic.claude-sonnet-5-5", replace(_ALWAYS_AUTO, schema=True)),
    ("anthropic.claude-opus-5-5", _ALWAYS_AUTO),
    ("anthropic.claude-fable-5-1", _ALWAYS_AUTO),
    ("anthropic.claude-haiku-5-5", replace(_OPUS_5, name="claude-5.5", schema=True)),
    ("anthropic.claude-sonnet-5", _CLAUDE_5),
    ("anthropic.claude-opus-5", _OPUS_5),
    ("anthropic.claude-mythos-5", replace(_ALWAYS, schema=True)),
    ("anthropic.claude", _ALWAYS),
    ("amazon.nova-micro", replace(_NOVA, media=NOTHING, s3=False)),
    ("amazon.nova-premier", replace(_NOVA, system_tools=frozenset({"nova_grounding"}))),
    ("amazon.nova-2", _NOVA_2),
    ("amazon.nova", _NOVA),
    (
        "amazon.titan",
        Family("titan", system=False, tools=False, alternation=False, media=frozenset()),
    ),
    ("meta.llama4", _LLAMA_4),
    ("meta.llama3-3", _LLAMA_31),
    ("meta.llama3-2-1b", replace(_LLAMA_31, tools=False, ends_empty=True)),
    ("meta.llama3-2-3b", replace(_LLAMA_31, tools=False, ends_empty=True)),
    ("meta.llama3-2", _LLAMA_32),
    ("meta.llama3-1", _LLAMA_31),
    ("meta.llama", _LLAMA_3),
    ("mistral.mistral-7b", replace(_MISTRAL, system=False, tools=False, ends_empty=True)),
    ("mistral.mixtral", replace(_MISTRAL, system=False, tools=False, ends_empty=True)),
    ("mistral.mistral-large-3", _MISTRAL_NEW),
    ("mistral.mistral-large-2407", _MISTRAL),
    ("mistral.mistral", replace(_MISTRAL, stream_tools=False)),
    ("mistral.pixtral", replace(_MISTRAL, media=frozenset({"image", "document"}))),
    ("mistral.devstral", replace(_MISTRAL_NEW, media=NOTHING, strict=False, schema=False)),
    (
        "mistral.magistral",
        replace(_MISTRAL_NEW, thinking="self", reasoning="plain", replay="plain"),
    ),
    (
        "mistral.voxtral",
        replace(_MISTRAL_NEW, media=frozenset({"audio"}), tools=False, leading_assistant=True),
    ),
    ("mistral.", _MISTRAL_NEW),
    (
        "cohere.command-r",
        Family(
            "command-r",
            choices=NOTHING,
            media=frozenset({"document"}),
            fields=frozenset({"k", "p", "frequency_penalty", "presence_penalty"}),
        ),
    ),
    (
        "ai21.jamba",
        Family(
            "jamba",
            choices=NOTHING,
            media=frozenset({"document"}),
            fields=frozenset({"frequency_penalty", "presence_penalty"}),
            ends_empty=True,
        ),
    ),
    (
        "deepseek.r1",
        replace(
            _DEEPSEEK,
            name="deepseek-r1",
            tools=False,
            strict=False,
            schema=False,
            fields=NOTHING,
            thinking="self",
            reasoning="after",
            lead="\n\n",
        ),
    ),
    ("deepseek.v3-v1", replace(_DEEPSEEK, choices=frozenset({"auto", "any"}))),
    ("deepseek.", _DEEPSEEK),
    ("openai.gpt-oss", _GPT_OSS),
    ("openai.", _GPT),
    ("xai.", _GROK),
    ("qwen.qwen3-vl", replace(_QWEN, media=frozenset({"image"}))),
    ("qwen.", _QWEN),
    ("moonshot.", replace(_KIMI, sampling="both")),
    (
        "moonshotai.kimi-k3",
        replace(_KIMI, media=frozenset({"image"}), lookaround=False, min_output=16),
    ),
    ("moonshotai.", replace(_KIMI, media=frozenset({"image"}))),
    (
        "minimax.minimax-m2",
        replace(
            _OPEN,
            name="minimax",
            strict=True,
            schema=True,
            thinking="self",
            reasoning="plain",
            replay="plain",
        ),
    ),
    (
        "zai.",
        replace(_OPEN, name="glm", choices=ALL_CHOICES, strict=True, schema=True, thinking="self"),
    ),
    ("google.gemma-3-4b", replace(_OPEN, name="gemma", media=frozenset({"image"}))),
    (
        "google.",
        replace(_OPEN, name="gemma", strict=True, schema=True, media=frozenset({"image"})),
    ),
    (
        "nvidia.nemotron-nano-12b",
        replace(_OPEN, name="nemotron", schema=True, strict=True, media=frozenset({"image"})),
    ),
    (
        "nvidia.nemotron-nano-3",
        replace(_OPEN, name="nemotron", schema=True, strict=True, choices=ALL_CHOICES),
    ),
    ("nvidia.nemotron-super", replace(_OPEN, name="nemotron", choices=ALL_CHOICES)),
    ("nvidia.nemotron-nano", replace(_OPEN, name="nemotron", schema=True, strict=True)),
    (
        "writer.palmyra-vision",
        Family("palmyra", tools=False, media=frozenset({"image"}), result_status=False),
    ),
    (
        "writer.",
        Family(
            "palmyra",
            stream_tools=False,
            choices=NOTHING,
            media=frozenset({"document"}),
            result_alone=True,
            result_status=False,
        ),
    ),
)

_UNKNOWN = replace(_OPEN, name="unknown", media=frozenset({"image", "document"}))


def family_of(foundation_id: str) -> Family:
    """The row of a foundation model id; the first prefix that fits, rows being most exact first."""
    for prefix, family in FAMILIES:
        if foundation_id.startswith(prefix):
            return family
    return _UNKNOWN
