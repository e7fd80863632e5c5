"""Reading a conversation: what was said last, what came back, which tools the user means.

The simulated model understands by rules, not by language: words of a tool's name in the prompt mean
that tool, "in parallel" means several calls, "5 rounds" means a loop. `Reading` gathers that once
per call.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import orjson

from proxy.simulator.call import Block, Call, Message, tool_results, tool_uses
from proxy.simulator.instance import Hints

_COMMON = frozenset(
    {
        "with",
        "from",
        "that",
        "this",
        "then",
        "what",
        "which",
        "when",
        "will",
        "your",
        "have",
        "about",
        "into",
        "each",
        "tool",
        "call",
        "uses",
        "used",
        "using",
        "returns",
        "return",
        "given",
        "some",
        "please",
        "answer",
        "word",
        "words",
    }
)
_REFUSED = re.compile(
    r"\b(?:no|without|don't use|do not use|don't call|do not call)\b[^.]*\btools?\b"
)
_ORDERED = re.compile(
    r"\bmust call (?:the tool [\"'“`]?(?P<name>[\w-]+)|(?:at least )?one of the tools|a tool)", re.I
)
_HUMP = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
_ROUNDS = re.compile(r"\b(\d{1,3})\s+(?:rounds|steps|times|turns|calls)\b")
_SPELLED = 4
_ADDED = ("[", "<")
_SEVERAL = re.compile(r"\b(?:in parallel|parallel calls|simultaneously|at once|at the same time)\b")


@dataclass(frozen=True, slots=True)
class Reading:
    """`asked` is the last plain user text, `results` what tools returned since, `behind` what the
    user said behind those results, in the same turn."""

    asked: str
    system: str
    results: tuple[tuple[str, str, bool], ...]
    behind: str
    done: int
    continues: bool
    media: tuple[str, ...]

    @property
    def lowered(self) -> str:
        return self.asked.lower()

    @property
    def asks(self) -> bool:
        """Whether `behind` is the user's own word; agents set what they add in brackets or tags."""
        return not self.behind.startswith(_ADDED)

    @property
    def ordered(self) -> re.Match[str] | None:
        """An order in words to call a tool; carried out once."""
        return None if self.results else _ORDERED.search(f"{self.system} {self.asked}")


def read(call: Call) -> Reading:
    begins = _begins(call.messages)
    turn = [message for message in call.messages[begins:] if message["role"] == "user"]
    returned = [result for message in turn for result in tool_results(message)]
    told = [block for message in turn for block in message["content"]]
    behind = text_of(told).strip() if returned else ""
    asked_at = _last_question(call.messages[:begins] if returned else call.messages)
    question = call.messages[asked_at]["content"]
    if _calls_for_a_tool(call, behind, call.messages[:begins]):
        asked_at, question, returned, behind = begins, told, [], ""
    names = {
        use["toolUseId"]: use["name"] for message in call.messages for use in tool_uses(message)
    }
    return Reading(
        asked=text_of(question),
        system=text_of(call.system),
        results=tuple(
            (names.get(r["toolUseId"], "tool"), result_text(r), r.get("status") == "error")
            for r in returned
        ),
        behind=behind,
        done=sum(1 for message in call.messages[asked_at:] if tool_uses(message)),
        continues=call.messages[-1]["role"] == "assistant",
        media=_media(told if returned else question),
    )


def _begins(messages: list[Message]) -> int:
    """Where the user's turn begins. A lone full stop of the model's ends none: it keeps results
    apart from what follows them, for families that want them alone."""
    at = len(messages)
    while at and messages[at - 1]["role"] != "assistant":
        at -= 1
        if at > 1 and messages[at - 1]["content"] == [{"text": "."}]:
            at -= 1
    return at


def _calls_for_a_tool(call: Call, behind: str, before: list[Message]) -> bool:
    """Whether what stands behind results spells a tool out, and is no reminder of an agent's:
    those are sent again and again."""
    if behind.startswith(_ADDED) or any(behind in text_of(m["content"]) for m in before):
        return False
    lowered = behind.lower()
    return any(_score(spec, set(), lowered) == _SPELLED for spec in call.specs)


def text_of(blocks: list[Block]) -> str:
    """The text of blocks, guarded text included, joined by line breaks."""
    parts = []
    for block in blocks:
        if "text" in block:
            parts.append(block["text"])
        elif "text" in block.get("guardContent", {}):
            parts.append(block["guardContent"]["text"]["text"])
    return "\n".join(parts)


def result_text(result: Block) -> str:
    """A tool result as one line of text."""
    parts = []
    for block in result["content"]:
        kind = next(iter(block))
        if kind == "text":
            parts.append(block["text"])
        elif kind == "json":
            parts.append(orjson.dumps(block["json"]).decode())
        else:
            parts.append(f"[{kind}]")
    return " ".join(parts)


def wanted_calls(call: Call, reading: Reading) -> list[tuple[str, dict[str, Any]]]:
    """Which tools to hint at now, as (name, input schema); empty when the answer is text."""
    if not call.specs or reading.continues:
        return []
    specs = {spec["name"]: spec["inputSchema"]["json"] for spec in call.specs}
    if call.choice == "tool":
        named = call.body["toolConfig"]["toolChoice"]["tool"]["name"]
        return [(named, specs[named])]
    meant = [name for name in _meant(call, reading) if name in specs]
    ordered = reading.ordered
    if ordered and ordered["name"] in specs:
        return [(ordered["name"], specs[ordered["name"]])]
    if (call.choice == "any" or ordered) and not meant:
        meant = [next(iter(specs))]
    if reading.results and call.choice != "any" and not _goes_on(reading):
        return []
    if _wants_several(call, reading) and len(meant) == 1:
        names = Hints.of(reading.asked).names
        meant = meant * max(2, min(len(names), 4))
    elif not _wants_several(call, reading):
        meant = meant[:1] if not _all_named(meant, reading) else meant
    return [(name, specs[name]) for name in meant]


def _meant(call: Call, reading: Reading) -> list[str]:
    if _REFUSED.search(reading.lowered):
        return []
    words = set(re.findall(r"[a-z]{4,}", reading.lowered)) - _COMMON
    scored = []
    for spec in call.specs:
        score = _score(spec, words, reading.lowered)
        if score:
            scored.append((score, spec["name"]))
    best = max((score for score, _ in scored), default=0)
    return [name for score, name in scored if score == best or score >= _SPELLED]


def _score(spec: dict[str, Any], words: set[str], lowered: str) -> int:
    """`_SPELLED` for the whole name, 2 for a word of it, 1 for two words of the description."""
    name = spec["name"].lower()
    spelled = re.sub(r"[_-]+", " ", _HUMP.sub(" ", spec["name"])).lower()
    if name in lowered or (" " in spelled and spelled in lowered):
        return _SPELLED
    if {w for w in re.findall(r"[a-z]{4,}", spelled)} & words - _COMMON:
        return 2
    described = set(re.findall(r"[a-z]{4,}", spec.get("description", "").lower())) - _COMMON
    return 1 if len(described & words) >= 2 else 0


def _all_named(names: list[str], reading: Reading) -> bool:
    """Two tools both spelled out in the prompt are both called."""
    spelled = [n for n in names if n.lower() in reading.lowered]
    return len(spelled) > 1 and len(spelled) == len(names)


def _goes_on(reading: Reading) -> bool:
    """A loop of n rounds goes on until n turns with calls are done."""
    rounds = _ROUNDS.search(reading.lowered)
    return rounds is not None and reading.done < int(rounds.group(1))


def _wants_several(call: Call, reading: Reading) -> bool:
    choice = call.fields.get("tool_choice")
    if isinstance(choice, dict) and choice.get("disable_parallel_tool_use"):
        return False
    return bool(_SEVERAL.search(reading.lowered))


def _last_question(messages: list[Message]) -> int:
    """The index of the last user message that says something; results alone do not, nor does a
    lone full stop: it keeps calls apart from the words before them, as `_begins` says."""
    for at in range(len(messages) - 1, -1, -1):
        message = messages[at]
        says = message["role"] == "user" and text_of(message["content"]).strip()
        apart = at > 1 and says == "."
        if says and not apart and not tool_results(message):
            return at
    return 0


def _media(blocks: list[Block]) -> tuple[str, ...]:
    """The kinds of media in what the user said last, in order."""
    kinds = ("image", "document", "video", "audio")
    return tuple(kind for block in blocks for kind in kinds if kind in block)
