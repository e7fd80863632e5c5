"""Every member of Converse's answer has a place: botocore's service model is walked, and a member
that is neither mapped nor listed here, with a reason, fails. A botocore upgrade tells what is new.
"""

from collections.abc import Mapping

import botocore.session
import pytest
from botocore.model import ServiceModel

from proxy.converse.exceptions import EXCEPTIONS
from proxy.openai.chat import answer, finish, unfit

HANDLED_BY_NAME = {
    "ContentBlockStart": {"toolUse", "toolResult", *answer._ATTACHED},
    "ContentBlockDelta": set(answer._DELTAS),
    "ReasoningContentBlockDelta": {"text", "signature", "redactedContent"},
    "ToolUseBlockStart": {"toolUseId", "name", "type"},
    "ToolUseBlockDelta": {"input"},
    "ImageBlockStart": {"format"},
    "ImageBlockDelta": {"source", "error"},
    "ImageSource": {"bytes", "s3Location"},
    "CitationsDelta": {"title", "source", "sourceContent", "location"},
    "CitationSourceContentDelta": {"text"},
    # All but ``web`` are passed on as they are, under their own name.
    "CitationLocation": {
        "web", "documentChar", "documentPage", "documentChunk", "searchResultLocation",
    },
    "WebLocation": {"url", "domain"},
    "MessageStopEvent": {"stopReason", "additionalModelResponseFields"},
    "ConverseStreamMetadataEvent": {"usage", "trace", "performanceConfig", "serviceTier"},
    "ConverseStreamTrace": {"guardrail", "promptRouter"},
    "TokenUsage": {
        "inputTokens", "outputTokens", "totalTokens", "cacheReadInputTokens",
        "cacheWriteInputTokens", "cacheDetails",
    },
    "CacheDetail": {"ttl", "inputTokens"},
    "ServiceTier": {"type"},
}  # fmt: skip

LEFT_OUT: Mapping[str, Mapping[str, str]] = {
    "ConverseStreamMetadataEvent": {
        "metrics": "latencyMs is Bedrock's own; ours is measured, for metrics",
    },
}

# Content blocks of a whole answer come as events (proxy/converse/replay.py). The service model has
# one ContentBlock for requests and answers; these are never a model's answer.
ONLY_IN_REQUESTS = {
    "document": "no model answers with one",
    "video": "no model answers with one",
    "guardContent": "marks input for a guardrail",
    "cachePoint": "marks input for the cache",
    "searchResult": "input for citations",
    "toolAddition": "changes the tools of a conversation",
    "toolRemoval": "changes the tools of a conversation",
}
AS_EVENTS = {
    "citationsContent": "citation and text deltas",
    "text": "", "image": "", "audio": "", "toolUse": "", "toolResult": "", "reasoningContent": "",
}  # fmt: skip


@pytest.fixture(scope="module")
def model() -> ServiceModel:
    return botocore.session.get_session().get_service_model("bedrock-runtime")


@pytest.mark.parametrize("shape", sorted(HANDLED_BY_NAME))
def test_every_member_is_handled_or_left_out_for_a_reason(model: ServiceModel, shape: str) -> None:
    members = set(model.shape_for(shape).members)  # type: ignore[attr-defined]
    excused = set(LEFT_OUT.get(shape, {}))
    assert members - HANDLED_BY_NAME[shape] - excused == set()
    assert excused <= members


def test_every_stop_reason_has_a_finish(model: ServiceModel) -> None:
    reasons = set(model.shape_for("StopReason").enum)  # type: ignore[attr-defined]
    assert reasons - set(finish.FINISH_REASONS) - unfit.MALFORMED == set()


def test_every_event_is_read_or_is_an_exception(model: ServiceModel) -> None:
    members = set(model.shape_for("ConverseStreamOutput").members)  # type: ignore[attr-defined]
    exceptions = {name for name in members if name.endswith("Exception")}
    assert members - exceptions == set(answer._EVENTS)
    assert {name.lower().removesuffix("exception") for name in exceptions} <= set(EXCEPTIONS)


@pytest.mark.parametrize("operation", ["Converse", "ConverseStream"])
def test_every_exception_of_the_operation_has_a_row(model: ServiceModel, operation: str) -> None:
    names = {shape.name for shape in model.operation_model(operation).error_shapes}
    assert names
    assert {name.lower().removesuffix("exception") for name in names} <= set(EXCEPTIONS)


def test_every_content_block_is_an_event_or_no_answer(model: ServiceModel) -> None:
    members = set(model.shape_for("ContentBlock").members)  # type: ignore[attr-defined]
    assert members - set(AS_EVENTS) - set(ONLY_IN_REQUESTS) == set()


def test_a_whole_answer_has_no_member_that_a_stream_has_not(model: ServiceModel) -> None:
    whole = set(model.shape_for("ConverseResponse").members)  # type: ignore[attr-defined]
    streamed = set(model.shape_for("ConverseStreamMetadataEvent").members)  # type: ignore[attr-defined]
    streamed |= set(model.shape_for("MessageStopEvent").members)  # type: ignore[attr-defined]
    assert whole - streamed == {"output"}
