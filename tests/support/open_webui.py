"""Open WebUI's HTTP API, as its own page uses it: sign up, list models, say something, add a file.

A chat that is saved is answered in the background: the page is told by a socket, and we look at the
chat until its last message is done. Its ``output`` holds what the page shows, one item a kind:
``reasoning``, ``function_call``, ``function_call_output``, ``message``.
"""

import time
import uuid
from typing import Any

import httpx

PATIENCE = 60.0
"""Seconds for a thing to be done, or for the program to start."""


def until(look: Any, what: str) -> Any:
    """The first truthy answer of ``look``."""
    ends = time.monotonic() + PATIENCE
    while not (found := look()):
        assert time.monotonic() < ends, what
        time.sleep(0.2)
    return found


class OpenWebUI:
    """The first user, who is the administrator. ``url`` is where it listens."""

    def __init__(self, url: str, model: str) -> None:
        self._model = model
        self._http = httpx.Client(base_url=url, timeout=60)
        who = {"name": "ada", "email": "ada@example.com", "password": "a-Pass-word-1"}
        token = self.post("/api/v1/auths/signup", json=who)["token"]
        self._http.headers["authorization"] = f"Bearer {token}"

    def close(self) -> None:
        self._http.close()

    def get(self, path: str) -> Any:
        return self._http.get(path).raise_for_status().json()

    def post(self, path: str, **what: Any) -> Any:
        return self._http.post(path, **what).raise_for_status().json()

    def models(self) -> list[str]:
        return [entry["id"] for entry in self.get("/api/models")["data"]]

    def complete(self, text: str, **more: Any) -> httpx.Response:
        """Its own OpenAI-compatible door, for programs: nothing is saved."""
        messages = [{"role": "user", "content": text}]
        body = {"model": self._model, "messages": messages, **more}
        return self._http.post("/api/chat/completions", json=body)

    def say(self, text: str, **params: Any) -> dict[str, Any]:
        """A new chat as the page begins one; its answer, as it is saved."""
        question, answer = str(uuid.uuid4()), str(uuid.uuid4())
        said = {
            "id": question, "parentId": None, "childrenIds": [answer], "role": "user",
            "content": text, "timestamp": int(time.time()), "models": [self._model],
        }  # fmt: skip
        begun = self.post(
            "/api/chat/completions",
            json={
                "model": self._model, "stream": True, "params": params, "session_id": "a-page",
                "messages": [{"role": "user", "content": text}],
                "parent_id": None, "id": answer, "user_message": said,
            },
        )  # fmt: skip

        def done() -> Any:
            chat = self.get(f"/api/v1/chats/{begun['chat_id']}")["chat"]
            message = chat["history"]["messages"][answer]
            return message if message.get("done") else None

        message: dict[str, Any] = until(done, f"{text!r} was not answered")
        return message

    def found(self, text: str, question: str) -> str:
        """Add a file and look something up in it, which takes embeddings of both."""
        file = self.post("/api/v1/files/", files={"file": ("a.txt", text.encode(), "text/plain")})

        def read() -> bool:
            status = self.get(f"/api/v1/files/{file['id']}/process/status")["status"]
            assert status != "failed"
            return bool(status == "completed")

        until(read, "the file was not read")
        asked = {"collection_name": f"file-{file['id']}", "query": question, "k": 1}
        [[document]] = self.post("/api/v1/retrieval/query/doc", json=asked)["documents"]
        return str(document)
