"""The table of facts: which row of traits a model id gets, and what is known of its limits.

A model's id is looked at here and nowhere else. ``FAMILIES`` is ordered, the most specific prefix
first; adding a family is a row here and a value in ``family_rows.py``. An id that no row knows gets
``Traits()``, which sends what was asked and leaves it to the service to refuse.

Ids come in several coats: bare (``amazon.nova-lite-v1:0``), with the geo prefix of an inference
profile (``us.…``), with a context size (``…:300k``), or as an ARN. Source: Amazon Bedrock user
guide, *Supported foundation models* and *inference profiles*; the ARN forms are those of IAM's
service reference for Bedrock.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Final, Literal

from proxy.catalog import family_rows as rows
from proxy.catalog.limits import CHAT_LIMITS, EMBEDDING_LIMITS, GEO_PREFIXES, Limits
from proxy.catalog.model import Traits

FAMILIES: Final[tuple[tuple[str, Traits], ...]] = (
    ("anthropic.claude-fable-5-1", rows.FABLE_51),
    ("anthropic.claude-fable-5", rows.FABLE_5),
    ("anthropic.claude-mythos-preview", rows.MYTHOS_PREVIEW),
    ("anthropic.claude-mythos", rows.MYTHOS_5),
    ("anthropic.claude-opus-5-5", rows.OPUS_55),
    ("anthropic.claude-opus-5", rows.OPUS_5),
    ("anthropic.claude-opus-4-8", rows.OPUS_48),
    ("anthropic.claude-opus-4-7", rows.OPUS_47),
    ("anthropic.claude-opus-4-6", rows.OPUS_46),
    ("anthropic.claude-opus-4-5", rows.OPUS_45),
    ("anthropic.claude-opus-4-1", rows.OPUS_41),
    ("anthropic.claude-opus-4-20", rows.CLAUDE_4),
    ("anthropic.claude-sonnet-5-5", rows.SONNET_55),
    ("anthropic.claude-sonnet-5", rows.SONNET_5),
    ("anthropic.claude-sonnet-4-6", rows.SONNET_46),
    ("anthropic.claude-sonnet-4-5", rows.SONNET_45),
    ("anthropic.claude-sonnet-4-20", rows.CLAUDE_4),
    ("anthropic.claude-haiku-5-5", rows.HAIKU_55),
    ("anthropic.claude-haiku-4-5", rows.HAIKU_45),
    ("anthropic.claude-3-7", rows.CLAUDE_37),
    ("anthropic.claude-3-5-haiku", rows.CLAUDE_35_HAIKU),
    ("anthropic.claude-3-5-sonnet-20241022", rows.CLAUDE_3_CACHED),
    ("anthropic.claude-3", rows.CLAUDE_3),
    ("anthropic.claude-instant", rows.CLAUDE_2),
    ("anthropic.claude-v", rows.CLAUDE_2),
    ("anthropic.claude", rows.CLAUDE_NEXT),
    ("amazon.nova-2-multimodal-embeddings", rows.NOVA_EMBED),
    ("amazon.nova-micro", rows.NOVA_MICRO),
    ("amazon.nova-premier", rows.NOVA_PREMIER),
    ("amazon.nova-lite", rows.NOVA),
    ("amazon.nova-pro", rows.NOVA),
    ("amazon.nova", rows.NOVA_2),
    ("amazon.titan-embed-text-v2", rows.TITAN_EMBED_2),
    ("amazon.titan-embed-image", rows.TITAN_EMBED_IMAGE),
    ("amazon.titan-embed", rows.TITAN_EMBED),
    ("amazon.titan", rows.TITAN),
    ("meta.llama2", rows.LLAMA_3),
    ("meta.llama3-1", rows.LLAMA_31),
    ("meta.llama3-2-11b", rows.LLAMA_VISION),
    ("meta.llama3-2-90b", rows.LLAMA_VISION),
    ("meta.llama3-2", rows.LLAMA_3),
    ("meta.llama3-3", rows.LLAMA_31),
    ("meta.llama3", rows.LLAMA_3),
    ("meta.llama", rows.LLAMA_4),
    ("mistral.mistral-7b", rows.MISTRAL_7B),
    ("mistral.mixtral", rows.MISTRAL_7B),
    ("mistral.mistral-large-2402", rows.MISTRAL_2402),
    ("mistral.mistral-small-2402", rows.MISTRAL_2402),
    ("mistral.mistral-large-2407", rows.MISTRAL_LARGE),
    ("mistral.pixtral", rows.PIXTRAL),
    ("mistral.devstral", rows.DEVSTRAL),
    ("mistral.magistral", rows.MAGISTRAL),
    ("mistral.voxtral", rows.VOXTRAL),
    ("mistral.", rows.MISTRAL_3),
    ("cohere.embed-v4", rows.COHERE_EMBED_4),
    ("cohere.embed", rows.COHERE_EMBED),
    ("cohere.command-text", rows.COHERE_OLD),
    ("cohere.command-light", rows.COHERE_OLD),
    ("cohere.command", rows.COMMAND_R),
    ("ai21.j2", rows.JURASSIC),
    ("ai21.jamba-instruct", rows.JAMBA_INSTRUCT),
    ("ai21.", rows.JAMBA),
    ("writer.palmyra-vision", rows.PALMYRA_VISION),
    ("writer.palmyra", rows.PALMYRA),
    ("deepseek.r1", rows.R1),
    ("deepseek.v3-", rows.DEEPSEEK_31),
    ("deepseek.v3.1", rows.DEEPSEEK_31),
    ("deepseek.", rows.DEEPSEEK),
    ("openai.gpt-oss-safeguard", rows.GPT_OSS_SAFEGUARD),
    ("openai.gpt-oss", rows.GPT_OSS),
    ("openai.gpt-5.4", rows.GPT),
    ("openai.gpt-5.5", rows.GPT),
    ("openai.gpt-6-astra", rows.GPT_ALWAYS),
    ("openai.gpt-6.1-sol", rows.GPT_ALWAYS),
    ("openai.gpt", rows.GPT_56),
    ("qwen.qwen3-coder-next", rows.QWEN_CODER_NEXT),
    ("qwen.qwen3-next", rows.QWEN),
    ("qwen.qwen3-vl", rows.QWEN_VL),
    ("qwen.", rows.QWEN_REASONING),
    ("moonshot.kimi-k2", rows.KIMI_K2),
    ("moonshotai.kimi-k2-thinking", rows.KIMI_K2),
    ("moonshotai.kimi-k2.5", rows.KIMI_K25),
    ("moonshot", rows.KIMI_K3),  # listed under moonshot and under moonshotai
    ("minimax.minimax-m2.", rows.MINIMAX),
    ("minimax.minimax-m2", rows.MINIMAX_M2),
    ("minimax.", rows.MINIMAX),
    ("zai.glm-4.7-flash", rows.GLM_47_FLASH),
    ("zai.glm-4", rows.GLM_47),
    ("zai.", rows.GLM_5),
    ("google.gemma-3-12b", rows.GEMMA_NATIVE),
    ("google.gemma-3-27b", rows.GEMMA_NATIVE),
    ("google.gemma", rows.GEMMA),
    ("nvidia.nemotron-nano-12b", rows.NEMOTRON_12B),
    ("nvidia.nemotron-nano-3", rows.NEMOTRON_3),
    ("nvidia.nemotron-super", rows.NEMOTRON_SUPER),
    ("nvidia.", rows.NEMOTRON),
    ("xai.grok", rows.GROK),
    ("twelvelabs.marengo-embed-2", rows.MARENGO_2),
    ("twelvelabs.marengo-embed", rows.MARENGO_3),
)
"""(foundation id prefix, traits), most specific first."""

ARCHITECTURES: Final[tuple[tuple[str, Traits], ...]] = (
    ("llama4", rows.LLAMA_4),
    ("llama", rows.LLAMA_31),
    ("mllama", rows.LLAMA_VISION),
    ("mistral", rows.MISTRAL_LARGE),
    ("mixtral", rows.MISTRAL_7B),
    ("qwen", rows.QWEN_IMPORTED),
    ("gptoss", rows.GPT_OSS),
    ("gptbigcode", rows.CODE_IMPORTED),
)
"""(prefix of an imported model's ``modelArchitecture``, letters and digits only; traits). ``?``"""

_KNOWN_GEO: Final = "|".join(sorted(GEO_PREFIXES, key=len, reverse=True))
_MAKERS: Final = "|".join(sorted({prefix.partition(".")[0] for prefix, _ in FAMILIES}))
_GEO: Final = re.compile(rf"(?:{_KNOWN_GEO})\.|[a-z]{{2,6}}(?:-[a-z]{{2,6}})?\.(?=(?:{_MAKERS})\.)")
"""A geography's prefix; of one that is not known yet, in front of a known maker's name."""
_SIZE: Final = re.compile(r":(?:\d+k|mm)$")
_VERSION: Final = re.compile(r"-(?:v\d+(?::\d+)?|\d+:\d+)$")
_NAMING: Final = frozenset({"foundation-model", "inference-profile", "custom-model"})
"""ARN resources whose second part is, or begins with, a model id; other resources are opaque."""

_MODALITIES: Final[Mapping[str, str]] = MappingProxyType(
    {"t": "text", "i": "image", "p": "document", "v": "video", "a": "audio"}
)


@dataclass(frozen=True, slots=True)
class Description:
    """What a listing can say of a model beyond what AWS's own listing says.

    Token counts are ``None`` where unknown. ``end_of_life`` is an ISO date or ``None``;
    ``profile_prefixes`` are the geo prefixes under which the id was seen.
    """

    mode: Literal["chat", "embedding"]
    context_window: int | None
    max_output_tokens: int | None
    input_modalities: tuple[str, ...]
    tools: bool
    vision: bool
    reasoning: bool
    end_of_life: str | None
    profile_prefixes: tuple[str, ...]
    embedding_dimensions: int | None = None


def foundation_of(model_id: str) -> str:
    """The foundation model id inside an id or ARN, version kept; "" where it cannot be told.

    ``us.anthropic.claude-sonnet-4-6`` gives ``anthropic.claude-sonnet-4-6``. An application
    profile, provisioned or imported model has an opaque ARN: its model must be asked for.
    """
    if model_id.startswith("arn:"):
        kind, _, rest = model_id.split(":", 5)[-1].partition("/")
        if kind not in _NAMING:
            return ""
        model_id = rest.split("/", 1)[0]
    geography = _GEO.match(model_id)
    return model_id if geography is None else model_id[geography.end() :]


def bare(model_id: str) -> str:
    """``foundation_of`` without context size and version: ``amazon.nova-lite-v1:0`` gives
    ``amazon.nova-lite``. For comparing names, never for calling."""
    return _VERSION.sub("", _SIZE.sub("", foundation_of(model_id)))


def traits_for(foundation_id: str, architecture: str | None = None) -> Traits:
    """The facts about a foundation model id, its limits filled in.

    ``architecture`` is an imported model's ``modelArchitecture``, used where no row knows the id.
    """
    traits = _row(foundation_id, architecture)
    limits = _limits(foundation_id)
    if limits is None or limits.id in EMBEDDING_LIMITS:
        return traits
    return replace(traits, context_window=limits.context, max_output_tokens=limits.output)


def describe(foundation_id: str) -> Description:
    """What is known of a foundation model, from its row where the limits table lacks it."""
    traits = _row(foundation_id, None)
    limits = _limits(foundation_id)
    embedding = traits.family == "embedding"
    dimensions = limits.output if limits and embedding else None
    return Description(
        mode="embedding" if embedding else "chat",
        context_window=limits.context if limits else None,
        max_output_tokens=limits.output if limits and not embedding else None,
        input_modalities=_modalities(traits, limits),
        tools=traits.tools,
        vision=traits.images and not embedding,
        reasoning=traits.reasoning != "none",
        end_of_life=(limits.end_of_life or None) if limits else None,
        profile_prefixes=tuple(limits.profiles.split()) if limits else (),
        embedding_dimensions=dimensions,
    )


def _row(foundation_id: str, architecture: str | None) -> Traits:
    for prefix, traits in FAMILIES:
        if foundation_id.startswith(prefix):
            return traits
    plain = re.sub(r"[^a-z0-9]", "", (architecture or "").lower())
    for prefix, traits in ARCHITECTURES:
        if plain.startswith(prefix):
            return traits
    return Traits()


def _limits(foundation_id: str) -> Limits | None:
    sizeless = _SIZE.sub("", foundation_id)
    for name in (foundation_id, sizeless, f"{sizeless}:0"):
        found = CHAT_LIMITS.get(name) or EMBEDDING_LIMITS.get(name)
        if found is not None:
            return found
    return None


def _modalities(traits: Traits, limits: Limits | None) -> tuple[str, ...]:
    if limits is not None:
        return tuple(_MODALITIES[code] for code in limits.modes)
    known = (
        ("text", True),
        ("image", traits.images),
        ("document", traits.documents),
        ("video", traits.video),
        ("audio", traits.audio),
    )
    return tuple(word for word, has in known if has)
