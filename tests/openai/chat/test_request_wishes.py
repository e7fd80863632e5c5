"""The de-facto forms of asking for reasoning and for caching, and names of documents."""

from typing import Any

import pytest

from proxy.errors import ProxyError
from proxy.openai.chat.documents import document_format, document_name
from proxy.openai.chat.request_native import read_native
from proxy.openai.chat.request_shape import ReasoningAsk
from proxy.openai.chat.request_wishes import read_cache_wish, read_reasoning

ENABLED = {"type": "enabled", "budget_tokens": 2000}
ADAPTIVE = {"type": "adaptive", "display": "summarized"}


@pytest.mark.parametrize(
    ("body", "ask"),
    [
        ({}, ReasoningAsk()),
        ({"reasoning_effort": "high"}, ReasoningAsk("high")),
        ({"reasoning_effort": "off"}, ReasoningAsk("none")),
        ({"reasoning": {"effort": "low"}}, ReasoningAsk("low", path="reasoning.effort")),
        ({"reasoning": "low"}, ReasoningAsk("low", path="reasoning.effort")),
        ({"reasoning": False}, ReasoningAsk("none", path="reasoning.enabled")),
        ({"reasoning": {"enabled": True}}, ReasoningAsk("medium", path="reasoning.enabled")),
        (
            {"reasoning": {"enabled": True, "max_tokens": 900}},
            ReasoningAsk(None, 900, path="reasoning.max_tokens"),
        ),
        ({"reasoning": {"max_tokens": 900}}, ReasoningAsk(None, 900, path="reasoning.max_tokens")),
        (
            {"reasoning": {"effort": "high", "exclude": True}},
            ReasoningAsk("high", exclude=True, path="reasoning.effort"),
        ),
        (
            {"reasoning_effort": "high", "include_reasoning": False},
            ReasoningAsk("high", exclude=True),
        ),
        ({"thinking": ENABLED}, ReasoningAsk(None, 2000, ENABLED, path="thinking")),
        ({"thinking": ADAPTIVE}, ReasoningAsk(None, None, ADAPTIVE, path="thinking")),
        (
            {"thinking": ENABLED, "reasoning_effort": "low"},
            ReasoningAsk(
                *("low", 2000, ENABLED, False, "thinking"),
                ("reasoning_effort", "thinking.budget_tokens"),
            ),
        ),
        (
            {"reasoning": {"effort": "high", "max_tokens": 900}},
            ReasoningAsk(
                *("high", 900, None, False, "reasoning.effort"),
                ("reasoning.effort", "reasoning.max_tokens"),
            ),
        ),
        (
            {"reasoning_effort": "none", "thinking_budget": 512},
            ReasoningAsk(
                *("none", 512, None, False, "reasoning_effort"),
                ("reasoning_effort", "thinking_budget"),
            ),
        ),
        ({"thinking": {"type": "disabled"}}, ReasoningAsk("none", path="thinking")),
        ({"thinking": True}, ReasoningAsk("medium", path="thinking")),
        ({"thinking": "off"}, ReasoningAsk("none", path="thinking")),
        ({"enable_thinking": True}, ReasoningAsk("medium", path="enable_thinking")),
        ({"enable_thinking": False}, ReasoningAsk("none", path="enable_thinking")),
        (
            {"enable_thinking": True, "thinking_budget": 512},
            ReasoningAsk("medium", 512, path="enable_thinking"),
        ),
        ({"thinking_budget": 0}, ReasoningAsk("none", path="thinking_budget")),
        (
            {"thinking_budget": 0, "reasoning_effort": "low"},
            ReasoningAsk("low", path="reasoning_effort"),
        ),
        (
            {"chat_template_kwargs": {"enable_thinking": False}},
            ReasoningAsk("none", path="chat_template_kwargs.enable_thinking"),
        ),
        (
            {"chat_template_kwargs": {"thinking": True}},
            ReasoningAsk("medium", path="chat_template_kwargs.thinking"),
        ),
    ],
)
def test_reasoning_is_read_in_every_form(body: dict[str, Any], ask: ReasoningAsk) -> None:
    assert read_reasoning(body) == ask


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"reasoning_effort": "ultra"}, "reasoning_effort"),
        ({"reasoning_effort": 3}, "reasoning_effort"),
        ({"reasoning": {"effort": "ultra"}}, "reasoning.effort"),
        ({"reasoning": {"max_tokens": 0}}, "reasoning.max_tokens"),
        ({"reasoning": [1]}, "reasoning"),
        ({"thinking_budget": -1}, "thinking_budget"),
        ({"reasoning": {"enabled": "yes"}}, "reasoning.enabled"),
        ({"thinking": {"budget_tokens": 5}}, "thinking.type"),
        ({"thinking": {"type": "enabled", "budget_tokens": "5"}}, "thinking.budget_tokens"),
        ({"thinking": 5}, "thinking"),
        ({"enable_thinking": "yes"}, "enable_thinking"),
        ({"chat_template_kwargs": {"thinking": 1}}, "chat_template_kwargs.thinking"),
    ],
)
def test_a_wrong_form_is_named(body: dict[str, Any], param: str) -> None:
    with pytest.raises(ProxyError) as caught:
        read_reasoning(body)
    assert caught.value.param == param


@pytest.mark.parametrize(
    ("body", "wish"),
    [
        ({}, (None, None)),
        ({"cache_control": {"type": "ephemeral"}}, ("5m", True)),
        ({"cache_control": {"type": "ephemeral", "ttl": "1h"}}, ("1h", True)),
        ({"prompt_cache_retention": "24h"}, ("1h", None)),
        ({"prompt_cache_retention": "in_memory"}, ("5m", None)),
        ({"prompt_cache_options": {"mode": "implicit", "ttl": "30m"}}, ("1h", True)),
        ({"prompt_cache_options": {"mode": "explicit"}}, (None, False)),
        ({"prompt_cache_options": {"ttl": "a fortnight"}}, (None, None)),
        ({"prompt_cache_retention": ["?"], "prompt_cache_options": {"mode": 7}}, (None, None)),
    ],
)
def test_cache_wishes_are_hints(body: dict[str, Any], wish: tuple[str | None, bool | None]) -> None:
    assert read_cache_wish(body) == wish


@pytest.mark.parametrize(
    ("filename", "name"),
    [
        ("report.pdf", "report"),
        ("C:\\docs\\Q3 report.final.docx", "Q3 report-final"),
        ("a/b/c.txt", "c"),
        ("  spaced \t out .md", "spaced out"),
        ("årsrapport 2026 (v2)[x].pdf", "rsrapport 2026 (v2)[x]"),
        ("日本語.pdf", "document"),
        (".pdf", "document"),
        ("", "document"),
        ("v1.2", "v1-2"),
        ("x" * 300, "x" * 200),
    ],
)
def test_document_names_are_made_legal(filename: str, name: str) -> None:
    assert document_name(filename, set()) == name


def test_a_document_s_name_keeps_its_underscores_where_they_are_taken() -> None:
    """As Bedrock was recorded taking them; a citation shows the name to the user."""
    assert document_name("company_policy (v1.2).pdf", set(), underscores=True) == (
        "company_policy (v1-2)"
    )
    assert document_name("company_policy.pdf", set()) == "company-policy"


def test_document_names_are_unlike_each_other() -> None:
    taken: set[str] = set()
    names = [document_name("n" * 200, taken) for _ in range(12)]
    assert len(set(names)) == 12
    assert max(map(len, names)) == 200


@pytest.mark.parametrize(
    ("mime", "filename", "form"),
    [
        ("application/pdf", "a.txt", "pdf"),
        ("text/plain", "a.md", "md"),
        ("text/plain", "a.pdf", "txt"),
        ("text/x-rust", "main.rs", "txt"),
        ("", "main.rs", "txt"),
        ("application/octet-stream", "A.XLSX", "xlsx"),
        ("application/zip", "a.zip", None),
        ("application/zip", "a.docx", "docx"),
        ("", "noending", None),
    ],
)
def test_document_formats(mime: str, filename: str, form: str | None) -> None:
    assert document_format(mime, filename) == form


@pytest.mark.parametrize(
    "project",
    ["default", "proj_a-1", "arn:aws:bedrock:us-east-1:123456789012:project/proj_a"],
)
def test_a_project_is_named_in_either_spelling(project: str) -> None:
    expected = {"projectIdentifier": project}
    assert read_native({"projectIdentifier": project}, {}) == expected
    assert read_native({"project_identifier": project}, {}) == expected


@pytest.mark.parametrize("project", ["", "a b", "arn:aws:iam::1:role/x", 7])
def test_what_is_no_project(project: Any) -> None:
    with pytest.raises(ProxyError) as caught:
        read_native({"projectIdentifier": project}, {})
    assert caught.value.param == "projectIdentifier"
