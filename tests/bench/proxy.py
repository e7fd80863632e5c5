"""What this proxy costs: CPU of its process, against a pipe that passes the same bytes through.

    python tests/bench/proxy.py                         # a table; about a minute
    python tests/bench/proxy.py --rounds 5 --only chat20,tools30
    python tests/bench/proxy.py --tree ../older         # another checkout beside this one
    python tests/bench/proxy.py --peer litellm=4000,31337 --bedrock-port 9999

Four processes: a small Bedrock of our own, the pipe, the proxy as its users start it (key check,
metrics, request log, keep-alive watch, deadlines and retries on), and the clients (here). Measured
is the CPU time of all threads of a process in nanoseconds (Linux, ``schedstat``), per request or
per event. Targets take turns within a round and the figure is the median over the rounds: on a busy
machine trust ratios within one table, and no time.

A peer is any running proxy with an OpenAI API: ``name=port,pid``, with the fixed ``--bedrock-port``
as its Bedrock endpoint and ``sk-bench`` as its key.
"""

import argparse
import asyncio
import os
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Final, NamedTuple

import orjson
import uvloop

sys.path.insert(0, str(Path(__file__).parents[2]))

from proxy.cli.sockets import raise_descriptor_limit
from tests.bench.bedrock import Mode
from tests.bench.load import Outcome, Run, question

ROOT: Final = Path(__file__).parents[2]
HERE: Final = Path(__file__).parent
MODEL: Final = "anthropic.claude-3-5-sonnet-20240620-v1:0"
WAITING: Final = 1000


class Scenario(NamedTuple):
    name: str
    about: str
    mode: Mode
    body: str = "chat"
    clients: int = 16
    rounds_of: int = 0
    """Questions in all, where the time is the upstream's; 0: a closed loop of ``--seconds``."""


SCENARIOS: Final = (
    Scenario("chat20", "a short chat, 20 events in one write", Mode(20)),
    Scenario("burst500", "500 events in one write", Mode(500), clients=8),
    Scenario("paced", "100 events 10 ms apart, 50 streams", Mode(100, 10), "chat", 50, 50),
    Scenario("whole200", "not streamed: 200 events folded", Mode(200), "whole"),
    Scenario("prompt200k", "a prompt of 200 KB in 40 messages", Mode(20), "prompt", 4),
    Scenario("tools30", "30 tools, a call of 40 pieces", Mode(40, tool=True), "tools", 8),
)


class Target(NamedTuple):
    name: str
    port: int
    pid: int
    path: str = "/v1/chat/completions"
    raw: bool = False
    """Answers are Bedrock's own: the pipe."""


class Figures(NamedTuple):
    """CPU in microseconds per request; seconds to the first byte, median."""

    cpu: float
    first_byte: float


def bodies() -> dict[str, bytes]:
    """Requests by what they are like."""
    chat: dict[str, Any] = {
        "model": MODEL,
        "messages": [
            {"role": "system", "content": "You are a helpful assistant."},
            {"role": "user", "content": "Tell me of the history of lighthouses, in some detail."},
        ],
        "max_tokens": 1024,
        "temperature": 0.5,
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    passage = ('The quick brown fox jumps over the lazy dog, "quoted" and then\nstops é. ' * 80)[
        :5100
    ]
    turns = [
        {"role": "assistant" if number % 2 else "user", "content": passage} for number in range(39)
    ]
    parameters = {
        "type": "object",
        "properties": {
            "q": {"type": "string", "description": "what to look for"},
            "limit": {"type": "integer", "minimum": 1, "maximum": 100},
            "tags": {"type": "array", "items": {"type": "string"}},
            "where": {"type": "object", "properties": {"a": {"type": "string"}}},
        },
        "required": ["q"],
    }
    tools = [
        {
            "type": "function",
            "function": {
                "name": f"tool_{number}",
                "description": f"Looks things up in store {number} and returns what is there.",
                "parameters": parameters,
            },
        }
        for number in range(30)
    ]
    whole = {key: value for key, value in chat.items() if key != "stream_options"}
    made = {
        "chat": chat,
        "whole": {**whole, "stream": False},
        "prompt": {**chat, "messages": turns},
        "tools": {**chat, "tools": tools},
    }
    return {name: orjson.dumps(body) for name, body in made.items()}


def cpu_of(pid: int) -> int:
    """Nanoseconds that all threads of a process have run."""
    total = 0
    for task in Path(f"/proc/{pid}/task").iterdir():
        total += int((task / "schedstat").read_text().split()[0])
    return total


def memory_of(pid: int) -> float:
    """Resident kilobytes."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1024


def marks_of(target: Target, scenario: Scenario) -> dict[bytes, int]:
    """What a whole answer holds, and how often."""
    if target.raw:
        return {b"messageStop": 1, b"contentBlockDelta": scenario.mode.events}
    if scenario.body == "whole":
        return {b'"finish_reason":': 1, b"sixteen letters.": scenario.mode.events}
    piece = b"piece" if scenario.mode.tool else b"sixteen letters."
    return {piece: scenario.mode.events, b"[DONE]": 1}


async def measure(target: Target, scenario: Scenario, body: bytes, seconds: float) -> Figures:
    ask = question(target.path, body)
    marks = marks_of(target, scenario)
    if scenario.rounds_of:
        run = Run(ask, marks, questions=scenario.rounds_of)
    else:
        run = Run(ask, marks, seconds=seconds)
    before = cpu_of(target.pid)
    outcome = await run.go(target.port, scenario.clients, 0.2 if scenario.mode.gap else 0.0)
    spent = cpu_of(target.pid) - before
    check(target, scenario, outcome)
    return Figures(spent / 1e3 / outcome.whole, statistics.median(outcome.first_bytes))


def check(target: Target, scenario: Scenario, outcome: Outcome) -> None:
    if outcome.broken or not outcome.whole:
        raise SystemExit(
            f"{target.name}, {scenario.name}: {outcome.broken} answers of "
            f"{outcome.broken + outcome.whole} are not what was asked for: {outcome.example!r}"
        )


async def waiting(target: Target, body: bytes) -> float:
    """Resident kilobytes while ``WAITING`` streams wait. (Not what each adds: a part of that fits
    into what the load has left free.)"""
    run = Run(question(target.path, body), {}, questions=WAITING)
    opened = await run.open(target.port, WAITING, 1.0)
    for _ in range(200):
        if run.begun >= WAITING:
            break
        await asyncio.sleep(0.1)
    else:
        raise SystemExit(f"{target.name}: only {run.begun} of {WAITING} streams began")
    await asyncio.sleep(0.5)
    after = memory_of(target.pid)
    for transport in opened:
        transport.close()
    await asyncio.sleep(0.5)
    return after


def set_mode(port: int, mode: Mode) -> None:
    body = orjson.dumps(mode._asdict())
    with socket.create_connection(("127.0.0.1", port)) as line:
        line.sendall(b"PUT /mode HTTP/1.1\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))
        line.recv(1000)


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


@contextmanager
def started(
    command: Sequence[str], port: int, cwd: Path, environment: dict[str, str]
) -> Iterator[tuple[int, float]]:
    """A process that listens on ``port``: its pid, and seconds until it did."""
    began = time.monotonic()
    with (
        tempfile.TemporaryFile() as log,
        subprocess.Popen(command, cwd=cwd, env=environment, stdout=log, stderr=log) as process,
    ):
        try:
            while time.monotonic() - began < 30 and process.poll() is None:
                try:
                    socket.create_connection(("127.0.0.1", port), timeout=1).close()
                except OSError:
                    time.sleep(0.005)
                else:
                    yield process.pid, time.monotonic() - began
                    return
            log.seek(0)
            raise SystemExit(f"{command} did not start:\n{log.read().decode()[-2000:]}")
        finally:
            process.send_signal(signal.SIGKILL)


def proxy_environment(bedrock: int) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    url = f"http://127.0.0.1:{bedrock}"
    return kept | {
        "AWS_ACCESS_KEY_ID": "AKIDEXAMPLE",
        "AWS_SECRET_ACCESS_KEY": "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY",
        "AWS_REGION": "us-east-1",
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        "AWS_ENDPOINT_URL_BEDROCK_RUNTIME": url,
        "AWS_ENDPOINT_URL_BEDROCK": url,
        "BEDROCK_PROXY_API_KEY": "sk-bench",
    }


def open_targets(options: argparse.Namespace, places: ExitStack) -> tuple[list[Target], int]:
    """The pipe first, then each proxy; and the port of their Bedrock."""
    bedrock = options.bedrock_port or free_port()
    other, plain = str(HERE / "bedrock.py"), dict(os.environ)
    command = [sys.executable, other, "bedrock", str(bedrock)]
    places.enter_context(started(command, bedrock, ROOT, plain))
    port = free_port()
    command = [sys.executable, other, "pipe", str(port), str(bedrock)]
    pid, _ = places.enter_context(started(command, port, ROOT, plain))
    targets = [Target("pipe", port, pid, f"/model/{MODEL}/converse-stream", raw=True)]
    for tree in (ROOT, *(Path(tree).resolve() for tree in options.tree)):
        port = free_port()
        command = [sys.executable, "-m", "proxy", "serve", "--port", str(port)]
        pid, ready = places.enter_context(started(command, port, tree, proxy_environment(bedrock)))
        targets.append(Target("proxy" if tree == ROOT else tree.name, port, pid))
        print(f"{targets[-1].name}: listening after {ready:.2f} s")  # noqa: T201
    for peer in options.peer:
        name, _, where = peer.partition("=")
        port, _, pid = where.partition(",")
        targets.append(Target(name, int(port), int(pid)))
    return targets, bedrock


Table = dict[str, dict[str, list[Figures]]]


async def bench(options: argparse.Namespace, targets: Sequence[Target], bedrock: int) -> None:
    made = bodies()
    chosen = options.only.split(",") if options.only else [s.name for s in SCENARIOS]
    scenarios = [scenario for scenario in SCENARIOS if scenario.name in chosen]
    begun = {target.name: memory_of(target.pid) for target in targets}
    table: Table = {s.name: {t.name: [] for t in targets} for s in scenarios}
    for scenario in scenarios:
        set_mode(bedrock, scenario.mode)
        for number in range(options.rounds + 1):
            for target in targets if number % 2 else reversed(targets):
                seconds = options.seconds if number else 0.3
                figures = await measure(target, scenario, made[scenario.body], seconds)
                if number:  # the first round warms up
                    table[scenario.name][target.name].append(figures)
    set_mode(bedrock, Mode(20))
    await asyncio.sleep(0.5)
    rest = {target.name: memory_of(target.pid) for target in targets}
    set_mode(bedrock, Mode(20, hold=True))
    streams = {target.name: await waiting(target, made["chat"]) for target in targets}
    report(scenarios, targets, table)
    for target in targets:
        print(  # noqa: T201
            f"{target.name:10} {begun[target.name] / 1024:6.1f} MB before the load, "
            f"{rest[target.name] / 1024:.1f} MB at rest after it, "
            f"{streams[target.name] / 1024:.1f} MB with {WAITING} streams that wait"
        )


def report(scenarios: Sequence[Scenario], targets: Sequence[Target], table: Table) -> None:
    base = targets[0].name
    print(f"\n{'scenario':11} {'target':10} {'us/request':>10} {'x pipe':>7} {'first byte':>11}")  # noqa: T201
    for scenario in scenarios:
        rows = table[scenario.name]
        unit = statistics.median(one.cpu for one in rows[base])
        for target in targets:
            cpu = statistics.median(one.cpu for one in rows[target.name])
            first = statistics.median(one.first_byte for one in rows[target.name]) * 1000
            print(  # noqa: T201
                f"{scenario.name:11} {target.name:10} {cpu:10.0f} {cpu / unit:7.1f} {first:8.2f} ms"
                f"   {scenario.about if target is targets[0] else ''}"
            )
    for target in targets if "paced" in table else ():
        cpu = statistics.median(one.cpu for one in table["paced"][target.name])
        print(f"{'':11} {target.name:10} {cpu / 100:10.2f} us an event that comes by itself")  # noqa: T201
    if "chat20" in table and "burst500" in table:
        for target in targets:
            few, many = (
                statistics.median(one.cpu for one in table[name][target.name])
                for name in ("chat20", "burst500")
            )
            print(f"{'':11} {target.name:10} {(many - few) / 480:10.2f} us an event in a burst")  # noqa: T201
    print()  # noqa: T201


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=0.8, help="of each closed loop")
    parser.add_argument("--only", default="", help="scenarios, by comma")
    parser.add_argument("--tree", action="append", default=[], help="another checkout")
    parser.add_argument("--peer", action="append", default=[], help="name=port,pid")
    parser.add_argument("--bedrock-port", type=int, default=0)
    options = parser.parse_args()
    if not Path("/proc/self/schedstat").exists():
        raise SystemExit("this needs Linux: CPU time is read from /proc")
    raise_descriptor_limit()  # and that of the processes that are started here
    with ExitStack() as places:
        targets, bedrock = open_targets(options, places)
        uvloop.run(bench(options, targets, bedrock))


if __name__ == "__main__":
    main()
