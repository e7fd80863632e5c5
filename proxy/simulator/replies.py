"""What the simulated model says: a list of rules, the first that fits answers.

The answers are there to be tested against: they show which system prompt, which turn and which
media arrived, they have a wanted length, they contain wanted strings. Rules, by example: "Write 200
words", "count to 10", `say "pong"`, "What is 6 * 7?", "My name is Ada" … "What is my name?",
"emoji". Anything else is echoed.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from itertools import chain, cycle, islice
from types import MappingProxyType

import orjson

from proxy.simulator.call import Call, Message, kind_of
from proxy.simulator.instance import Hints, instance_of
from proxy.simulator.prompt import Reading, text_of

_WORDS = tuple(
    re.findall(
        r"\w+",
        "the river bends where old stone bridges hold the road and morning light finds slow water "
        "under quiet arches while swallows turn above the mill and every wheel remembers rain",
    )
)
_SAY = re.compile(
    r"\b(?:say|repeat|echo|reply with|respond with|answer with|output)\b"
    r"(?:\s+(?:exactly|only|just|the (?:single )?words?|the text|back))*\s*:?\s*"
    r"(?:[\"'“`](?P<quoted>[^\"”`]+?)[\"'”`]|(?P<bare>(?!(?:the|an?|your|my|one|what)\b)[\w-]+))",
    re.IGNORECASE,
)
_SAY_ALWAYS = re.compile(
    r"\b(?i:say|reply with|respond with|answer with|output) (?:exactly|only):? "
    r"(?:[\"'“`](?P<quoted>[^\"”`]+?)[\"'”`]|(?P<bare>[A-Z0-9_-]+)\b)"
)
_COUNT = re.compile(r"\bcount (?:from (-?\d{1,6}) )?(?:up )?to (-?\d{1,6})\b", re.IGNORECASE)
_SPELLED = ("one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
_LENGTH = re.compile(rf"\b(\d{{1,6}}|{'|'.join(_SPELLED)})[ -]words?\b", re.IGNORECASE)
_GREETING = ("Hello", "there", "from", "simulated", "Bedrock")
_SUM = re.compile(r"(-?\d{1,9})\s*([-+*x\u00d7/])\s*(-?\d{1,9})")
_NAME = re.compile(r"\bmy name is ([A-Za-zÀ-ÿ]+)", re.IGNORECASE)
_ASKS_NAME = re.compile(r"\b(?:what(?:'s| is) my name|who am i)\b", re.IGNORECASE)
_ASKS_BACK = re.compile(r"\bwhat(?:'s| is| was) (?:the|my) (\w+(?: \w+){0,2})\?", re.IGNORECASE)
_WISH = r"\b(?:only|respond|reply|answer|output|return|format|object)\b"
_JSON = re.compile(  # wished for, not a file's ending in an agent's instructions
    rf"{_WISH}[^.]{{0,80}}(?<![.\w])json\b|(?<![.\w])json\b[^.]{{0,80}}{_WISH}", re.IGNORECASE
)
_KEY, _AND = r"[\"'`]?\w+[\"'`]?", r"(?:, (?:and|then) |,? and |, )"
_KEYS = re.compile(
    rf"(?P<before>[\"'`]\w+[\"'`](?:{_AND}[\"'`]\w+[\"'`])*) (?:keys?|fields?|members?)\b"
    rf"|\b(?:keys|fields|members):? (?P<after>{_KEY}(?:{_AND}{_KEY})+)",
    re.IGNORECASE,
)
_COUNTED = frozenset({"age", "count", "number", "score", "total", "value"})
_ONLY_NUMBER = re.compile(r"\b(?:just|only) the (?:number|result)\b", re.IGNORECASE)
_LOUD = re.compile(
    r"\b(?:answer|reply|respond|write) (?:only )?in (?:all )?(?:uppercase|capital)", re.I
)
_UNICODE = "Grüße, мир, 世界, עולם: 🌍👩‍🚀 naïve café ½ ﷽ \U0001f9ee"
_LONGEST_COUNT = 100_000
_SILENT = frozenset({"toolResult", "cachePoint"})


def reply(call: Call, reading: Reading) -> str:
    """The text of an answer without tool calls."""
    if reading.continues:
        return f"continued from “{text_of(call.messages[-1]['content'])[-60:].strip()}”."
    if call.output_schema is not None:
        return _json_text(call.output_schema, reading)
    if reading.results:
        return _after_results(call, reading)
    said = _by_rule(call, reading) or _echo(call, reading)
    return said.upper() if _LOUD.search(reading.system) else said


def _by_rule(call: Call, reading: Reading) -> str | None:
    tried = (rule(call, reading) for rule in _RULES)
    return next((said for said in tried if said is not None), None)


def before_calls(names: list[str]) -> str:
    """What is said ahead of tool calls."""
    unique = list(dict.fromkeys(names))
    return f"I'll use {' and '.join(unique)} for that."


def thoughts(reading: Reading, step: int) -> str:
    """A reasoning text; `step` tells several blocks of one turn apart."""
    if reading.results:
        seen = f"{len(reading.results)} tool result(s) came back: {reading.results[0][1][:80]!r}."
        return f"{seen} Step {step + 1} of my thinking: decide whether more is needed."
    return (
        f"The user wrote {reading.asked[:120]!r}. Step {step + 1} of my thinking: work out what is "
        "wanted, check what is at hand, then answer plainly."
    )


def _after_results(call: Call, reading: Reading) -> str:
    numbers = re.findall(r"-?\d+(?:\.\d+)?", reading.results[-1][1])
    if numbers and _ONLY_NUMBER.search(reading.behind):
        return str(numbers[-1])
    if (
        reading.behind
        and reading.asks
        and (said := _by_rule(call, replace(reading, asked=reading.behind)))
    ):
        return said
    parts = []
    for name, text, failed in reading.results:
        verb = "failed with" if failed else "returned"
        parts.append(f"{name} {verb}: {text[:400]}")
    found = "Here is what I found. " + "; ".join(parts) + "."
    behind = [f"You said: {reading.behind[:300]}"] if reading.behind else []
    return " ".join([found, *behind, *_received(reading)])


def _json_text(schema: dict[str, object], reading: Reading) -> str:
    value = instance_of(schema, Hints.of(reading.asked))
    return orjson.dumps(value, option=orjson.OPT_INDENT_2).decode()


def _by_prompted_json(call: Call, reading: Reading) -> str | None:
    """JSON because the system prompt or the question says so, by a schema if one is given."""
    source = reading.system if _JSON.search(reading.system) else reading.asked
    if not _JSON.search(source):
        return None
    schema = _embedded_schema(source)
    if schema is not None:
        return _json_text(schema, reading)
    if named := _KEYS.search(source) or _KEYS.search(reading.asked):
        return _json_text(_schema_of_keys(named["before"] or named["after"]), reading)
    return orjson.dumps({"answer": reading.asked[:200], "ok": True}).decode()


def _schema_of_keys(listed: str) -> dict[str, object]:
    keys = [key for key in re.findall(r"\w+", listed) if key not in ("and", "then")]
    kinds = {key: {"type": "integer" if key in _COUNTED else "string"} for key in keys}
    return {"type": "object", "properties": kinds, "required": keys}


def _embedded_schema(text: str) -> dict[str, object] | None:
    """The first JSON object in a text that looks like a schema."""
    for start in (found.start() for found in re.finditer(r"\{", text)):
        depth = 0
        for end in range(start, len(text)):
            depth += {"{": 1, "}": -1}.get(text[end], 0)
            if depth == 0:
                break
        try:
            value = orjson.loads(text[start : end + 1])
        except orjson.JSONDecodeError:
            continue
        if isinstance(value, dict) and ("properties" in value or "type" in value):
            return value
        return None
    return None


def _by_length(call: Call, reading: Reading) -> str | None:
    wanted = _LENGTH.search(reading.asked)
    if wanted is None or not re.search(r"\b(?:write|give|tell|say|use|in|with)\b", reading.lowered):
        return None
    said = wanted.group(1).lower()
    count = _SPELLED.index(said) + 1 if said in _SPELLED else int(said)
    opening = _GREETING if "hello" in reading.lowered else ()
    words = list(islice(chain(opening, cycle(_WORDS)), count))
    for at in range(0, len(words), 12):
        words[at] = words[at].capitalize()
    for at in range(11, len(words), 12):
        words[at] += "."
    return " ".join(words)


def _by_count(call: Call, reading: Reading) -> str | None:
    wanted = _COUNT.search(reading.asked)
    if wanted is None:
        return None
    first, last = int(wanted.group(1) or 1), int(wanted.group(2))
    last = max(min(last, first + _LONGEST_COUNT), first - _LONGEST_COUNT)
    step = 1 if last >= first else -1
    return ", ".join(str(n) for n in range(first, last + step, step))


def _by_wording(call: Call, reading: Reading) -> str | None:
    wanted = _SAY.search(reading.asked) or _SAY_ALWAYS.search(reading.system)
    return None if wanted is None else (wanted.group("quoted") or wanted.group("bare"))


def _by_sum(call: Call, reading: Reading) -> str | None:
    wanted = _SUM.search(reading.asked)
    if wanted is None:
        return None
    left, sign, right = int(wanted.group(1)), wanted.group(2), int(wanted.group(3))
    if sign == "/":
        return str(left / right) if right else "That has no answer: division by zero."
    return str(_SIGNS[sign](left, right))


def _by_name(call: Call, reading: Reading) -> str | None:
    if not _ASKS_NAME.search(reading.asked):
        return None
    for message in reversed(call.messages):
        found = _NAME.search(text_of(message["content"]))
        if message["role"] == "user" and found:
            return f"Your name is {found.group(1)}."
    return "You have not told me your name."


def _by_memory(call: Call, reading: Reading) -> str | None:
    """`code=999`, "my favourite colour is blue": what an earlier turn called a thing."""
    wanted = _ASKS_BACK.search(reading.asked)
    if wanted is None:
        return None
    told = re.compile(rf"\b{re.escape(wanted.group(1))}\s*(?:=|:|\bis\b)\s*([\w-]+)", re.I)
    for message in reversed(call.messages[:-1]):
        found = told.search(text_of(message["content"]))
        if message["role"] == "user" and found:
            return found.group(1)
    return None


def _by_unicode(call: Call, reading: Reading) -> str | None:
    return _UNICODE if re.search(r"\b(?:emoji|unicode)\b", reading.lowered) else None


def _echo(call: Call, reading: Reading) -> str:
    turn = sum(map(_is_turn, call.messages))
    parts = [f"You said: {reading.asked[:300].strip() or 'nothing in words'}"]
    parts.append(f"This is turn {turn} of our conversation.")
    if reading.system:
        parts.append(f"My instructions begin: “{reading.system[:80].strip()}”.")
    parts += _received(reading)
    return "\n\n".join([parts[0], " ".join(parts[1:])])


def _is_turn(message: Message) -> bool:
    """Whether the user says something in it; results of tools do not."""
    return message["role"] == "user" and any(kind_of(b) not in _SILENT for b in message["content"])


def _received(reading: Reading) -> list[str]:
    counts = {kind: reading.media.count(kind) for kind in reading.media}
    return [f"I received {n} {kind}{'s' if n > 1 else ''}." for kind, n in counts.items()]


_SIGNS: MappingProxyType[str, Callable[[int, int], int]] = MappingProxyType(
    {
        "+": int.__add__,
        "-": int.__sub__,
        "*": int.__mul__,
        "x": int.__mul__,
        "\u00d7": int.__mul__,
    }
)
_RULES: tuple[Callable[[Call, Reading], str | None], ...] = (
    _by_prompted_json,
    _by_length,
    _by_count,
    _by_name,
    _by_memory,
    _by_wording,
    _by_sum,
    _by_unicode,
)
