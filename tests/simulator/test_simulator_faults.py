"""Scripted misfortune, as it looks on the socket."""

from __future__ import annotations

import base64
import json
import socket
import struct
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any

import httpx
import pytest
from botocore.eventstream import EventStreamBuffer
from botocore.exceptions import ClientError, EventStreamError

from proxy.simulator import Fault, Simulator

NOVA = "us.amazon.nova-lite-v1:0"
HELLO = {"modelId": NOVA, "messages": [{"role": "user", "content": [{"text": "Hello"}]}]}


@pytest.fixture
def http(simulator: Simulator) -> Iterator[httpx.Client]:
    authorization = {"authorization": f"Bearer {simulator.bearer}"}
    with httpx.Client(base_url=simulator.url, headers=authorization, timeout=5) as client:
        yield client


def path(operation: str = "converse-stream") -> str:
    return f"/model/{NOVA.replace(':', '%3A')}/{operation}"


def stream(http: httpx.Client, text: str = "Hello") -> Any:
    body = {"messages": [{"role": "user", "content": [{"text": text}]}]}
    return http.stream("POST", path(), json=body)


def whole(http: httpx.Client, text: str = "Hello") -> bytes:
    with stream(http, text) as answer:
        data: bytes = answer.read()
        return data


def names(data: bytes) -> list[str]:
    buffer = EventStreamBuffer()
    buffer.add_data(data)
    return [event.headers.get(":event-type", "") for event in buffer]


def until_error(runtime: Any) -> tuple[list[dict[str, Any]], dict[str, str]]:
    """The events before an in-stream exception, and what botocore made of it."""
    seen: list[dict[str, Any]] = []
    with closing(runtime.converse_stream(**HELLO)["stream"]) as events:
        with pytest.raises(EventStreamError) as caught:
            seen.extend(events)
        return seen, caught.value.response["Error"]


def test_throttle_with_a_wait(simulator: Simulator, runtime: Any) -> None:
    simulator.control("throttle", times=2, headers={"x-amz-retry-after": "1500"})
    for _ in range(2):
        with pytest.raises(ClientError) as caught:
            runtime.converse(**HELLO)
        error = caught.value.response
        assert error["Error"]["Code"] == "ThrottlingException"
        assert error["ResponseMetadata"]["HTTPStatusCode"] == 429
        assert error["ResponseMetadata"]["HTTPHeaders"]["x-amz-retry-after"] == "1500"
    assert runtime.converse(**HELLO)["stopReason"] == "end_turn"


@pytest.mark.parametrize(
    ("error", "status"),
    [
        ("AccessDeniedException", 403),
        ("ResourceNotFoundException", 404),
        ("ModelTimeoutException", 408),
        ("ModelErrorException", 424),
        ("ModelNotReadyException", 429),
        ("InternalServerException", 500),
        ("ServiceUnavailableException", 503),
    ],
)
def test_any_error(simulator: Simulator, runtime: Any, error: str, status: int) -> None:
    simulator.control("error", error=error, message="made up")
    with pytest.raises(ClientError) as caught:
        runtime.converse_stream(**HELLO)
    assert caught.value.response["Error"] == {"Code": error, "Message": "made up"}
    assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == status


def test_a_fault_finds_its_call(simulator: Simulator, runtime: Any, bedrock: Any) -> None:
    simulator.script(
        Fault("error", operation="ListInferenceProfiles"), Fault("error", model="sonnet")
    )
    assert runtime.converse(**HELLO)["stopReason"] == "end_turn"
    with pytest.raises(ClientError):
        bedrock.list_inference_profiles()
    with pytest.raises(ClientError):
        runtime.converse(**{**HELLO, "modelId": "us.anthropic.claude-sonnet-4-6"})
    assert bedrock.list_inference_profiles()["inferenceProfileSummaries"]


@pytest.mark.parametrize(
    "member",
    [
        "throttlingException",
        "internalServerException",
        "modelStreamErrorException",
        "serviceUnavailableException",
        "validationException",
    ],
)
@pytest.mark.parametrize("after", [0, 3])
def test_exceptions_in_the_stream(
    simulator: Simulator, runtime: Any, member: str, after: int
) -> None:
    simulator.control("exception", error=member, message="made up", after=after)
    seen, error = until_error(runtime)
    assert len(seen) == after
    assert error == {"Code": member, "Message": "made up"}


def test_an_error_message(simulator: Simulator, http: httpx.Client) -> None:
    simulator.control("error_frame", error="InternalError", message="x", after=1)
    buffer = EventStreamBuffer()
    buffer.add_data(whole(http))
    last = list(buffer)[-1]
    assert last.headers == {
        ":error-code": "InternalError",
        ":error-message": "x",
        ":message-type": "error",
    }


def test_truncation_ends_the_response_cleanly(simulator: Simulator, http: httpx.Client) -> None:
    simulator.control("truncate", after=3)
    assert len(names(whole(http))) == 3
    simulator.control("truncate", size=200)
    assert len(whole(http)) == 200


def test_a_cut_does_not(simulator: Simulator, http: httpx.Client) -> None:
    simulator.control("cut", after=2)
    with pytest.raises(httpx.RemoteProtocolError), stream(http) as answer:
        answer.read()
    assert not simulator.requests[-1].disconnected
    assert simulator.requests[-1].events == 2


def test_a_cut_of_a_whole_answer(simulator: Simulator, http: httpx.Client) -> None:
    simulator.control("cut")
    body = {"messages": HELLO["messages"]}
    with pytest.raises(httpx.RemoteProtocolError):
        http.post(path("converse"), json=body)


@pytest.mark.parametrize("after", [0, 2])
def test_resets(simulator: Simulator, http: httpx.Client, after: int) -> None:
    simulator.control("reset", after=after)
    with pytest.raises(httpx.ReadError), stream(http) as answer:
        answer.read()


def test_a_dropped_connection(simulator: Simulator, http: httpx.Client) -> None:
    simulator.control("drop")
    with pytest.raises(httpx.RemoteProtocolError, match="without sending a response"):
        http.post(path(), json={"messages": HELLO["messages"]})


@pytest.mark.parametrize("operation", ["converse", "converse-stream"])
def test_a_kept_alive_connection_is_closed_unannounced(
    simulator: Simulator, http: httpx.Client, operation: str
) -> None:
    simulator.control("hang_up")
    host, port = simulator.url.removeprefix("http://").split(":")
    body = json.dumps({"messages": HELLO["messages"]})
    head = (
        f"POST {path(operation)} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {simulator.bearer}"
        f"\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    with socket.create_connection((host, int(port)), timeout=5) as client:
        client.sendall((head + body).encode())
        answer = b"".join(iter(lambda: client.recv(65536), b""))
    assert answer.startswith(b"HTTP/1.1 200")
    assert b"onnection: close" not in answer
    assert answer.endswith((b"}", b"0\r\n\r\n"))


def test_a_corrupt_checksum(simulator: Simulator, http: httpx.Client) -> None:
    simulator.control("corrupt", after=2)
    data = whole(http)
    with pytest.raises(Exception, match="Checksum mismatch"):
        names(data)


def test_a_wrong_content_type_and_garbage(simulator: Simulator, http: httpx.Client) -> None:
    simulator.control("garbage", content_type="text/html", data=base64.b64encode(b"<p>").decode())
    with stream(http) as answer:
        assert (answer.status_code, answer.headers["content-type"]) == (200, "text/html")
        assert answer.read() == b"<p>"
    simulator.control("raw", status=502, data=base64.b64encode(b"<h1>Bad Gateway").decode())
    with stream(http) as answer:
        assert (answer.status_code, answer.read()) == (502, b"<h1>Bad Gateway")


def test_a_redirect(simulator: Simulator, http: httpx.Client) -> None:
    simulator.control("redirect", location="http://127.0.0.1:1/")
    with stream(http) as answer:
        assert answer.status_code == 307
        assert answer.headers["location"] == "http://127.0.0.1:1/"


def test_a_drip_of_single_bytes(simulator: Simulator, http: httpx.Client) -> None:
    expected = names(whole(http))
    simulator.control("drip")
    with stream(http) as answer:
        pieces = list(answer.iter_raw(1))
    assert names(b"".join(pieces)) == expected


def test_a_scripted_answer(simulator: Simulator, runtime: Any) -> None:
    events: list[tuple[str, dict[str, Any]]] = [
        ("messageStart", {"role": "assistant"}),
        ("contentBlockDelta", {"contentBlockIndex": 0, "delta": {"text": "scripted"}}),
        ("somethingNew", {"a": 1}),
        ("messageStop", {"stopReason": "malformed_model_output"}),
        ("throttlingException", {"message": "late"}),
    ]
    simulator.play(events)
    seen, error = until_error(runtime)
    assert error == {"Code": "throttlingException", "Message": "late"}
    assert seen[-1]["messageStop"]["stopReason"] == "malformed_model_output"


def test_a_stop_reason_in_both_forms(simulator: Simulator, runtime: Any) -> None:
    simulator.control("stop_reason", reason="malformed_tool_use", times=2)
    assert runtime.converse(**HELLO)["stopReason"] == "malformed_tool_use"
    events = list(runtime.converse_stream(**HELLO)["stream"])
    assert events[-2] == {"messageStop": {"stopReason": "malformed_tool_use"}}


def test_a_huge_delta(simulator: Simulator, runtime: Any) -> None:
    simulator.control("huge", size=300_000)
    deltas = [
        e["contentBlockDelta"]
        for e in runtime.converse_stream(**HELLO)["stream"]
        if ("contentBlockDelta" in e)
    ]
    assert max(len(d["delta"]["text"]) for d in deltas) == 300_000


def test_a_stall_is_left_when_the_client_leaves(simulator: Simulator, http: httpx.Client) -> None:
    simulator.control("stall", after=2, seconds=30)
    with stream(http) as answer:
        next(answer.iter_raw())
        left_at = time.monotonic()
    gone_at = wait_for(lambda: simulator.requests[-1].gone_at)
    assert gone_at - left_at < 2
    assert simulator.requests[-1].events == 2


def test_a_delay_before_the_head_is_left_too(simulator: Simulator, http: httpx.Client) -> None:
    simulator.control("delay", delay=30)
    with pytest.raises(httpx.ReadTimeout):
        http.post(path(), json={"messages": HELLO["messages"]}, timeout=0.2)
    wait_for(lambda: simulator.requests[-1].gone_at)
    assert simulator.requests[-1].status == 0


def test_a_paced_stream_is_slow_and_notices_hang_ups(
    simulator: Simulator, http: httpx.Client
) -> None:
    simulator.control(pace=0.02)
    started = time.monotonic()
    count = len(names(whole(http, 'Say "a few words"')))
    assert time.monotonic() - started > 0.02 * (count - 3)
    with stream(http, "Write 500 words") as answer:
        next(answer.iter_raw())
    wait_for(lambda: simulator.requests[-1].gone_at)
    assert simulator.requests[-1].events < 20


def wait_for(read: Callable[[], Any]) -> Any:
    deadline = time.monotonic() + 3
    while time.monotonic() < deadline:
        found = read()
        if found is not None:
            return found
        time.sleep(0.01)
    raise AssertionError("it did not happen in time")


def test_control_over_http(simulator: Simulator, http: httpx.Client) -> None:
    fault = {"kind": "error", "error": "ServiceUnavailableException", "times": None}
    assert http.post("/__sim/faults", json=fault).status_code == 200
    assert http.post(path(), json={"messages": HELLO["messages"]}).status_code == 503
    assert http.get("/__sim/state").json()["faults"] == ["error x ever"]
    http.delete("/__sim/faults")
    http.post("/__sim/settings", json={"denied": ["ConverseStream"]})
    assert http.post(path(), json={"messages": HELLO["messages"]}).status_code == 403
    received = http.get("/__sim/requests").json()
    assert [r["status"] for r in received] == [503, 403]
    assert received[0]["model"] == NOVA
    http.post("/__sim/reset")
    assert http.post(path(), json={"messages": HELLO["messages"]}).status_code == 200
    for where, body in (
        ("/__sim/faults", {"kind": "nonsense"}),
        ("/__sim/faults", {"kind": "error", "colour": 1}),
        ("/__sim/faults", {}),
        ("/__sim/settings", {"colour": 1}),
    ):
        refused = http.post(where, json=body)
        assert refused.status_code == 400
        assert refused.json()["error"]


def test_stop_does_not_wait_for_open_streams() -> None:
    simulator = Simulator().start()
    simulator.control("stall", after=1, seconds=60)
    body = json.dumps({"messages": HELLO["messages"]}).encode()
    head = (
        f"POST {path()} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {simulator.bearer}\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    )
    host, port = simulator.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port))) as client:
        client.sendall(head.encode() + body)
        assert client.recv(12) == b"HTTP/1.1 200"
        started = time.monotonic()
        simulator.stop()
        assert time.monotonic() - started < 5  # the answer would have lasted longer
    simulator.stop()


def test_it_starts_again_on_the_same_port() -> None:
    with Simulator() as first:
        port = int(first.url.rpartition(":")[2])
        with pytest.raises(RuntimeError, match="running already"):
            first.start()
    with Simulator(port=port) as second:
        assert second.url.endswith(f":{port}")
        assert httpx.get(f"{second.url}/nowhere").status_code == 404


def test_a_half_sent_request_is_no_request(simulator: Simulator) -> None:
    host, port = simulator.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port))) as client:
        client.sendall(
            f"POST {path()} HTTP/1.1\r\nHost: x\r\nContent-Length: 99\r\n\r\n{{".encode()
        )
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    time.sleep(0.05)
    assert simulator.requests == []
