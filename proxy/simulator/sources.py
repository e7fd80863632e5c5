"""Answers that cite, and tools that the service runs itself.

Claude cites documents and search results whose citations are enabled: citationsContent blocks among
text blocks, in a stream the citation first and its text after it in the same block. Nova 2 runs
`nova_grounding` and `nova_code_interpreter` on its side when the prompt calls for it: a toolUse of
type server_tool_use, its toolResult, then the answer, with web citations in blocks of their own
(captures facts 9, 10).
"""

from __future__ import annotations

import base64
import re
from typing import Any

from proxy.simulator.call import Block, Call
from proxy.simulator.prompt import Reading

_SEARCHES = re.compile(r"\b(?:search|web|latest|news|look up|ground)\w*\b")
_COMPUTES = re.compile(r"\b(?:code|compute|calculate|python|interpreter)\b|\d\s*[-+*/]\s*\d")
_PAGE = "https://example.com/simulated"


def cited(call: Call, reading: Reading) -> list[Block]:
    """Content that cites the request's sources; empty when nothing is to be cited.

    Documents are cited in answer to the user, search results in answer to their message, be they
    in it or in the result of a tool (recorded on Haiku 4.5).
    """
    if not call.family.is_claude:
        return []
    citations = [] if reading.results else _documents(call)
    citations += _search_results(call)
    blocks: list[Block] = []
    for citation in citations:
        blocks.append({"text": f"According to {citation['title']}, "})
        text = citation["sourceContent"][0]["text"].strip() or "it says nothing"
        blocks.append({"citationsContent": {"citations": [citation], "content": [{"text": text}]}})
    return [*blocks, {"text": "."}] if blocks else []


def _documents(call: Call) -> list[Block]:
    documents = [block["document"] for _, _, _, block in call.blocks() if "document" in block]
    citations = []
    for index, document in enumerate(documents):
        if (document.get("citations") or {}).get("enabled"):
            text, location = _passage(document, index)
            source = [{"text": text}]
            found = {"location": location, "sourceContent": source, "title": document["name"]}
            citations.append(found)
    return citations


def _search_results(call: Call) -> list[Block]:
    """Of the last message; the index counts all of the request."""
    found = [
        (at, inner["searchResult"])
        for at, _, _, block in call.blocks()
        for inner in (block, *(block.get("toolResult") or {}).get("content", ()))
        if "searchResult" in inner
    ]
    return [
        {
            "location": {"searchResultLocation": {"end": 1, "searchResultIndex": at, "start": 0}},
            "source": result["source"],
            "sourceContent": result["content"][:1],
            "title": result["title"],
        }
        for at, (message, result) in enumerate(found)
        if message == len(call.messages) - 1
        and result["content"]
        and (result.get("citations") or {}).get("enabled")
    ]


def _passage(document: Block, index: int) -> tuple[str, dict[str, Any]]:
    """The first sentence of a document and where it stands; ends are exclusive."""
    source = document["source"]
    if "content" in source:
        text = source["content"][0]["text"]
        return text, {"documentChunk": {"documentIndex": index, "end": 1, "start": 0}}
    if document.get("format") == "pdf":
        return "page one", {"documentPage": {"documentIndex": index, "end": 2, "start": 1}}
    text = source.get("text") or _decoded(source.get("bytes", ""))
    sentence = re.match(r"[^.]*\.?\s*", text)
    first = sentence.group() if sentence else text
    return first, {"documentChar": {"documentIndex": index, "end": len(first), "start": 0}}


def _decoded(encoded: str) -> str:
    return base64.b64decode(encoded).decode("utf-8", "replace")


def served(call: Call, reading: Reading, call_id: str) -> list[Block]:
    """The blocks of a tool that the service runs, with the text they lead to; empty without."""
    offered = [
        tool["systemTool"]["name"]
        for tool in (call.body.get("toolConfig") or {}).get("tools", [])
        if "systemTool" in tool
    ]
    if reading.results or reading.continues:
        return []
    if "nova_code_interpreter" in offered and _COMPUTES.search(reading.lowered):
        output = {"exitCode": 0, "isError": False, "stdErr": "", "stdOut": "42"}
        return _ran("nova_code_interpreter", {"snippet": "6 * 7"}, {"json": output}, call_id)
    if "nova_grounding" in offered and _SEARCHES.search(reading.lowered):
        ran = _ran("nova_grounding", {"query": reading.asked[:80]}, {"text": "[HIDDEN]"}, call_id)
        web = {"location": {"web": {"domain": "example.com", "url": _PAGE}}}
        found: Block = {"text": "I found one page about it."}
        return [*ran, found, {"citationsContent": {"citations": [web]}}]
    return []


def _ran(name: str, given: dict[str, Any], output: Block, call_id: str) -> list[Block]:
    return [
        {
            "toolUse": {
                "input": given,
                "name": name,
                "toolUseId": call_id,
                "type": "server_tool_use",
            }
        },
        {
            "toolResult": {
                "content": [output],
                "status": "success",
                "toolUseId": call_id,
                "type": f"{name}_result",
            }
        },
    ]
