"""The README's table of what people see: each text in it is one that is really said.

A row's texts stand between backticks, with ``…`` for what differs. Each is provoked here as a user
would, at the proxy (with a key) or on the command line, and every row without such a text is named.
"""

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from proxy.simulator import Simulator
from tests.support.commands import run
from tests.support.running import Running, serving

README = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")
SONNET = "us.anthropic.claude-sonnet-4-5-20250929-v1:0"
TITAN = "amazon.titan-embed-text-v2:0"
KEY = "k-1"
SECRET = "arn:aws:secretsmanager:us-east-1:123456789012:secret:k-AbCdEf"


def told() -> list[str]:
    """The first cells of *By what you see*."""
    table = README[README.index("By what you see:") :]
    rows = re.findall(r"^\| (.+?) \| .+ \|$", table[: table.index("\n## ")], re.MULTILINE)
    return rows[1:]


@pytest.fixture(scope="module")
def proxy() -> Iterator[Running]:
    with (
        Simulator() as simulator,
        serving(
            simulator.url, settings={"api_key": KEY},
            access_key=simulator.access_key, secret_key=simulator.secret_key,
        ) as one,
    ):  # fmt: skip
        yield one


def post(path: str, *, key: str | None = KEY, **body: Any) -> Callable[[Running], str]:
    headers = {"authorization": f"Bearer {key}"} if key else {}

    def ask(proxy: Running) -> str:
        error = httpx.post(f"{proxy.url}{path}", json=body, headers=headers).json()["error"]
        return f"{error['message']} {error['code']}"

    return ask


def said(*words: str, **variables: str) -> Callable[[Running], str]:
    return lambda _: run(*words, **variables).stderr


def chat(model: str, **more: Any) -> Callable[[Running], str]:
    messages = [{"role": "user", "content": "hi"}]
    return post("/v1/chat/completions", model=model, messages=messages, **more)


def embed(model: str, **more: Any) -> Callable[[Running], str]:
    return post("/v1/embeddings", **{"model": model, "input": "hi", **more})


SEEN: dict[str, Callable[[Running], str]] = {
    "No API key was sent: …": post("/v1/chat/completions", key=None),
    "The API key is not valid for this proxy.": post("/v1/chat/completions", key="k-2"),
    "No AWS credentials were found …": said("serve", "--port", "0"),
    "… can be reached from other machines, and no API key is set.": said(
        "serve", "--host", "0.0.0.0"
    ),
    "The provided model identifier is invalid.": chat("us.amazon.nova-prow-v1:0"),
    "…is an embedding model: POST /v1/embeddings.": chat(TITAN),
    "… is not a known embedding model.": embed(SONNET),
    "token ids of OpenAI's vocabulary are not supported by Bedrock's models; …": embed(
        TITAN, input=[1, 2]
    ),
    "Invalid value for 'dimensions': … returns vectors of …": embed(TITAN, dimensions=77),
    "There is no POST /v1/v1/chat/completions.": post("/v1/v1/chat/completions"),
    "API_KEY_SECRET_ARN: the API key cannot be read: …": said(
        "serve", "--like", "bedrock-access-gateway", API_KEY_SECRET_ARN=SECRET,
        AWS_ACCESS_KEY_ID="x", AWS_SECRET_ACCESS_KEY="x", AWS_REGION="us-east-1",
        AWS_ENDPOINT_URL="http://127.0.0.1:9",
    ),
    "nothing listens at http://…": said("chat", "--url", "http://127.0.0.1:9", "hi"),
}  # fmt: skip
SILENT = ("usage is zero in a stream", "reasoning is not shown")
"""Rows of what is not said at all."""


def test_every_row_is_provoked_here() -> None:
    rows = told()
    texts = {text for row in rows for text in re.findall(r"`([^`]{20,})`", row)}
    assert texts == SEEN.keys()
    assert {row for row in rows if "`" not in row} == set(SILENT)


@pytest.mark.parametrize("text", SEEN)
def test_it_is_what_people_see(proxy: Running, text: str) -> None:
    words = ".*".join(re.escape(part.strip()) for part in text.split("…"))
    assert re.search(words, SEEN[text](proxy), re.DOTALL)


@pytest.mark.parametrize("code", ["invalid_api_key", "model_not_found", "unknown_url"])
def test_a_code_stands_beside_its_text(proxy: Running, code: str) -> None:
    [row] = [row for row in told() if f"`{code}`" in row]
    texts = re.findall(r"`([^`]{20,})`", row)
    assert all(code in SEEN[text](proxy) for text in texts)
