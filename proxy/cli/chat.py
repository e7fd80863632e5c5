"""``chat``: one streaming call from the command line, with the time to its first token.

The answer goes to stdout and nothing else does, so that it can be piped; what it took goes to
stderr. Without ``--url`` the call goes straight to AWS with your credentials, through everything
that ``serve`` would put it through; with ``--demo`` to the embedded simulator.
"""

import asyncio
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from time import monotonic
from typing import Any, Final

import click
import httpx
import orjson

from proxy import logs
from proxy.cli.asking import Ask, Opened, Refused, over_http, within
from proxy.cli.demo import MODEL, pretended
from proxy.cli.options import read_settings, setting_options, stop
from proxy.cli.run import built
from proxy.cli.serve import look_around
from proxy.simulator import Simulator

_CHEAP: Final = ("nova-lite", "nova-micro", "claude-haiku")
"""What is asked where no model is named, if it is listed."""
_NEXT: Final[tuple[tuple[str, str], ...]] = (
    ("invalid_api_key", "export BEDROCK_PROXY_API_KEY=…   # the key of that proxy"),
    ("model_not_found", "bedrock-openai-proxy models list"),
    ("model_access_denied", "bedrock-openai-proxy doctor"),
    ("upstream_credentials", "bedrock-openai-proxy doctor"),
    ("upstream_unreachable", "bedrock-openai-proxy doctor"),
)


@dataclass(slots=True)
class Heard:
    """What an answer was. Times in seconds since the question left; 0 means "never"."""

    text: list[str] = field(default_factory=list)
    reasoning: list[str] = field(default_factory=list)
    first: float = 0.0
    total: float = 0.0
    finish: str | None = None
    usage: Mapping[str, Any] | None = None


@click.command()
@setting_options("host", "port", "workers")
@click.argument("prompt", nargs=-1)
@click.option("--model", help="id, alias or ARN; else the default model, else a cheap listed one")
@click.option("--system", help="system prompt")
@click.option("--max-tokens", type=int, help="longest answer")
@click.option("--effort", help="how much to reason: low, medium, high …")
@click.option("--url", help="a running proxy, such as http://127.0.0.1:8000")
@click.option("--demo", is_flag=True, help="use the embedded simulator")
@click.option("--json", "as_json", is_flag=True, help="print one JSON object at the end")
def command(
    prompt: tuple[str, ...],
    config: Path | None,
    url: str | None,
    demo: bool,
    as_json: bool,
    model: str | None,
    system: str | None,
    max_tokens: int | None,
    effort: str | None,
    **flags: Any,
) -> None:
    """Ask one question and see how long the first token takes."""
    if url and demo:
        raise stop("--url and --demo exclude each other")
    text = " ".join(prompt) or _piped()
    if not text.strip():
        raise stop('a prompt is missing: bedrock-openai-proxy chat "hi"')
    body: dict[str, Any] = {
        "model": model, "stream": True, "stream_options": {"include_usage": True},
        "messages": [{"role": "user", "content": text}],
        "max_completion_tokens": max_tokens, "reasoning_effort": effort,
    }  # fmt: skip
    if system:
        body["messages"].insert(0, {"role": "system", "content": system})
    with ExitStack() as stack:
        opened = _open(stack, config, flags, url, demo, body)
        try:
            asyncio.run(_chat(opened, body, as_json))
        except Refused as refusal:
            raise stop(_told(refusal.status, refusal.body)) from None
        except httpx.ConnectError:
            raise stop(
                f"nothing listens at {url}. Start one: bedrock-openai-proxy serve  (or demo)"
            ) from None
        except httpx.HTTPError as fault:
            raise stop(f"{url}: {type(fault).__name__}: {fault}") from None


def _piped() -> str:
    return "" if sys.stdin.isatty() else sys.stdin.read()


def _open(
    stack: ExitStack,
    config: Path | None,
    flags: dict[str, Any],
    url: str | None,
    demo: bool,
    body: dict[str, Any],
) -> Opened:
    """The way to ask; fills in the model where the way knows one."""
    loaded = read_settings(config, flags)
    settings = loaded.settings
    if url:
        return over_http(url, settings.api_key)
    logs.configure("error", settings.log_format)
    loaded = replace(loaded, settings=replace(settings, keys=None))  # nobody else asks here
    if demo:
        body["model"] = body["model"] or MODEL
        simulator = stack.enter_context(Simulator(pace=0.03))
        loaded, aws = pretended(simulator, loaded)
        return within(built(loaded, aws, mode="simulator"))
    body["model"] = body["model"] or settings.default_model
    aws, source = look_around(loaded)
    if sys.stderr.isatty():
        click.echo(f"credentials: {source.detail}", err=True)
    return within(built(loaded, aws))


async def _chat(opened: Opened, body: dict[str, Any], as_json: bool) -> None:
    async with opened as ask:
        body["model"] = body["model"] or await _cheap(ask)
        sent = {name: value for name, value in body.items() if value is not None}
        heard = await _listen(ask, orjson.dumps(sent), quiet=as_json)
    if as_json:
        click.echo(orjson.dumps(_shown(body["model"], heard), option=orjson.OPT_INDENT_2))
    else:
        click.echo("" if heard.text else "(no text)")
        click.echo(_summary(body["model"], heard), err=True)


async def _cheap(ask: Ask) -> str:
    """A listed model that costs little; the first if none is known to."""
    listed = orjson.loads(b"".join([data async for data in ask("GET", "/models", b"")]))
    ids = [entry["id"] for entry in listed.get("data", ())]
    if not ids:
        raise stop("no models are listed; name one with --model")
    chosen: str = next((id for word in _CHEAP for id in ids if word in id), ids[0])
    return chosen


async def _listen(ask: Ask, body: bytes, *, quiet: bool) -> Heard:
    heard, began = Heard(), monotonic()
    async for chunk in _chunks(ask("POST", "/chat/completions", body)):
        if "error" in chunk:
            click.echo("")
            raise Refused(200, orjson.dumps(chunk))
        heard.usage = chunk.get("usage") or heard.usage
        for choice in chunk["choices"]:
            delta = choice["delta"]
            text = delta.get("content") or ""
            thought = delta.get("reasoning_content") or delta.get("reasoning") or ""
            if (text or thought) and not heard.first:
                heard.first = monotonic() - began
            if text and not quiet and any(heard.reasoning) and not any(heard.text):
                _part()
            heard.text.append(text)
            heard.reasoning.append(thought)
            heard.finish = choice["finish_reason"] or heard.finish
            if not quiet:
                _print(text, thought)
    heard.total = monotonic() - began
    return heard


def _print(text: str, thought: str) -> None:
    if thought and sys.stderr.isatty():
        click.echo(click.style(thought, dim=True), err=True, nl=False)
    if text:
        click.echo(text, nl=False)


def _part() -> None:
    """On a terminal the answer begins on a line of its own, below what was thought."""
    if sys.stderr.isatty():
        click.echo("\n", err=True)


async def _chunks(answer: AsyncIterator[bytes]) -> AsyncIterator[dict[str, Any]]:
    """The JSON of each event, as its last byte comes."""
    rest = b""
    async for data in answer:
        *frames, rest = (rest + data).split(b"\n\n")
        for frame in frames:
            if frame.startswith(b"data: {"):
                yield orjson.loads(frame[len(b"data: ") :])


def _summary(model: str, heard: Heard) -> str:
    parts = [model, f"first token {heard.first:.2f} s", f"total {heard.total:.2f} s"]
    if heard.usage is not None:
        tokens = heard.usage["completion_tokens"]
        parts.append(f"{heard.usage['prompt_tokens']} tokens in, {tokens} out")
        pace = heard.total - heard.first
        if tokens > 1 and pace > 0.05:
            parts.append(f"{(tokens - 1) / pace:.0f} tokens/s")
    parts.append(f"finish {heard.finish}")
    return " · ".join(parts)


def _shown(model: str, heard: Heard) -> dict[str, Any]:
    return {
        "model": model,
        "text": "".join(heard.text),
        "reasoning": "".join(heard.reasoning) or None,
        "finish_reason": heard.finish,
        "time_to_first_token_seconds": round(heard.first, 4),
        "total_seconds": round(heard.total, 4),
        "usage": heard.usage,
    }


def _told(status: int, body: bytes) -> str:
    """What went wrong, why, and the next command."""
    try:
        error = orjson.loads(body)["error"]
        code, message = error["code"], error["message"]
    except (orjson.JSONDecodeError, KeyError, TypeError):
        return f"status {status}, and not from this proxy: {body[:200].decode('utf-8', 'replace')}"
    place = "in the stream" if status == 200 else str(status)
    hint = next((f"\n\n  {line}" for word, line in _NEXT if word == code), "")
    return f"{place} {code or 'error'}: {message}{hint}"
