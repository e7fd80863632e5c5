"""Sampling, length and stop sequences: ``inferenceConfig`` and its kin among the native fields.

A value that a family refuses is dropped, one beyond Converse's range is clamped, and a stop
sequence that cannot be sent is emulated on the answer; each is noted. One that the family leaves
in its text is looked for there, too. A dropped value that equals the model's own default
(temperature 1, top_p 1) loses nothing and is only told.

Source: *InferenceConfiguration* of Converse; which family refuses what stands in its traits.
"""

from dataclasses import field
from typing import Final

from proxy.catalog.model import Traits
from proxy.converse.types import Json
from proxy.frozen import frozen
from proxy.openai.chat.notes import Notes
from proxy.openai.chat.reasoning import ReasoningTranslation
from proxy.openai.chat.request_shape import ChatRequest

_NEUTRAL: Final = 1
"""The value of temperature and top_p that asks for nothing."""


@frozen
class Inference:
    """``sampling`` by OpenAI's names; reasoning may still take members away."""

    max_tokens: int | None = None
    sampling: dict[str, float] = field(default_factory=dict)
    stop: tuple[str, ...] = ()
    cut_at: tuple[str, ...] = ()
    """Stop sequences to look for in the answer."""
    top_k_path: tuple[str, ...] = ()
    penalties: dict[str, float] = field(default_factory=dict)

    def config(self, reasoning: ReasoningTranslation) -> dict[str, Json]:
        config: dict[str, Json] = {}
        if reasoning.max_tokens is not None:
            config["maxTokens"] = reasoning.max_tokens
        for name, member in (("temperature", "temperature"), ("top_p", "topP")):
            if name in self.sampling and name not in reasoning.drop_sampling:
                config[member] = self.sampling[name]
        if self.stop:
            config["stopSequences"] = list(self.stop)
        return config

    def fields(self, reasoning: ReasoningTranslation) -> dict[str, Json]:
        """Members of ``additionalModelRequestFields``."""
        fields: dict[str, Json] = dict(self.penalties)
        if "top_k" in self.sampling and "top_k" not in reasoning.drop_sampling:
            value: Json = self.sampling["top_k"]
            for step in reversed(self.top_k_path):
                value = {step: value}
            fields |= value
        return fields


def translate_inference(request: ChatRequest, traits: Traits, notes: Notes) -> Inference:
    stop, cut_at = _stop(request.stop, traits, notes)
    return Inference(
        max_tokens=_max_tokens(request, traits, notes),
        sampling=_sampling(request, traits, notes),
        stop=stop,
        cut_at=cut_at,
        top_k_path=traits.top_k_path,
        penalties=_penalties(request, traits, notes),
    )


def _max_tokens(request: ChatRequest, traits: Traits, notes: Notes) -> int | None:
    asked, param = request.max_tokens, request.max_tokens_field
    if asked is None:
        return None
    if request.outdone_max_tokens is not None:
        notes.add("max_tokens:dropped", "max_tokens", "'max_completion_tokens' was sent, too.")
    if not traits.length:
        notes.add("max_tokens:dropped", param, "A managed prompt has its own limit.")
        return None
    value = max(asked, traits.min_max_tokens)
    if traits.clamp_output and traits.max_output_tokens is not None:
        value = min(value, traits.max_output_tokens)
    if value != asked:
        notes.add("max_tokens:clamped", param, f"This model accepts {value}.")
    return value


def _sampling(request: ChatRequest, traits: Traits, notes: Notes) -> dict[str, float]:
    asked = {
        "temperature": request.temperature,
        "top_p": request.top_p,
        "top_k": request.top_k,
    }
    sampling: dict[str, float] = {}
    for name, value in asked.items():
        if value is None:
            continue
        if name not in traits.sampling:
            _drop(name, value, "This model does not support it.", notes)
            continue
        sampling[name] = value
    if sampling.get("temperature", 0) > 1:
        notes.add(
            "temperature:clamped", "temperature", "Converse accepts temperatures from 0 to 1."
        )
        sampling["temperature"] = 1
    if traits.one_sampler and "temperature" in sampling and "top_p" in sampling:
        # Of the two the one goes that asks for nothing; if both ask for something, top_p.
        gone = "temperature" if sampling["temperature"] == _NEUTRAL else "top_p"
        _drop(gone, sampling.pop(gone), "This model accepts only one of the two.", notes)
    return sampling


def _drop(name: str, value: float, why: str, notes: Notes) -> None:
    token = f"{name}:dropped"
    if value == _NEUTRAL and name != "top_k":
        notes.tell(token)
    else:
        notes.add(token, name, why)


def _penalties(request: ChatRequest, traits: Traits, notes: Notes) -> dict[str, float]:
    penalties: dict[str, float] = {}
    for name, value in (
        ("frequency_penalty", request.frequency_penalty),
        ("presence_penalty", request.presence_penalty),
    ):
        if not value:
            continue
        if traits.penalties:
            penalties[name] = value
        else:
            notes.add(f"{name}:dropped", name, "This model does not support it.")
    return penalties


def _stop(
    asked: tuple[str, ...], traits: Traits, notes: Notes
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """(sent, looked for in the answer). An empty sequence can never be met and is dropped."""
    if not asked:
        return (), ()
    wanted = tuple(dict.fromkeys(entry for entry in asked if entry))
    if "" in asked:
        notes.add("stop:dropped", "stop", "An empty stop sequence has no effect.")
    if len(wanted) + asked.count("") != len(asked):
        notes.tell("stop:merged")
    if not traits.stop:
        sendable: tuple[str, ...] = ()
    elif traits.blank_stop:
        sendable = wanted
    else:
        sendable = tuple(entry for entry in wanted if not entry.isspace())
    sent = sendable[: traits.max_stop]
    emulated = tuple(entry for entry in wanted if entry not in sent)
    if emulated:
        notes.tell("stop:emulated")
    return sent, wanted if traits.stop_kept else emulated
