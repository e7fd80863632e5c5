"""AWS's listings to a ``Catalog``: which models there are, which are shown, what is known of them.

Shown are models that put out text, stream and are ACTIVE; what is LEGACY or without a lifecycle
stays callable and hidden unless asked for, and so do embeddings. A model that Bedrock refuses under
its bare id (profile-only, provisioned-only) is never shown under it; its profiles are, with their
foundation model's facts and through the same filters.

Limits and capabilities come from the undocumented ``converse`` object that real listings carry for
some models (captures, fact 42), then from our own table. Of a model that neither knows the context
window is read from ``description.maxContextWindow`` or from its largest context-size variant, which
real listings carry too. Every key of a summary may be missing,
null or of another shape: such a summary says less, it never breaks a listing. Source: Amazon
Bedrock API reference, *ListFoundationModels*, *ListInferenceProfiles* and the other List calls.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Any, Final

from proxy.catalog.entries import Access, Entry, Learned, Listing, Options, Summary
from proxy.catalog.families import describe, foundation_of, traits_for
from proxy.catalog.names import context_size, foundation_in, geography_of, parse_arn
from proxy.catalog.resolve import Catalog
from proxy.tables import ManualModel

_OUTPUT_HINT: Final = frozenset({"anthropic", "amazon", "openai", "writer"})
"""Providers whose ``maxTokensMaximum`` is the output limit; for others it is rather the context
window (recorded)."""

_MODALITY: Final = (
    ("TEXT", "text"), ("IMAGE", "image"), ("VIDEO", "video"), ("SPEECH", "audio"),
    ("AUDIO", "audio"), ("EMBEDDING", "embedding"),
)  # fmt: skip
_INVOKED_ONLY: Final = ("twelvelabs.pegasus",)
"""Models that stream text, but not through Converse: Bedrock user guide, *Supported models and
model features*. No listing tells."""
_WINDOW: Final = re.compile(r"(\d{1,9})\s*([km]?)", re.IGNORECASE)
_ID_DATE: Final = re.compile(r"-(20\d{2})(\d{2})(\d{2})(?:-|$)")


def build(
    listings: Sequence[Listing], options: Options, learned: Mapping[str, Learned] | None = None
) -> Catalog:
    """The catalog of all regions, in their order: a model found in several is called in the first.

    ``learned``: what Get calls said of opaque ARNs. Without listings it resolves from our table.
    """
    entries: dict[str, Entry] = {}
    geographies: dict[str, tuple[str, ...]] = {}
    profiles: dict[str, list[Entry]] = {}
    for listing in listings:
        geographies[listing.region] = listing.geographies
        for entry in _Region(listing, options).entries():
            if entry.kind == "profile":
                profiles.setdefault(entry.foundation, []).append(entry)
            entries.setdefault(entry.id, entry)
    for manual in options.manual:
        entries[manual.id] = _manual(manual, entries.get(manual.id), options)
    return Catalog(
        options=options,
        entries=MappingProxyType(entries),
        calls=MappingProxyType({e.call: e.id for e in entries.values() if e.call != e.id}),
        profiles=MappingProxyType({key: tuple(found) for key, found in profiles.items()}),
        geographies=MappingProxyType(geographies),
        discovered=frozenset(item.region for item in listings if item.foundation_models),
        learned=MappingProxyType(dict(learned or {})),
    )


class _Region:
    """One region's listing, as entries."""

    def __init__(self, listing: Listing, options: Options) -> None:
        self._listing = listing
        self._options = options
        self._region = None if listing.region == options.regions[0] else listing.region
        self._words = frozenset(filter(None, map(_squash, options.provider_filter)))
        self._models: dict[str, Entry] = {}
        self._variants = _largest_variants(listing.foundation_models)

    def entries(self) -> Iterator[Entry]:
        for summary in _summaries(self._listing.foundation_models):
            if (model := self._foundation(summary)) is not None:
                self._models.setdefault(model.foundation, model)
        yield from self._models.values()
        for summary in _summaries(self._listing.system_profiles):
            yield from self._profile(summary, "SYSTEM_DEFINED")
        for summary in _summaries(self._listing.application_profiles):
            yield from self._profile(summary, "APPLICATION")
        yield from self._provisioned()
        yield from self._custom()
        yield from self._imported()
        yield from self._marketplace()

    def _foundation(self, summary: Summary) -> Entry | None:
        model_id = _text(summary, "modelId")
        if not model_id:
            return None
        known, hint = describe(model_id), _mapping(summary.get("converse"))
        provider = _text(summary, "providerName")
        window = known.context_window or _told_window(summary) or self._variants.get(model_id)
        context, output = _limits(model_id, hint, window, known.max_output_tokens)
        lifecycle = _mapping(summary.get("modelLifecycle"))
        entry = Entry(
            id=model_id,
            call=model_id,
            kind="foundation",
            foundation=model_id,
            name=_text(summary, "modelName") or model_id,
            provider=provider,
            region=self._region,
            access=_access(summary.get("inferenceTypesSupported")),
            streaming=summary.get("responseStreamingSupported") is True,
            system=hint.get("systemRoleSupported") is not False,
            lifecycle=_text(lifecycle, "status"),
            created=_time(lifecycle.get("startOfLifeTime")) or _id_time(model_id),
            inputs=_modalities(summary.get("inputModalities")) or known.input_modalities,
            outputs=_modalities(summary.get("outputModalities")),
            context_window=context,
            max_output_tokens=output,
            reasoning=bool(hint.get("reasoningSupported")) or known.reasoning,
            tools=known.tools,
        )
        return self._shown(entry, entry.access == "on_demand")

    def _profile(self, summary: Summary, kind: str) -> Iterator[Entry]:
        profile_id, arn = (
            _text(summary, "inferenceProfileId"),
            _text(summary, "inferenceProfileArn"),
        )
        if not profile_id:
            return
        members = summary.get("models")
        arns = [
            _text(m, "modelArn") for m in _summaries(members if isinstance(members, list) else ())
        ]
        foundation, anywhere = foundation_in(arns)
        system = kind == "SYSTEM_DEFINED"
        foundation = foundation or (foundation_of(profile_id) if system else "")
        geography = geography_of(profile_id, foundation) if system else ""
        entry = replace(
            self._behind(foundation),
            id=profile_id,
            call=profile_id if system else (arn or profile_id),
            kind="profile" if system else "application",
            name=_text(summary, "inferenceProfileName") or profile_id,
            geography=geography or ("global" if anywhere and not system else ""),
        )
        wanted = system or self._options.application_profiles
        active = wanted and _text(summary, "status") in ("ACTIVE", "")
        created = _time(summary.get("createdAt")) or entry.created
        yield self._shown(replace(entry, created=created), active)

    def _provisioned(self) -> Iterator[Entry]:
        for summary in _summaries(self._listing.provisioned):
            foundation = foundation_of(_text(summary, "foundationModelArn"))
            foundation = foundation or foundation_of(_text(summary, "modelArn"))
            yield from self._derived(
                "provisioned", _text(summary, "provisionedModelArn"),
                _text(summary, "provisionedModelName"), foundation,
                summary.get("status") in ("InService", "Updating"), summary.get("creationTime"),
            )  # fmt: skip

    def _custom(self) -> Iterator[Entry]:
        bases = {
            _text(model, "modelArn"): foundation_of(_text(model, "baseModelArn"))
            for model in _summaries(self._listing.custom_models)
        }
        for summary in _summaries(self._listing.deployments):
            model = _text(summary, "modelArn")
            yield from self._derived(
                "deployment", _text(summary, "customModelDeploymentArn"),
                _text(summary, "customModelDeploymentName"),
                bases.get(model) or foundation_of(model),
                summary.get("status") == "Active", summary.get("createdAt"),
            )  # fmt: skip

    def _imported(self) -> Iterator[Entry]:
        for summary in _summaries(self._listing.imported):
            yield from self._derived(
                "imported", _text(summary, "modelArn"), _text(summary, "modelName"), "",
                summary.get("instructSupported") is True, summary.get("creationTime"),
                _text(summary, "modelArchitecture") or None,
            )  # fmt: skip

    def _marketplace(self) -> Iterator[Entry]:
        for summary in _summaries(self._listing.marketplace):
            arn = _text(summary, "endpointArn")
            yield from self._derived(
                "marketplace", arn, arn.rpartition("/")[2], "",
                summary.get("status") == "REGISTERED", summary.get("createdAt"),
            )  # fmt: skip

    def _derived(
        self, kind: Any, arn: str, name: str, foundation: str, ready: bool, created: object,
        architecture: str | None = None,
    ) -> Iterator[Entry]:  # fmt: skip
        """What runs under an ARN of its own and inherits from a foundation model, if one is
        known. It is shown under its name: the ARN would show the account."""
        parsed = parse_arn(arn)
        if parsed is None:
            return
        entry = replace(
            self._behind(foundation, architecture),
            id=name or parsed.rest,
            call=arn,
            kind=kind,
            name=name or parsed.rest,
            created=_time(created),
        )
        yield self._shown(entry, ready)

    def _behind(self, foundation: str, architecture: str | None = None) -> Entry:
        """What is inherited: the listed foundation model's facts, else our table's."""
        if (model := self._models.get(foundation)) is not None:
            return replace(model, access="on_demand")
        return replace(
            from_table(foundation, architecture), region=self._region, architecture=architecture
        )

    def _shown(self, entry: Entry, ready: bool) -> Entry:
        """``entry`` with where it is listed, provided that it is ``ready`` to be called."""
        allowed = ready and "text" in entry.inputs and self._allows(entry)
        return replace(
            entry,
            listed=allowed
            and "text" in entry.outputs
            and entry.streaming
            and not entry.foundation.startswith(_INVOKED_ONLY),
            embeds=allowed and "embedding" in entry.outputs,
        )

    def _allows(self, entry: Entry) -> bool:
        policy = self._options.geographies
        return (
            (entry.lifecycle == "ACTIVE" or self._options.include_legacy)
            and (not self._words or bool(self._words & provider_words(entry)))
            and (policy is None or not entry.geography or entry.geography in policy)
        )


def from_table(foundation: str, architecture: str | None = None) -> Entry:
    """A model that is in no listing, as our table knows it (or does not)."""
    known, traits = describe(foundation), traits_for(foundation, architecture)
    embedding = known.mode == "embedding"
    context, output = _limits(foundation, {}, known.context_window, known.max_output_tokens)
    return Entry(
        id=foundation,
        call=foundation,
        kind="foundation",
        foundation=foundation,
        name=foundation,
        streaming=traits.stream and not embedding,
        created=_id_time(foundation),
        inputs=known.input_modalities,
        outputs=("embedding",) if embedding else ("text",),
        context_window=context,
        max_output_tokens=output,
        reasoning=known.reasoning,
        tools=traits.tools,
        architecture=architecture,
    )


def provider_words(entry: Entry) -> frozenset[str]:
    """What a provider filter's word may be for this model: Bedrock's provider name, its first
    word, or the id's own provider part (``mistral`` and ``Mistral AI`` alike)."""
    part = entry.foundation.partition(".")[0] if "." in entry.foundation else ""
    first = entry.provider.split(" ")[0] if entry.provider else ""
    return frozenset(filter(None, map(_squash, (entry.provider, first, part))))


def _manual(manual: ManualModel, found: Entry | None, options: Options) -> Entry:
    foundation = manual.foundation or foundation_of(manual.id)
    entry = found or replace(
        from_table(foundation),
        id=manual.id,
        call=manual.id,
        kind="manual",
        name=manual.id,
        geography=geography_of(manual.id, foundation),
        region=_elsewhere(manual.region, options),
    )
    given: dict[str, Any] = {
        "name": manual.name,
        "reasoning": manual.reasoning,
        "tools": manual.tools,
        "inputs": manual.input,
        "cost": manual.cost,
        "context_window": manual.context_window,
        "max_output_tokens": manual.max_tokens,
        "region": _elsewhere(manual.region, options),
    }
    given = {key: value for key, value in given.items() if value is not None}
    embeds = "embedding" in entry.outputs
    firm = manual.max_tokens is not None
    return replace(entry, listed=not embeds, embeds=embeds, firm_output=firm, **given)


def _elsewhere(region: str | None, options: Options) -> str | None:
    return None if region == options.regions[0] else region


def _limits(
    model_id: str, hint: Mapping[str, Any], context: int | None, output: int | None
) -> tuple[int | None, int | None]:
    """Context window and output limit: what the id says, the listing's hint, our table."""
    most = hint.get("maxTokensMaximum")
    if isinstance(most, int) and not isinstance(most, bool) and most > 0:
        if model_id.partition(".")[0] not in _OUTPUT_HINT:
            context = context or most
        elif context is None or most < context:
            output = most
    return context_size(model_id) or context, output


def _told_window(summary: Summary) -> int | None:
    """A context window as a model's description has it: ``200k``, ``1M``, ``128000`` (recorded)."""
    told = _text(_mapping(summary.get("description")), "maxContextWindow")
    match = _WINDOW.fullmatch(told.strip())
    return int(match[1]) * {"": 1, "k": 1_000, "m": 1_000_000}[match[2].lower()] if match else None


def _largest_variants(models: Iterable[object]) -> dict[str, int]:
    """The largest context-size variant of each model. Some variants say ``:0`` where their model
    does not (recorded)."""
    sizes: dict[str, int] = {}
    for model_id in (_text(summary, "modelId") for summary in _summaries(models)):
        size, plain = context_size(model_id), model_id.rpartition(":")[0]
        for name in {plain, plain.removesuffix(":0")} if size else ():
            sizes[name] = max(sizes.get(name, 0), size or 0)
    return sizes


def _access(types: object) -> Access:
    """Bedrock's words; a list that is missing or empty of known ones is told apart: the empty one
    stands on context-size variants, which are provisioned (recorded)."""
    if not isinstance(types, list) or "ON_DEMAND" in types:
        return "on_demand"
    return "profile" if "INFERENCE_PROFILE" in types else "provisioned"


def _summaries(items: Iterable[object]) -> Iterator[Summary]:
    return (item for item in items if isinstance(item, Mapping))


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _text(summary: Mapping[str, Any], key: str) -> str:
    value = summary.get(key)
    return value if isinstance(value, str) else ""


def _modalities(value: object) -> tuple[str, ...]:
    """AWS's words in ours; an unknown word is passed on in lower case."""
    words = [word for word in value if isinstance(word, str)] if isinstance(value, list) else []
    return tuple(dict.fromkeys(dict(_MODALITY).get(word, word.lower()) for word in words))


def _time(value: object) -> int:
    """Unix seconds of an ISO 8601 time, which may have nine digits after the point; 0 if none."""
    if not isinstance(value, str):
        return 0
    try:
        read = datetime.fromisoformat(re.sub(r"(\.\d{6})\d+", r"\1", value))
    except ValueError:
        return 0
    return int((read if read.tzinfo else read.replace(tzinfo=UTC)).timestamp())


def _id_time(model_id: str) -> int:
    """The date that many ids carry, as unix seconds; 0 without one."""
    match = _ID_DATE.search(model_id)
    return _time(f"{match[1]}-{match[2]}-{match[3]}T00:00:00Z") if match else 0


def _squash(word: str) -> str:
    return re.sub(r"[^a-z0-9]", "", word.lower())
