"""Bedrock's token counts as OpenAI's ``usage``.

OpenAI's ``prompt_tokens`` includes cached tokens, Converse's ``inputTokens`` excludes them: copied
naively, an agent's prompt is under-reported by up to nine tenths. ``totalTokens`` is the check: it
was the sum of all four counts in every recording, so where it already equals input + output beside
cache counts, that family's input includes them.

Recorded beyond the service model: the duplicates ``cacheReadInputTokenCount`` and
``cacheWriteInputTokenCount``; cache counts that are zero, one-sided or absent.
Sources: Bedrock API reference, *TokenUsage*; OpenAI API reference, *Completion usage*.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Final, NotRequired, cast

from proxy.converse.types import Json, Usage

_MOST: Final = 2**53 - 1
"""No count of tokens is larger; what clients read as a double, and JSON writers as 64 bits, still
holds the sums of several."""


class Account(Usage):
    """A call's counts, with what Bedrock says of it elsewhere: how many of the output tokens were
    reasoning (only where the model tells), and the service tier that was used."""

    reasoningTokens: NotRequired[int]
    serviceTier: NotRequired[str]


def account(usage: Json, fields: Json, tier: Json) -> Account | None:
    """``metadata.usage``, ``additionalModelResponseFields`` and ``serviceTier`` as one account.

    ``None`` if no counts came. A count that is missing beside ``totalTokens`` follows from it.
    """
    if not isinstance(usage, dict):
        return None
    total = _count(usage, "totalTokens")
    read = _count(usage, "cacheReadInputTokens", "cacheReadInputTokenCount")
    write = _count(usage, "cacheWriteInputTokens", "cacheWriteInputTokenCount")
    given, out = _count(usage, "inputTokens"), _count(usage, "outputTokens")
    if given is None and out is None and total is None:
        return None
    rest = max(0, (total or 0) - (read or 0) - (write or 0) - (given or 0) - (out or 0))
    result = Account(
        inputTokens=rest if given is None else given,
        outputTokens=(rest if given is not None else 0) if out is None else out,
    )
    if total is not None:
        result["totalTokens"] = total
    if read is not None:
        result["cacheReadInputTokens"] = read
    if write is not None:
        result["cacheWriteInputTokens"] = write
    if isinstance(details := usage.get("cacheDetails"), list) and details:
        result["cacheDetails"] = [entry for entry in details if isinstance(entry, dict)]
    if (thinking := _reasoning(fields)) is not None:
        result["reasoningTokens"] = thinking
    if isinstance(tier, dict) and isinstance(name := tier.get("type"), str):
        result["serviceTier"] = name
    return result


def prompt_tokens(usage: Usage) -> int:
    """All tokens of the prompt, read from a cache or not."""
    cached = usage.get("cacheReadInputTokens", 0) + usage.get("cacheWriteInputTokens", 0)
    given = usage["inputTokens"]
    if cached and usage.get("totalTokens") == given + usage["outputTokens"]:
        return given
    return given + cached


def usage_object(
    usages: Sequence[Usage | None], price: Mapping[str, float] | None = None
) -> dict[str, Json] | None:
    """OpenAI's ``usage`` of one call, or the sum of several. ``None`` if no call gave counts.

    ``price`` (USD per million tokens, by ``input``, ``output``, ``cache_read``, ``cache_write``)
    adds ``cost`` in USD, the extension that OpenRouter has and agents read.
    """
    known = [cast("Account", usage) for usage in usages if usage is not None]
    if not known:
        return None
    prompt = completion = read = write = thinking = 0
    told: set[str] = set()
    for usage in known:
        told.update(usage)
        prompt += prompt_tokens(usage)
        completion += usage["outputTokens"]
        read += usage.get("cacheReadInputTokens", 0)
        write += usage.get("cacheWriteInputTokens", 0)
        thinking += usage.get("reasoningTokens", 0)
    details: dict[str, Json] = {"cached_tokens": read}
    if "cacheWriteInputTokens" in told:
        details["cache_write_tokens"] = write
    if "cacheDetails" in told and (written := _by_ttl(known)):
        details["cache_write_details"] = written
    result: dict[str, Json] = {
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": prompt + completion,
        "prompt_tokens_details": details,
    }
    if "reasoningTokens" in told:
        result["completion_tokens_details"] = {"reasoning_tokens": thinking}
    if price is not None:
        result["cost"] = round(sum(_cost(usage, price) for usage in known), 12)
    return result


def _cost(usage: Usage, price: Mapping[str, float]) -> float:
    """In USD. What is billed as input is what no cache held."""
    read = usage.get("cacheReadInputTokens", 0)
    write = usage.get("cacheWriteInputTokens", 0)
    counts = {
        "input": prompt_tokens(usage) - read - write,
        "output": usage["outputTokens"],
        "cache_read": read,
        "cache_write": write,
    }
    return sum(price.get(kind, 0.0) * count for kind, count in counts.items()) / 1e6


def service_tier(usages: Sequence[Usage | None], tier: str | None = None) -> dict[str, str]:
    """``{"service_tier": …}`` as Bedrock named the tier, else ``tier``; empty where that is unset.
    OpenAI names it in each answer to a request that asked for one."""
    for usage in usages:
        if usage is not None and (named := cast("Account", usage).get("serviceTier")):
            return {"service_tier": named}
    return {} if tier is None else {"service_tier": tier}


def _by_ttl(usages: Sequence[Account]) -> list[dict[str, Json]]:
    """An extension: written tokens per time to live, in Bedrock's order (1h before 5m)."""
    written: Counter[str] = Counter()
    for usage in usages:
        for entry in usage.get("cacheDetails", ()):
            written[str(entry.get("ttl"))] += _count(entry, "inputTokens") or 0
    return [{"ttl": ttl, "tokens": tokens} for ttl, tokens in written.items()]


def _reasoning(fields: Json) -> int | None:
    """Claude's and GPT's own split of the output, if ``additionalModelResponseFieldPaths`` asked
    for it (field reports, 2026; not documented)."""
    usage = fields.get("usage") if isinstance(fields, dict) else None
    details = usage.get("output_tokens_details") if isinstance(usage, dict) else None
    if not isinstance(details, dict):
        return None
    return _count(details, "thinking_tokens", "reasoning_tokens")


def _count(counts: Mapping[str, Json], *names: str) -> int | None:
    for name in names:
        value = counts.get(name)
        if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= _MOST:
            return value
    return None
