"""The rows of the family table: one value per kind of model.

A row is built from an elder with ``replace``, so that it reads as *how this model differs*; what a
row does not say is the default of ``Traits``. ``families.py`` says which ids a row is for.

Sources: AWS's model and feature pages, Anthropic's model pages, recorded traffic (which outranks
both) and field reports of 2026. What is marked ``?`` was found in one place only, or places differ:
the request is tried that way, and a refusal is a capability hint for the learned repairs.
"""

from dataclasses import replace
from typing import Final

from proxy.catalog.model import ALL_CHOICES, ALL_SAMPLING, Traits

_NONE: Final[frozenset[str]] = frozenset()
_ALL_PLACES: Final = frozenset({"tools", "system", "messages"})
_LOW_TO_HIGH: Final = frozenset({"low", "medium", "high"})
_TO_XHIGH: Final = _LOW_TO_HIGH | {"xhigh"}
_TO_MAX: Final = _LOW_TO_HIGH | {"xhigh", "max"}

_TEXT_ONLY: Final = Traits(
    tools=False, images=False, video=False, audio=False, result_media=_NONE, tool_choices=_NONE
)

# Anthropic

CLAUDE_3: Final = Traits(
    family="claude",
    video=False,
    audio=False,
    s3_media=False,
    schema_any_name=False,
    sampling=ALL_SAMPLING,
    blank_stop=False,
    clamp_output=True,
)
CLAUDE_2: Final = replace(_TEXT_ONLY, family="claude", sampling=ALL_SAMPLING, blank_stop=False)
CLAUDE_3_CACHED: Final = replace(CLAUDE_3, cache_places=_ALL_PLACES)
CLAUDE_35_HAIKU: Final = replace(
    CLAUDE_3_CACHED, images=False, result_media=_NONE, cache_min_tokens=2048
)
CLAUDE_37: Final = replace(
    CLAUDE_3_CACHED, tool_description=False, reasoning="budget", signed_reasoning=True
)
CLAUDE_4: Final = replace(CLAUDE_37, interleaved_beta=True)
OPUS_41: Final = replace(CLAUDE_4, one_sampler=True)
SONNET_45: Final = replace(
    OPUS_41,
    leading_assistant=True,
    document_underscores=True,  # recorded on Sonnet 4.5 and Sonnet 5
    strict_tools=True,
    native_schema=True,
    parallel_dial=True,
    cache_hour=True,
)
HAIKU_45: Final = replace(SONNET_45, cache_min_tokens=4096)
OPUS_45: Final = replace(HAIKU_45, effort_field=True)
SONNET_46: Final = replace(
    SONNET_45,
    prefill=False,
    reasoning="adaptive",
    effort_field=True,
    efforts=_LOW_TO_HIGH | {"max"},
    budget_too=True,
    interleaved_beta=False,
)
OPUS_46: Final = replace(SONNET_46, cache_min_tokens=4096)
OPUS_47: Final = replace(
    SONNET_46,
    sampling=_NONE,
    one_sampler=False,
    strict_tools=False,
    native_schema=False,
    budget_too=False,
    efforts=_TO_XHIGH,
    cache_min_tokens=2048,
)
OPUS_48: Final = replace(OPUS_47, mid_system=True, native_schema=True, cache_min_tokens=1024)  # ?
SONNET_5: Final = OPUS_48
OPUS_5: Final = replace(OPUS_48, native_schema=False, efforts=_TO_MAX, cache_min_tokens=512)
HAIKU_55: Final = replace(SONNET_5, cache_min_tokens=512)
OPUS_55: Final = replace(OPUS_5, reasoning="always", forced_tools=False)
ALWAYS_55: Final = replace(HAIKU_55, reasoning="always", forced_tools=False)
SONNET_55: Final = replace(ALWAYS_55, between_tools=True)
FABLE_51: Final = replace(ALWAYS_55, native_schema=False)
FABLE_5: Final = replace(FABLE_51, forced_tools=True)
MYTHOS_5: Final = replace(ALWAYS_55, forced_tools=True)
MYTHOS_PREVIEW: Final = replace(FABLE_5, mid_system=False, cache_min_tokens=1024)
# A Claude not known yet is taken for the youngest kind whose habits never offend: no sampling, no
# prefill, adaptive thinking only when asked.
CLAUDE_NEXT: Final = replace(OPUS_5, mid_system=False, efforts=_TO_XHIGH, clamp_output=False)

# Amazon

NOVA_MICRO: Final = Traits(
    family="nova",
    images=False,
    documents=False,
    video=False,
    audio=False,
    result_media=_NONE,
    tool_hyphens=False,
    schema_refs=False,
    schema_top_strict=True,
    tool_description=False,
    sampling=ALL_SAMPLING,
    top_k_path=("inferenceConfig", "topK"),
    max_stop=4,
    stop_kept=True,  # recorded on Nova Micro, which calls it end_turn, too
    inline_tags=("thinking",),
    cache_places=frozenset({"system", "messages"}),
    clamp_output=True,
)
NOVA: Final = replace(
    NOVA_MICRO,
    images=True,
    documents=True,
    video=True,
    result_media=frozenset({"image", "document"}),
)
NOVA_PREMIER: Final = replace(NOVA, system_tools=frozenset({"nova_grounding"}))
# The recorded ``strict: true`` of Nova 2 Lite stands inside ``inputSchema.json``, as a keyword that
# the service overlooks: no sign that it takes ``toolSpec.strict``, and AWS's list has no Nova.
NOVA_2: Final = replace(
    NOVA,
    system_tools=frozenset({"nova_grounding", "nova_code_interpreter"}),
    reasoning="nova",
    inline_tags=(),
)
TITAN: Final = replace(_TEXT_ONLY, family="titan", system=False)

# Meta

LLAMA_3: Final = replace(
    _TEXT_ONLY,
    family="llama",
    results_alone=True,
    stream_tools=False,
    schema_refs=False,
    stop=False,
)
LLAMA_31: Final = replace(
    LLAMA_3,
    tools=True,
    tool_choices=frozenset({"auto"}),
    result_media=frozenset({"document"}),
)
LLAMA_VISION: Final = replace(LLAMA_31, images=True, result_media=frozenset({"image", "document"}))
LLAMA_4: Final = replace(LLAMA_VISION, tool_description=False)

# Mistral

MISTRAL_7B: Final = replace(_TEXT_ONLY, family="mistral", system=False, max_stop=10)
MISTRAL_LARGE: Final = replace(
    MISTRAL_7B,
    system=True,
    tools=True,
    tool_choices=frozenset({"auto", "any"}),
    results_alone=True,
    nine_char_ids=True,
    schema_refs=False,
    result_media=frozenset({"document"}),
)
MISTRAL_2402: Final = replace(MISTRAL_LARGE, stream_tools=False)
PIXTRAL: Final = replace(MISTRAL_LARGE, images=True, tool_description=False)
DEVSTRAL: Final = replace(MISTRAL_LARGE, max_stop=None)
MISTRAL_3: Final = replace(DEVSTRAL, images=True, native_schema=True, strict_tools=True)
MAGISTRAL: Final = replace(MISTRAL_3, reasoning="inherent")
VOXTRAL: Final = replace(MISTRAL_3, images=False, documents=False, audio=True, tools=False)  # ?

# Cohere, AI21, Writer

COHERE_OLD: Final = replace(_TEXT_ONLY, family="cohere", system=False)
COMMAND_R: Final = replace(
    _TEXT_ONLY,
    family="cohere",
    tools=True,
    schema_refs=False,
    sampling=ALL_SAMPLING,
    top_k_path=("k",),
    penalties=True,  # ?
    max_stop=4,
)
JURASSIC: Final = replace(
    _TEXT_ONLY, family="ai21", system=False, documents=False, stream=False, stream_tools=False
)
JAMBA: Final = replace(_TEXT_ONLY, family="ai21", tools=True, schema_refs=False)
JAMBA_INSTRUCT: Final = replace(JAMBA, tools=False)
PALMYRA: Final = replace(
    _TEXT_ONLY,
    family="writer",
    tools=True,
    stream_tools=False,
    results_alone=True,
    result_status=False,
    tool_description=False,
    schema_refs=False,
)
PALMYRA_VISION: Final = replace(PALMYRA, tools=False, images=True)

# Open weights of others

R1: Final = replace(_TEXT_ONLY, family="deepseek", stream_tools=False, reasoning="inherent")
DEEPSEEK_31: Final = replace(
    R1,
    tools=True,
    stream_tools=True,
    tool_choices=frozenset({"auto", "any"}),
    schema_refs=False,
    strict_tools=True,
    native_schema=True,
    reasoning="effort",  # ?
)
DEEPSEEK: Final = replace(DEEPSEEK_31, tool_choices=ALL_CHOICES)
GPT_OSS: Final = replace(
    _TEXT_ONLY,
    family="gpt-oss",
    tools=True,
    stop=False,
    reasoning="effort",
    reasons_unasked=True,
    inline_tags=("reasoning",),
)
GPT_OSS_SAFEGUARD: Final = replace(GPT_OSS, reasoning="none")
QWEN: Final = replace(
    _TEXT_ONLY,
    family="qwen",
    tools=True,
    leading_assistant=True,
    schema_refs=False,
    strict_tools=True,
    native_schema=True,
    stop=False,
    inline_tags=("think",),
)
QWEN_REASONING: Final = replace(QWEN, reasoning="qwen")
QWEN_VL: Final = replace(QWEN, images=True)
QWEN_CODER_NEXT: Final = replace(QWEN, strict_tools=False, native_schema=False)
QWEN_IMPORTED: Final = replace(  # ?
    QWEN, strict_tools=False, native_schema=False, stop=True, leading_assistant=False
)
CODE_IMPORTED: Final = replace(_TEXT_ONLY, system=False, documents=False)  # ?
KIMI_K2: Final = replace(
    _TEXT_ONLY,
    family="kimi",
    tools=True,
    tool_choices=ALL_CHOICES,
    id_marks=True,
    leading_assistant=True,
    schema_refs=False,
    strict_tools=True,
    native_schema=True,
    reasoning="inherent",
    inline_tags=("think",),
)
KIMI_K25: Final = replace(
    KIMI_K2,
    images=True,
    sampling=_NONE,
    strict_tools=False,
    native_schema=False,
    reasoning="none",
)
KIMI_K3: Final = replace(KIMI_K25, schema_lookaround=False, min_max_tokens=16, reasoning="inherent")
MINIMAX: Final = replace(
    _TEXT_ONLY,
    family="minimax",
    tools=True,
    schema_refs=False,
    reasoning="inherent",
    inline_tags=("think",),
)
MINIMAX_M2: Final = replace(MINIMAX, strict_tools=True, native_schema=True)
GLM_47: Final = replace(
    _TEXT_ONLY,
    family="glm",
    tools=True,
    tool_choices=ALL_CHOICES,
    leading_assistant=True,
    schema_refs=False,
    reasoning="inherent",
)
GLM_47_FLASH: Final = replace(GLM_47, native_schema=True)
GLM_5: Final = replace(GLM_47, native_schema=True, strict_tools=True)
GEMMA: Final = replace(_TEXT_ONLY, family="gemma", images=True, tools=True, schema_refs=False)  # ?
GEMMA_NATIVE: Final = replace(GEMMA, native_schema=True, strict_tools=True)
NEMOTRON: Final = replace(_TEXT_ONLY, family="nemotron", tools=True, schema_refs=False)
NEMOTRON_12B: Final = replace(NEMOTRON, images=True, native_schema=True)
NEMOTRON_3: Final = replace(
    NEMOTRON,
    tool_choices=frozenset({"auto", "any"}),  # ?
    native_schema=True,
    strict_tools=True,
)
NEMOTRON_SUPER: Final = replace(
    NEMOTRON_3, native_schema=False, strict_tools=False, reasoning="inherent"
)

# Closed models on inference profiles only

GPT: Final = Traits(
    family="gpt",
    video=False,
    audio=False,
    result_media=_NONE,
    sampling=_NONE,
    stop=False,
    min_max_tokens=16,
    reasoning="reasoning",
    efforts=_TO_XHIGH | {"none"},
    clamp_output=True,
)
GPT_56: Final = replace(GPT, efforts=_TO_MAX | {"none"})
GPT_ALWAYS: Final = replace(GPT, efforts=_TO_MAX)
GROK: Final = replace(
    GPT,
    family="grok",
    schema_lookaround=False,
    reasoning="effort",
    reasons_unasked=True,
    efforts=_LOW_TO_HIGH,
)  # ?

# A managed prompt (its ARN): system, tools, inference and model fields stand in the prompt itself,
# and a request that has any of them is refused. Source: *Converse*, ``modelId``.
PROMPT: Final = Traits(
    system=False, tools=False, tool_choices=_NONE, sampling=_NONE, stop=False, length=False
)

# Embeddings

TITAN_EMBED: Final = replace(
    _TEXT_ONLY,
    family="embedding",
    system=False,
    stream=False,
    embeds="titan",
    embed_sizes=frozenset({1536}),
)
TITAN_EMBED_2: Final = replace(
    TITAN_EMBED, embeds="titan_2", embed_sizes=frozenset({256, 512, 1024})
)
TITAN_EMBED_IMAGE: Final = replace(
    TITAN_EMBED, embeds="titan_image", embed_sizes=frozenset({256, 384, 1024})
)
COHERE_EMBED: Final = replace(
    TITAN_EMBED, embeds="cohere_3", embed_sizes=frozenset({1024}), embed_batch=96
)
COHERE_EMBED_4: Final = replace(
    COHERE_EMBED, embeds="cohere_4", embed_sizes=frozenset({256, 512, 1024, 1536})
)
NOVA_EMBED: Final = replace(
    TITAN_EMBED, embeds="nova", embed_sizes=frozenset({256, 384, 1024, 3072})
)
MARENGO_2: Final = replace(TITAN_EMBED, embeds="marengo_2", embed_sizes=frozenset({1024}))
MARENGO_3: Final = replace(TITAN_EMBED, embeds="marengo_3", embed_sizes=frozenset({512}))  # ?
