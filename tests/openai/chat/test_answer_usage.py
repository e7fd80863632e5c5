"""Bedrock's counts as OpenAI's usage: sums that add up, unknowns that stay unknown."""

from typing import Any

import pytest

from proxy.openai.chat.usage import account, prompt_tokens, service_tier, usage_object


@pytest.mark.parametrize(
    ("given", "prompt", "completion"),
    [
        ({"inputTokens": 3, "outputTokens": 4, "totalTokens": 7}, 3, 4),
        # Recorded: 3 + 1712 + 236 + 121 = 2072.
        (
            {
                "inputTokens": 3,
                "cacheReadInputTokens": 1712,
                "cacheWriteInputTokens": 236,
                "outputTokens": 121,
                "totalTokens": 2072,
            },
            1951,
            121,
        ),
        (
            {
                "inputTokens": 100,
                "cacheReadInputTokens": 90,
                "outputTokens": 5,
                "totalTokens": 105,
            },
            100,
            5,
        ),
        ({"inputTokens": 10, "cacheWriteInputTokens": 5, "outputTokens": 1}, 15, 1),
        ({"outputTokens": 4, "totalTokens": 9}, 5, 4),
        ({"inputTokens": 4, "totalTokens": 9}, 4, 5),
        ({"outputTokens": 50}, 0, 50),
        ({"inputTokens": "3", "outputTokens": True, "totalTokens": -1, "x": None}, None, None),
        ({"inputTokens": 2**64, "outputTokens": 2**53, "totalTokens": 10**400}, None, None),
        ({"inputTokens": 2**53 - 1, "outputTokens": 2}, 2**53 - 1, 2),
        ({}, None, None),
        (None, None, None),
        ([], None, None),
    ],
)
def test_counts(given: Any, prompt: int | None, completion: int | None) -> None:
    usage = account(given, None, None)
    shown = usage_object([usage])
    if prompt is None or completion is None:
        assert shown is None
        return
    assert usage is not None
    assert shown is not None
    assert prompt_tokens(usage) == prompt
    assert (shown["prompt_tokens"], shown["completion_tokens"]) == (prompt, completion)
    assert shown["total_tokens"] == prompt + completion
    assert shown["prompt_tokens_details"]["cached_tokens"] <= prompt


def test_several_calls_are_summed_and_an_unknown_one_is_left_out() -> None:
    first = account(
        {
            "inputTokens": 1,
            "outputTokens": 2,
            "cacheWriteInputTokens": 10,
            "cacheDetails": [{"ttl": "5m", "inputTokens": 10}],
        },
        {"usage": {"output_tokens_details": {"thinking_tokens": 1}}},
        {"type": "flex"},
    )
    second = account({"inputTokens": 1, "outputTokens": 3, "cacheReadInputTokens": 10}, {}, None)
    assert usage_object([first, None, second]) == {
        "prompt_tokens": 22,
        "completion_tokens": 5,
        "total_tokens": 27,
        "prompt_tokens_details": {
            "cached_tokens": 10,
            "cache_write_tokens": 10,
            "cache_write_details": [{"ttl": "5m", "tokens": 10}],
        },
        "completion_tokens_details": {"reasoning_tokens": 1},
    }
    assert service_tier([None, second, first]) == {"service_tier": "flex"}
    assert service_tier([second, None]) == {}
    assert service_tier([second, None], "default") == {"service_tier": "default"}
    assert service_tier([first, None], "default") == {"service_tier": "flex"}


@pytest.mark.parametrize(
    "fields", [None, [], {"usage": 3}, {"usage": {"output_tokens_details": {"thinking": 1}}}]
)
def test_reasoning_tokens_are_not_guessed(fields: Any) -> None:
    usage = account({"inputTokens": 1, "outputTokens": 2}, fields, None)
    assert "completion_tokens_details" not in (usage_object([usage]) or {})
