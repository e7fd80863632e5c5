"""What the other packages know of a model: ``Model`` for one call, ``Traits`` for its family.

A name is looked at once, in this room; translators read facts and never ids. A trait is a fact
about a family that a request may run into, with the default that fits a model nobody has heard of:
send what was asked, expect a refusal to say what does not fit. ``families.py`` holds the rows.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final, Literal

ReasoningStyle = Literal[
    "none",  # no effort parameter; effort is dropped
    "budget",  # thinking {type: enabled, budget_tokens}
    "adaptive",  # thinking {type: adaptive} and effort
    "always",  # adaptive that cannot be switched off
    "nova",  # reasoningConfig {type, maxReasoningEffort}
    "effort",  # reasoning_effort: low | medium | high
    "reasoning",  # reasoning: {effort}
    "qwen",  # reasoning_config: "low" | "high"
    "inherent",  # always reasons, no effort parameter
]

EmbeddingStyle = Literal[
    "none",  # not an embedding model
    "titan",  # {inputText}
    "titan_2",  # … and dimensions
    "titan_image",  # … and embeddingConfig
    "cohere_3",  # {texts, input_type}
    "cohere_4",  # … and output_dimension
    "nova",  # {taskType, singleEmbeddingParams}
    "marengo_2",  # {inputType, inputText}
    "marengo_3",  # {inputType, text {inputText}}
]

ALL_CHOICES: Final = frozenset({"auto", "any", "tool"})
ALL_SAMPLING: Final = frozenset({"temperature", "top_p", "top_k"})


@dataclass(frozen=True, slots=True)
class Traits:
    """Facts about a model family, flat, each with the default of an unknown model."""

    family: str = "other"
    """Models that may exchange reasoning, and their name in metrics: claude, nova, llama, …"""

    # Conversation
    system: bool = True
    """Takes ``system``; else the text is folded into the first user turn."""
    mid_system: bool = False
    """Takes messages of role ``system`` in mid-conversation."""
    leading_assistant: bool = False
    """Takes an assistant turn first."""
    prefill: bool = True
    """Takes a final assistant turn and continues it."""
    results_alone: bool = False
    """Requires ``toolResult`` blocks to be alone in their turn, and ``toolUse`` blocks too."""
    images: bool = True
    documents: bool = True
    document_underscores: bool = False
    """Takes underscores in a document's name (recorded; the Converse reference has none)."""
    video: bool = True
    audio: bool = True
    s3_media: bool = True
    """Reads images and video from S3. Documents are left to the service: recorded both ways."""
    result_media: frozenset[str] = frozenset({"image", "document"})
    """Kinds of media that may stand inside a ``toolResult``: image, document, video."""

    # Tools
    tools: bool = True
    stream: bool = True
    """Answers ConverseStream at all."""
    stream_tools: bool = True
    """Takes tools in ConverseStream; else Converse is called and replayed."""
    tool_choices: frozenset[str] = ALL_CHOICES
    """Of auto, any, tool. Empty: the member ``toolChoice`` itself is refused."""
    tool_hyphens: bool = True
    """Hyphens in tool names are safe."""
    nine_char_ids: bool = False
    """Foreign tool ids must be nine letters or digits."""
    id_marks: bool = False
    """Takes dots and colons in tool ids, as its own have them; Anthropic refuses them."""
    strict_tools: bool = False
    """Takes ``toolSpec.strict``."""
    parallel_dial: bool = False
    """Takes Anthropic's ``tool_choice.disable_parallel_tool_use``."""
    result_status: bool = True
    """Takes ``toolResult.status``."""
    schema_refs: bool = True
    """Follows ``$ref`` and ``$defs`` in tool schemas; else they are inlined."""
    schema_top_strict: bool = False
    """Said to refuse most schema keywords at the top; what it was recorded taking is kept."""
    schema_lookaround: bool = True
    """Takes regex look-around in ``pattern``."""
    schema_any_name: bool = True
    """Takes any property name in a tool schema; else only ``[a-zA-Z0-9_.-]{1,64}``."""
    tool_description: bool = True
    """May want a description on every tool; False where one without was recorded as accepted."""
    system_tools: frozenset[str] = frozenset()
    """Server tools by their Bedrock name, e.g. ``nova_grounding``."""

    # Sampling
    sampling: frozenset[str] = frozenset({"temperature", "top_p"})
    """Of temperature, top_p, top_k: what is accepted."""
    one_sampler: bool = False
    """Refuses temperature and top_p together."""
    top_k_path: tuple[str, ...] = ("top_k",)
    """Where top_k goes inside ``additionalModelRequestFields``."""
    penalties: bool = False
    """Takes frequency_penalty and presence_penalty as additional fields."""
    stop: bool = True
    """Takes ``stopSequences``; else they are emulated on the answer."""
    max_stop: int | None = None
    blank_stop: bool = True
    """Takes stop sequences made of white space only."""
    stop_kept: bool = False
    """Leaves the stop sequence that ended it in its text, where it is then cut off."""
    length: bool = True
    """Takes ``maxTokens``."""
    min_max_tokens: int = 1

    # Structured output
    native_schema: bool = False
    """Takes ``outputConfig.textFormat``."""

    # Reasoning
    reasoning: ReasoningStyle = "none"
    efforts: frozenset[str] = frozenset({"low", "medium", "high"})
    effort_field: bool = False
    """Takes an effort beside (or instead of) a thinking budget."""
    reasons_unasked: bool = False
    """Always reasons: effort none becomes its lowest effort."""
    budget_too: bool = False
    """An adaptive model that takes the older budget form as well."""
    between_tools: bool = False
    """Takes the thinking type ``between_tools``."""
    interleaved_beta: bool = False
    """Thinks between tool calls only when asked with a beta flag."""
    signed_reasoning: bool = False
    """Signs its reasoning and wants it back unchanged in tool loops."""
    replays: bool = True
    """May be sent its own earlier reasoning (where that was signed or sealed)."""
    forced_tools: bool = True
    """A required or named tool may be asked for (Claude's newest refuse it)."""
    inline_tags: tuple[str, ...] = ()
    """Tags under which it writes reasoning into text: ``think``, ``thinking``, ``reasoning``."""

    # Caching
    cache_places: frozenset[str] = frozenset()
    """Where ``cachePoint`` may stand: tools, system, messages. Empty: the member is refused."""
    cache_hour: bool = False
    """Takes ``ttl: 1h``."""
    cache_min_tokens: int = 1024

    # Embeddings
    embeds: EmbeddingStyle = "none"
    """The vendor format of its InvokeModel body; such a model does not support Converse."""
    embed_sizes: frozenset[int] = frozenset()
    """The dimensions that its vectors can have. Where there is but one, no member asks for it."""
    embed_batch: int = 1
    """Texts in one call."""

    # Limits (None: unknown)
    context_window: int | None = None
    max_output_tokens: int | None = None
    clamp_output: bool = False
    """``max_output_tokens`` is firm enough to lower a caller's ``max_tokens`` to."""


@dataclass(frozen=True, slots=True)
class Model:
    """A client's model name, resolved: what to call, where, and what is known of it."""

    name: str
    """As the client wrote it; every answer shows this."""
    id: str
    """Goes into the path: foundation model id, inference profile id, or ARN."""
    foundation: str
    """Foundation model id without geo prefix; "" if it could not be told."""
    label: str
    """The metrics' bounded label: an id of the catalog, or ``other``."""
    traits: Traits
    region: str | None = None
    """Where it was found; ``None`` is the runtime's own region."""
    details: Mapping[str, object] = field(default_factory=dict)
    """What a listing shows beside the id (name, modalities, lifecycle, …)."""
    elsewhere: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    """What to call in the fail-over regions that have it."""
    known_as: str = ""
    """``name``, where the operator or a listing gave it; "" for what the client has made up
    (route words, a name that the default model stands in for). Permissions rest on it."""
