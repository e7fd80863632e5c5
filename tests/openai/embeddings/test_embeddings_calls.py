"""How many calls one embeddings request makes at once, and what ends them."""

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import orjson
import pytest

from tests.support.running import Running, serving, wait_until

TITAN = "amazon.titan-embed-text-v2:0"


class Upstream(httpx.AsyncBaseTransport):
    """A made Bedrock: counts what is under way; answers a call when ``gate`` is open."""

    def __init__(self) -> None:
        self.open = threading.Event()
        self.running = self.most = self.begun = self.cancelled = 0
        self.refused: dict[str, httpx.Response] = {}

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        if not request.url.path.endswith("/invoke"):
            return httpx.Response(403, json={"message": "no"})
        text = orjson.loads(request.content)["inputText"]
        self.begun += 1
        self.running += 1
        self.most = max(self.most, self.running)
        try:
            while not self.open.is_set() and text not in self.refused:  # noqa: ASYNC110
                await asyncio.sleep(0.002)  # it is opened from another thread
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        finally:
            self.running -= 1
        if text in self.refused:
            return self.refused[text]
        return httpx.Response(
            200,
            headers={"content-type": "application/json", "x-amzn-bedrock-input-token-count": "2"},
            content=orjson.dumps({"embedding": [float(len(text))]}),
        )


@contextmanager
def proxy_over(upstream: Upstream) -> Iterator[Running]:
    with serving("http://127.0.0.1:9", engine=upstream) as running:
        yield running


def ask(url: str, **body: Any) -> httpx.Response:
    return httpx.post(f"{url}/v1/embeddings", json={"model": TITAN, **body}, timeout=20)


def test_many_texts_are_embedded_side_by_side_but_not_all_at_once() -> None:
    upstream = Upstream()
    with proxy_over(upstream) as proxy:
        box: dict[str, httpx.Response] = {}
        texts = ["x" * (n + 1) for n in range(60)]
        thread = threading.Thread(target=lambda: box.update(answer=ask(proxy.url, input=texts)))
        thread.start()
        wait_until(lambda: upstream.running == 16)
        upstream.open.set()
        thread.join(20)
    assert upstream.most == 16
    body = box["answer"].json()
    assert [entry["embedding"] for entry in body["data"]] == [[float(n + 1)] for n in range(60)]
    assert body["usage"] == {"prompt_tokens": 120, "total_tokens": 120}


def test_a_client_that_leaves_takes_all_its_calls_with_it() -> None:
    upstream = Upstream()
    with proxy_over(upstream) as proxy:
        with pytest.raises(httpx.ReadTimeout):
            httpx.post(
                f"{proxy.url}/v1/embeddings", json={"model": TITAN, "input": ["a"] * 40},
                timeout=0.5,
            )  # fmt: skip
        wait_until(lambda: upstream.running == 0)
        assert upstream.begun == upstream.cancelled == 16
        wait_until(lambda: any('code="client_disconnected"' in key and v for key, v in
                               proxy.samples().items()))  # fmt: skip


def test_one_refused_text_is_an_error_of_all_and_ends_the_rest() -> None:
    upstream = Upstream()
    upstream.refused["bad"] = httpx.Response(
        400,
        headers={"x-amzn-errortype": "ValidationException", "content-type": "application/json"},
        content=orjson.dumps({"message": "Malformed input request: no, please reformat."}),
    )
    with proxy_over(upstream) as proxy:
        answer = ask(proxy.url, input=["bad", *["good"] * 99])
    assert answer.status_code == 400
    assert "Malformed input request" in answer.json()["error"]["message"]
    assert upstream.begun < 20
    assert upstream.running == 0
