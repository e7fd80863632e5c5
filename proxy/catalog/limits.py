"""Per-model numbers: context window, output limit, modalities, profiles, end of life.

One line a model, sorted by id; ``families.py`` says what a model can *do*, this file how much of
it. Facts of a public price and limits table (LiteLLM 1.109.1, MIT, read 2026-11-22), with what
recorded traffic or AWS's model pages show otherwise. A number here is a help for listings and for
lowering an over-large ``max_tokens`` where the family's row calls it firm; a model that is absent
is simply one whose limits are not known.

Codes of modalities: t text, i image, p document (pdf), v video, a audio.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final, NamedTuple

GEO_PREFIXES: Final = (
    "apac", "au", "ca", "eu", "global", "in", "jp", "me", "sa", "us", "us-gov",
)  # fmt: skip
"""Prefixes of system-defined inference profiles (``us.anthropic.…``)."""


class Limits(NamedTuple):
    """``output`` is in tokens, or for embedding models the vector's dimensions; ``None``: unknown.

    ``end_of_life`` is an ISO date or "". ``profiles`` are the geo prefixes seen with this id.
    """

    id: str
    context: int
    output: int | None
    modes: str
    profiles: str
    end_of_life: str


_NONE: Final = ""
_US: Final = "us"
_EU_US: Final = "eu us"
_US_GLOBAL: Final = "global us"
_NO_APAC: Final = "au eu global jp us us-gov"
_NO_JP: Final = "apac eu global us"
_GOV: Final = "us-gov"
_WORLD: Final = "apac au eu global jp us"
_WORLD_GOV: Final = "apac au eu global jp us us-gov"

_CHAT: Final = (
    ("ai21.j2-mid-v1", 8_191, 8_191, "t", _NONE, ""),
    ("ai21.j2-ultra-v1", 8_191, 8_191, "t", _NONE, ""),
    ("ai21.jamba-1-5-large-v1:0", 256_000, 4_096, "t", _NONE, "2026-11-26"),
    ("ai21.jamba-1-5-mini-v1:0", 256_000, 4_096, "t", _NONE, "2026-11-26"),
    ("ai21.jamba-instruct-v1:0", 70_000, 4_096, "t", _NONE, ""),
    ("amazon.nova-2-lite-v1:0", 1_000_000, 64_000, "tipv", "apac eu global jp us", ""),
    ("amazon.nova-2-pro-preview-20251202-v1:0", 1_000_000, 64_000, "tipv", "apac eu us", ""),
    ("amazon.nova-lite-v1:0", 300_000, 10_000, "tipv", "apac eu us", ""),
    ("amazon.nova-micro-v1:0", 128_000, 10_000, "t", "apac eu us", ""),
    ("amazon.nova-premier-v1:0", 1_000_000, 10_000, "tipv", _NONE, ""),
    ("amazon.nova-pro-v1:0", 300_000, 10_000, "tipv", "apac eu us", ""),
    ("amazon.titan-text-express-v1", 42_000, 8_000, "t", _NONE, ""),
    ("amazon.titan-text-lite-v1", 42_000, 4_000, "t", _NONE, ""),
    ("amazon.titan-text-premier-v1:0", 42_000, 32_000, "t", _NONE, ""),
    ("anthropic.claude-3-5-haiku-20241022-v1:0", 200_000, 8_192, "tp", _EU_US, ""),
    ("anthropic.claude-3-5-sonnet-20240620-v1:0", 200_000, 4_096, "tip", _EU_US, ""),
    ("anthropic.claude-3-5-sonnet-20241022-v2:0", 200_000, 8_192, "tip", _EU_US, ""),
    ("anthropic.claude-3-7-sonnet-20250219-v1:0", 200_000, 64_000, "tip", _EU_US, ""),
    ("anthropic.claude-3-opus-20240229-v1:0", 200_000, 4_096, "ti", _EU_US, ""),
    ("anthropic.claude-fable-5", 1_000_000, 128_000, "tip", "apac au eu global us", ""),
    ("anthropic.claude-fable-5-1", 1_000_000, 128_000, "tip", "eu global us us-gov", ""),
    ("anthropic.claude-haiku-4-5-20251001-v1:0", 200_000, 64_000, "tip", _WORLD, "2026-10-15"),
    ("anthropic.claude-haiku-5-5", 1_000_000, 128_000, "tip", _WORLD_GOV, ""),
    ("anthropic.claude-instant-v1", 100_000, 8_191, "t", _NONE, ""),
    ("anthropic.claude-mythos-5", 1_000_000, 128_000, "tip", _US, ""),
    ("anthropic.claude-mythos-5-1", 1_000_000, 128_000, "tip", _US_GLOBAL, ""),
    ("anthropic.claude-mythos-preview", 1_000_000, 128_000, "ti", "apac au us", ""),
    ("anthropic.claude-opus-4-1-20250805-v1:0", 200_000, 32_000, "tip", _EU_US, "2027-01-08"),
    ("anthropic.claude-opus-4-20250514-v1:0", 200_000, 32_000, "tip", _EU_US, ""),
    ("anthropic.claude-opus-4-5-20251101-v1:0", 200_000, 64_000, "tip", "eu global us", ""),
    ("anthropic.claude-opus-4-6-v1", 1_000_000, 128_000, "tip", "au eu global us", ""),
    ("anthropic.claude-opus-4-7", 1_000_000, 128_000, "tip", _WORLD, ""),
    ("anthropic.claude-opus-4-8", 1_000_000, 128_000, "tip", _WORLD_GOV, ""),
    ("anthropic.claude-opus-5", 1_000_000, 128_000, "tip", _WORLD_GOV, ""),
    ("anthropic.claude-opus-5-5", 1_000_000, 128_000, "tip", _WORLD_GOV, ""),
    ("anthropic.claude-sonnet-4-20250514-v1:0", 200_000, 64_000, "tip", _NO_JP, "2026-10-14"),
    ("anthropic.claude-sonnet-4-5-20250929-v1:0", 200_000, 64_000, "tip", _NO_APAC, "2027-04-08"),
    ("anthropic.claude-sonnet-4-6", 1_000_000, 64_000, "tip", _WORLD, ""),
    ("anthropic.claude-sonnet-5", 1_000_000, 128_000, "tip", _WORLD_GOV, ""),
    ("anthropic.claude-sonnet-5-5", 1_000_000, 128_000, "tip", _WORLD_GOV, ""),
    ("anthropic.claude-v1", 100_000, 8_191, "t", _NONE, ""),
    ("anthropic.claude-v2:1", 100_000, 8_191, "t", _NONE, ""),
    ("cohere.command-light-text-v14", 4_096, 4_096, "t", _NONE, ""),
    ("cohere.command-text-v14", 4_096, 4_096, "t", _NONE, ""),
    ("deepseek.r1-v1:0", 128_000, 8_192, "t", _US, "2027-03-30"),
    ("deepseek.v3-v1:0", 128_000, 8_000, "t", _NONE, "2027-03-30"),
    ("deepseek.v3.2", 164_000, 8_000, "t", _EU_US, ""),
    ("google.gemma-3-12b-it", 128_000, 8_000, "ti", _NONE, "2027-03-30"),
    ("google.gemma-3-27b-it", 128_000, 8_000, "ti", _NONE, "2027-03-30"),
    ("google.gemma-3-4b-it", 128_000, 8_000, "ti", _NONE, "2027-03-30"),
    ("meta.llama2-13b-chat-v1", 4_096, 4_096, "t", _NONE, ""),
    ("meta.llama2-70b-chat-v1", 4_096, 4_096, "t", _NONE, ""),
    ("meta.llama3-1-405b-instruct-v1:0", 128_000, 4_096, "t", _US, "2026-07-07"),
    ("meta.llama3-1-70b-instruct-v1:0", 128_000, 4_096, "t", _US, "2027-03-30"),
    ("meta.llama3-1-8b-instruct-v1:0", 128_000, 4_096, "t", _US, "2027-03-30"),
    ("meta.llama3-2-11b-instruct-v1:0", 128_000, 4_096, "ti", _US, "2026-07-07"),
    ("meta.llama3-2-1b-instruct-v1:0", 128_000, 4_096, "t", _EU_US, "2026-07-07"),
    ("meta.llama3-2-3b-instruct-v1:0", 128_000, 4_096, "t", _EU_US, "2026-07-07"),
    ("meta.llama3-2-90b-instruct-v1:0", 128_000, 4_096, "ti", _US, "2026-07-07"),
    ("meta.llama3-3-70b-instruct-v1:0", 128_000, 4_096, "t", _US, "2027-03-30"),
    ("meta.llama3-70b-instruct-v1:0", 8_192, 8_192, "t", _NONE, "2027-03-30"),
    ("meta.llama3-8b-instruct-v1:0", 8_192, 8_192, "t", _NONE, "2027-03-30"),
    ("meta.llama4-maverick-17b-instruct-v1:0", 1_000_000, 8_192, "ti", _US, "2027-03-30"),
    ("meta.llama4-scout-17b-instruct-v1:0", 10_000_000, 8_192, "ti", _US, "2027-03-30"),
    ("minimax.minimax-m2", 1_000_000, 8_000, "t", _NONE, "2027-03-30"),
    ("minimax.minimax-m2.1", 196_000, 8_000, "t", _NONE, "2027-03-30"),
    ("minimax.minimax-m2.5", 196_000, 8_000, "t", _NONE, ""),
    ("mistral.devstral-2-123b", 256_000, 32_000, "t", _NONE, "2027-03-30"),
    ("mistral.magistral-small-2509", 128_000, 40_000, "ti", _NONE, ""),
    ("mistral.ministral-3-14b-instruct", 128_000, 8_000, "ti", _NONE, ""),
    ("mistral.ministral-3-3b-instruct", 128_000, 8_000, "ti", _NONE, ""),
    ("mistral.ministral-3-8b-instruct", 128_000, 8_000, "ti", _NONE, ""),
    ("mistral.mistral-7b-instruct-v0:2", 32_000, 4_096, "t", _NONE, "2027-03-30"),
    ("mistral.mistral-large-2402-v1:0", 32_000, 4_096, "t", _NONE, ""),
    ("mistral.mistral-large-2407-v1:0", 128_000, 8_191, "t", _NONE, ""),
    ("mistral.mistral-large-3-675b-instruct", 256_000, 32_000, "ti", _NONE, ""),
    ("mistral.mistral-small-2402-v1:0", 32_000, 4_096, "t", _NONE, ""),
    ("mistral.mixtral-8x7b-instruct-v0:1", 32_000, 4_096, "t", _NONE, "2027-03-30"),
    ("mistral.pixtral-large-2502-v1:0", 128_000, 16_384, "ti", _EU_US, ""),
    ("mistral.voxtral-mini-3b-2507", 32_768, 8_192, "ta", _NONE, "2027-03-30"),
    ("mistral.voxtral-small-24b-2507", 32_768, 8_192, "ta", _NONE, "2027-03-30"),
    ("moonshot.kimi-k2-thinking", 256_000, 16_000, "t", _NONE, "2027-03-30"),
    ("moonshotai.kimi-k2.5", 256_000, 16_000, "ti", _NONE, ""),
    ("moonshotai.kimi-k3", 1_000_000, 131_072, "ti", "global in us", ""),
    ("nvidia.nemotron-nano-12b-v2", 128_000, 8_000, "ti", _GOV, "2027-03-30"),
    ("nvidia.nemotron-nano-3-30b", 256_000, 8_000, "t", _GOV, ""),
    ("nvidia.nemotron-nano-9b-v2", 128_000, 8_000, "t", _GOV, "2027-03-30"),
    ("nvidia.nemotron-super-3-120b", 256_000, 32_000, "t", _GOV, ""),
    ("openai.gpt-5.4", 922_000, 128_000, "ti", _US_GLOBAL, ""),
    ("openai.gpt-5.5", 922_000, 128_000, "ti", _US_GLOBAL, ""),
    ("openai.gpt-5.6-luna", 922_000, 128_000, "ti", _US_GLOBAL, ""),
    ("openai.gpt-5.6-sol", 922_000, 128_000, "ti", _US_GLOBAL, ""),
    ("openai.gpt-5.6-terra", 922_000, 128_000, "ti", _US_GLOBAL, ""),
    ("openai.gpt-6-astra", 922_000, 128_000, "ti", _US_GLOBAL, ""),
    ("openai.gpt-6-luna", 922_000, 128_000, "ti", _US_GLOBAL, ""),
    ("openai.gpt-6-sol", 922_000, 128_000, "ti", _US_GLOBAL, ""),
    ("openai.gpt-6.1-sol", 1_000_000, 131_072, "ti", _US_GLOBAL, ""),
    ("openai.gpt-6.1-terra", 922_000, 128_000, "ti", _US_GLOBAL, ""),
    ("openai.gpt-oss-120b-1:0", 128_000, 16_384, "t", _GOV, ""),
    ("openai.gpt-oss-20b-1:0", 128_000, 16_384, "t", _GOV, ""),
    ("openai.gpt-oss-safeguard-120b", 128_000, 16_000, "t", _NONE, ""),
    ("openai.gpt-oss-safeguard-20b", 128_000, 16_000, "t", _NONE, ""),
    ("qwen.qwen3-235b-a22b-2507-v1:0", 262_144, 8_192, "t", _NONE, ""),
    ("qwen.qwen3-32b-v1:0", 32_768, 8_192, "t", _NONE, ""),
    ("qwen.qwen3-coder-30b-a3b-v1:0", 262_144, 16_384, "t", _NONE, "2027-03-30"),
    ("qwen.qwen3-coder-480b-a35b-v1:0", 262_144, 16_384, "t", _NONE, "2027-03-30"),
    ("qwen.qwen3-coder-next", 256_000, 16_000, "t", _NONE, ""),
    ("qwen.qwen3-next-80b-a3b", 256_000, 8_000, "t", _NONE, ""),
    ("qwen.qwen3-vl-235b-a22b", 256_000, 8_000, "ti", _NONE, ""),
    ("writer.palmyra-vision-7b", 4_096, 4_096, "ti", _NONE, ""),
    ("writer.palmyra-x4-v1:0", 128_000, 8_192, "tp", _US, "2027-03-09"),
    ("writer.palmyra-x5-v1:0", 128_000, 8_192, "tp", _US, "2027-03-21"),
    ("xai.grok-4.6", 500_000, 500_000, "ti", "global us us-gov", ""),
    ("xai.grok-4.7", 524_288, 524_288, "ti", _US_GLOBAL, ""),
    ("zai.glm-4.7", 203_000, 128_000, "t", _NONE, "2027-03-30"),
    ("zai.glm-4.7-flash", 203_000, 128_000, "t", _NONE, "2027-03-30"),
    ("zai.glm-5", 200_000, 128_000, "t", _NONE, ""),
    ("zai.glm-5.3", 1_000_000, 128_000, "t", _US_GLOBAL, ""),
)  # fmt: skip

_EMBEDDING: Final = (
    ("amazon.nova-2-multimodal-embeddings-v1:0", 8_172, 3_072, "tiva", _NONE, ""),
    ("amazon.titan-embed-g1-text-02", 8_192, 1_536, "t", _NONE, ""),
    ("amazon.titan-embed-image-v1", 128, 1_024, "ti", _NONE, ""),
    ("amazon.titan-embed-text-v1", 8_192, 1_536, "t", _NONE, ""),
    ("amazon.titan-embed-text-v2:0", 8_192, 1_024, "t", _NONE, ""),
    ("cohere.embed-english-v3", 512, 1_024, "ti", _NONE, ""),
    ("cohere.embed-multilingual-v3", 512, 1_024, "ti", _NONE, ""),
    ("cohere.embed-v4:0", 128_000, 1_536, "ti", _US_GLOBAL, ""),
    ("twelvelabs.marengo-embed-2-7-v1:0", 77, 1_024, "ti", _EU_US, "2026-11-30"),
    ("twelvelabs.marengo-embed-3-0-v1:0", 500, 512, "ti", _EU_US, ""),
)  # fmt: skip

CHAT_LIMITS: Final[Mapping[str, Limits]] = MappingProxyType({r[0]: Limits(*r) for r in _CHAT})
EMBEDDING_LIMITS: Final[Mapping[str, Limits]] = MappingProxyType(
    {r[0]: Limits(*r) for r in _EMBEDDING}
)
