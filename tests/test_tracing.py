"""A trace does not end here: its context goes on, unsigned; and spans, where the extra is there."""

import json
import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest

from proxy.simulator import Simulator
from proxy.tracing import parent_of
from tests.support.running import Running, serving, wait_until

ROOT = Path(__file__).parents[1]
MODEL = "us.anthropic.claude-sonnet-4-5-20250929-v1:0"
TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
PARENT = f"00-{TRACE}-00f067aa0ba902b7-01"


@pytest.mark.parametrize(
    ("parent", "good"),
    [
        (PARENT, True),
        (f"01-{TRACE}-00f067aa0ba902b7-01-more", True),  # a later version may say more
        (f"00-{TRACE}-00f067aa0ba902b7-01-more", False),
        (f"ff-{TRACE}-00f067aa0ba902b7-01", False),
        (f"00-{'0' * 32}-00f067aa0ba902b7-01", False),
        (f"00-{TRACE}-{'0' * 16}-01", False),
        (f"00-{TRACE.upper()}-00f067aa0ba902b7-01", False),
        (f"00-{TRACE[:-1]}-00f067aa0ba902b7-01", False),
        (f"{PARENT}\n", False),
        (f"01-{TRACE}-00f067aa0ba902b7-01-{'x' * 600}", False),
        ("", False),
    ],
)
def test_a_context_is_taken_if_it_is_well_formed(parent: str, good: bool) -> None:
    assert parent_of({"traceparent": parent}) == ({"traceparent": parent} if good else {})


def test_a_state_goes_with_its_parent_only() -> None:
    assert parent_of({"tracestate": "a=1"}) == {}
    assert parent_of({"traceparent": PARENT, "tracestate": "a=1"})["tracestate"] == "a=1"
    assert "tracestate" not in parent_of({"traceparent": PARENT, "tracestate": "a" * 600})
    assert "tracestate" not in parent_of({"traceparent": PARENT, "tracestate": ""})
    assert "tracestate" not in parent_of({"traceparent": PARENT, "tracestate": "a=\xe9"})
    assert parent_of({"traceparent": PARENT.replace("00-", "01-", 1) + "-\xe9"}) == {}


@pytest.fixture(scope="module")
def proxy(simulator: Simulator) -> Iterator[Running]:
    with serving(
        simulator.url, access_key=simulator.access_key, secret_key=simulator.secret_key
    ) as one:
        yield one


def ask(proxy: Running, headers: dict[str, str]) -> int:
    body = {"model": MODEL, "stream": True, "messages": [{"role": "user", "content": "Hi"}]}
    return httpx.post(
        f"{proxy.url}/v1/chat/completions", json=body, headers=headers, timeout=20
    ).status_code


@pytest.mark.parametrize(
    ("sent", "passed"),
    [
        ({"traceparent": PARENT, "tracestate": "v=1"}, {"traceparent": PARENT,
                                                        "tracestate": "v=1"}),
        ({"traceparent": "nonsense", "tracestate": "v=1"}, {}),
        ({}, {}),
    ],
)  # fmt: skip
def test_the_context_reaches_bedrock_unsigned(
    proxy: Running, simulator: Simulator, sent: dict[str, str], passed: dict[str, str]
) -> None:
    assert ask(proxy, sent) == 200
    received = simulator.requests[-1]
    names = ("traceparent", "tracestate")
    assert {name: received.headers[name] for name in names if name in received.headers} == passed
    [signed] = re.findall(r"SignedHeaders=([^,]+)", received.headers["authorization"])
    assert not set(names) & set(signed.split(";"))


def test_exemplars_lead_to_the_trace(proxy: Running) -> None:
    assert ask(proxy, {"traceparent": PARENT}) == 200
    accept = {"accept": "application/openmetrics-text; version=1.0.0"}

    def marked() -> bool:
        page = httpx.get(f"{proxy.url}/metrics", headers=accept).text
        return f'# {{trace_id="{TRACE}"}}' in page

    wait_until(marked)


def test_nothing_of_it_is_imported_unasked() -> None:
    done = subprocess.run(
        [sys.executable, "-c", "import sys, proxy.app, proxy.cli.run; "
         "print([name for name in sys.modules if name.startswith('opentelemetry')])"],
        cwd=ROOT, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stdout.strip() == "[]"


def test_without_the_extra_tracing_says_what_to_install() -> None:
    without = (
        "import sys; sys.modules['opentelemetry'] = None; from proxy.__main__ import main; main()"
    )
    done = subprocess.run(
        [sys.executable, "-c", without, "demo", "--port", "0", "--tracing"],
        cwd=ROOT, capture_output=True, text=True, timeout=30, check=False,
    )  # fmt: skip
    assert done.returncode == 2
    assert "pip install 'bedrock-openai-proxy[otel]'" in done.stderr


# ---- with OpenTelemetry itself ----------------------------------------------------------------

SPANS = """
import json, sys
import httpx
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
import proxy.app
from proxy.simulator import Fault, Simulator
from proxy.tracing import Spans
from tests.support.running import serving, wait_until

memory, provider = InMemorySpanExporter(), TracerProvider()
provider.add_span_processor(SimpleSpanProcessor(memory))
proxy.app.open_spans = lambda version: Spans(provider, version)
model, parent = sys.argv[1:]
shown = []
with Simulator() as simulator, serving(
    simulator.url, access_key=simulator.access_key, secret_key=simulator.secret_key,
    settings={"tracing": True},
) as proxy:
    def ask(headers, **more):
        memory.clear()
        body = {"model": model, "messages": [{"role": "user", "content": "secret"}], **more}
        httpx.post(f"{proxy.url}/v1/chat/completions", json=body, headers=headers, timeout=20)
        wait_until(lambda: any(s.kind.name == "SERVER" for s in memory.get_finished_spans()))
        calls = [r for r in simulator.requests if r.operation.startswith("Converse")]
        shown.append({"passed": calls[-1].headers.get("traceparent") if calls else None, "spans": [
            {"name": s.name, "kind": s.kind.name, "trace": f"{s.context.trace_id:032x}",
             "id": f"{s.context.span_id:016x}", "status": s.status.status_code.name,
             "parent": f"{s.parent.span_id:016x}" if s.parent else None,
             "seconds": (s.end_time - s.start_time) / 1e9, "attributes": dict(s.attributes),
             "events": [e.name for e in s.events]} for s in memory.get_finished_spans()]})
    ask({"traceparent": parent}, stream=True)
    ask({})
    ask({}, messages="wrong")
    simulator.script(Fault("error", error="InternalServerException", status=500, times=9))
    ask({})
print(json.dumps(shown))
"""

EXPORT = """
import sys
import httpx
from proxy.simulator import Simulator
from tests.support.running import serving
with Simulator() as simulator, serving(
    simulator.url, access_key=simulator.access_key, secret_key=simulator.secret_key,
    settings={"tracing": True},
) as proxy:
    body = {"model": sys.argv[1], "messages": [{"role": "user", "content": "secret-words"}]}
    assert httpx.post(f"{proxy.url}/v1/chat/completions", json=body).status_code == 200
"""


@pytest.fixture(scope="module")
def beside(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with OpenTelemetry, not part of the project's environment."""
    folder = tmp_path_factory.mktemp("otel")
    packages = ["opentelemetry-sdk", "opentelemetry-exporter-otlp-proto-http"]
    try:
        done = subprocess.run(
            [sys.executable, "-m", "pip", "install", "-q", "--target", str(folder), *packages],
            capture_output=True, text=True, timeout=240, check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        pytest.skip("OpenTelemetry could not be installed in time")
    if done.returncode != 0:
        pytest.skip(f"OpenTelemetry cannot be installed here: {done.stderr[-200:]}")
    return folder


def run(script: str, beside: Path, *arguments: str, **environment: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", script, *arguments], cwd=ROOT, timeout=90, check=False,
        capture_output=True, text=True,
        env={**os.environ, "PYTHONPATH": f"{ROOT}:{beside}", **environment},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.long
def test_spans_by_the_conventions(beside: Path) -> None:
    streamed, whole, wrong, failed = json.loads(run(SPANS, beside, MODEL, PARENT))
    server, call = by_kind(streamed)
    assert (server["name"], call["name"]) == ("POST chat", f"chat {MODEL}")
    assert server["trace"] == call["trace"] == TRACE
    assert server["parent"] == "00f067aa0ba902b7"
    assert call["parent"] == server["id"]
    assert streamed["passed"] == f"00-{TRACE}-{call['id']}-01"
    assert call["events"] == ["first_token"]
    assert 0 < call["seconds"] <= server["seconds"] < 5
    attributes = call["attributes"]
    assert attributes["gen_ai.operation.name"] == "chat"
    assert attributes["gen_ai.provider.name"] == "aws.bedrock"
    assert attributes["gen_ai.request.model"] == MODEL
    assert attributes["gen_ai.usage.input_tokens"] > 0
    assert attributes["gen_ai.usage.output_tokens"] > 0
    assert attributes["gen_ai.response.finish_reasons"] == ["stop"]
    assert attributes["cloud.region"] == "us-east-1"
    assert attributes["aws.request_id"]
    assert server["attributes"]["http.response.status_code"] == 200
    assert server["attributes"]["http.route"] == "/v1/chat/completions"
    assert {server["status"], call["status"]} == {"UNSET"}

    server, call = by_kind(whole)
    assert server["parent"] is None
    assert whole["passed"].split("-")[1] == server["trace"] == call["trace"]
    assert call["events"] == []

    [server] = wrong["spans"]  # Bedrock was not called, and the fault is the caller's
    assert server["attributes"]["http.response.status_code"] == 400
    assert server["status"] == "UNSET"

    server, call = by_kind(failed)
    assert server["status"] == call["status"] == "ERROR"
    assert server["attributes"]["error.type"] == call["attributes"]["error.type"]
    assert call["attributes"]["bedrock_proxy.retries"] > 0
    assert "secret" not in json.dumps([streamed, whole, wrong, failed])


def by_kind(told: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    spans = {span["kind"]: span for span in told["spans"]}
    assert len(told["spans"]) == 2
    return spans["SERVER"], spans["CLIENT"]


@pytest.mark.long
def test_spans_are_sent_before_the_end(beside: Path) -> None:
    received: list[tuple[str, bytes]] = []

    class Collector(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            length = int(self.headers["content-length"])
            received.append((self.path, self.rfile.read(length)))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *arguments: object) -> None:
            return

    with HTTPServer(("127.0.0.1", 0), Collector) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        run(
            EXPORT, beside, MODEL,
            OTEL_EXPORTER_OTLP_ENDPOINT=f"http://127.0.0.1:{server.server_port}",
            OTEL_EXPORTER_OTLP_COMPRESSION="none",
        )  # fmt: skip
        server.shutdown()
        thread.join()
    [(path, sent)] = received
    assert path == "/v1/traces"
    for word in (b"gen_ai.provider.name", b"aws.bedrock", b"service.name", MODEL.encode()):
        assert word in sent
    assert b"bedrock-openai-proxy" in sent
    assert b"secret-words" not in sent
