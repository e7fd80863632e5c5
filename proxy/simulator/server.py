"""The simulator as something to start and stop: uvicorn in a thread, on loopback.

    with Simulator() as bedrock:
        client = session.create_client("bedrock-runtime", endpoint_url=bedrock.url, …)

uvicorn runs in a daemon thread with an event loop of its own, away from the caller's loop and from
signal handling. The socket is bound before the thread starts, so that `url` is known at once; the
service model is loaded while starting, so that the first request is as fast as the second. `stop`
aborts open connections first: a stalled stream does not hold it up.
"""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterable
from dataclasses import replace
from types import TracebackType
from typing import Any, Self

import uvicorn
from starlette.applications import Starlette
from starlette.routing import Mount
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from proxy.simulator.auth import Account
from proxy.simulator.bedrock import Bedrock
from proxy.simulator.control import control_routes, reset_state
from proxy.simulator.estate import Estate
from proxy.simulator.exchange import TRANSPORT
from proxy.simulator.faults import Fault, fault_from
from proxy.simulator.shapes import body_check, label_check
from proxy.simulator.state import Received, Settings, State

_START_SECONDS = 10.0
_STOP_SECONDS = 5.0


class _Protocol(HttpToolsProtocol):
    """HTTP/1.1 whose ASGI scope carries the transport, for resets and cuts."""

    def connection_made(self, transport: Any) -> None:
        # asyncio sets this only on sockets made with an explicit protocol number; without it every
        # second small answer waits 40 ms for the peer's delayed acknowledgement.
        connection = transport.get_extra_info("socket")
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        super().connection_made(transport)

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self.scope["extensions"] = {TRANSPORT: {"transport": self.transport}}


class Simulator:
    """An embedded Bedrock. Keys are made up; `pace` is seconds per delta."""

    def __init__(
        self,
        *,
        region: str = "us-east-1",
        access_key: str = "AKIASIMULATEDBEDROCK",
        secret_key: str = "simulated/secret/key/of/no/value/anywhere",
        session_token: str | None = None,
        bearer: str = "ABSKsimulated-bedrock-api-key",
        host: str = "127.0.0.1",
        port: int = 0,
        pace: float = 0.0,
        seed: int = 0,
    ) -> None:
        self.region = region
        account = Account(access_key, secret_key, session_token, bearer, region)
        self.state = State(account, Estate.build(region), seed, Settings(pace=pace), pace)
        self._address = (host, port)
        self._server: uvicorn.Server | None = None
        self._thread: threading.Thread | None = None
        self.url = ""

    @property
    def access_key(self) -> str:
        return self.state.account.access_key

    @property
    def secret_key(self) -> str:
        return self.state.account.secret_key

    @property
    def session_token(self) -> str | None:
        return self.state.account.session_token

    @property
    def bearer(self) -> str:
        return self.state.account.bearer

    @property
    def settings(self) -> Settings:
        return self.state.settings

    @property
    def requests(self) -> list[Received]:
        """What was received, oldest first (the last thousand)."""
        return list(self.state.requests)

    def control(self, kind: str | None = None, /, **values: Any) -> None:
        """Script a fault (`control("throttle", times=2)`) or turn dials (`control(pace=0.1)`)."""
        if kind is None:
            self.state.settings.change(values)
        else:
            self.state.faults.add(fault_from({"kind": kind, **values}))

    def script(self, *faults: Fault) -> None:
        """Add ready-made faults, in order."""
        for fault in faults:
            self.state.faults.add(fault)

    def play(self, events: Iterable[tuple[str, dict[str, Any]]], **values: Any) -> None:
        """Answer the next ConverseStream call with these (event type, payload) pairs."""
        self.control("events", events=list(events), operation="ConverseStream", **values)

    def rotate(self, **fields: Any) -> None:
        """Replace credentials (`access_key=…, secret_key=…`); the old ones are refused at once."""
        self.state.account = replace(self.state.account, **fields)

    def reset(self) -> None:
        """Forget faults, requests and cached prompts; settings as at the start."""
        reset_state(self.state)

    def start(self) -> Self:
        if self._thread is not None:
            raise RuntimeError("the simulator is running already")
        for operation in ("Converse", "ConverseStream"):
            body_check(operation)
            label_check(operation, "modelId")
        listener = socket.create_server(self._address, backlog=2048)
        host, port = listener.getsockname()[:2]
        self.url = f"http://{host}:{port}"
        bedrock = Mount("/", app=Bedrock(self.state))
        config = uvicorn.Config(
            Starlette(routes=[*control_routes(self.state), bedrock]),
            http=_Protocol,
            ws="none",
            lifespan="off",
            loop="asyncio",
            log_config=None,
            access_log=False,
            server_header=False,
            date_header=False,
            timeout_keep_alive=60,
        )
        server = uvicorn.Server(config)
        self._server = server
        self._thread = threading.Thread(
            target=server.run, kwargs={"sockets": [listener]}, name="simulated-bedrock", daemon=True
        )
        self._thread.start()
        self._await_start()
        return self

    def stop(self) -> None:
        """Stop serving; open streams are dropped. Does nothing when not running."""
        thread, server = self._thread, self._server
        if thread is None or server is None:
            return
        for connection in list(server.server_state.connections):
            transport = getattr(connection, "transport", None)
            if transport is not None:
                connection.loop.call_soon_threadsafe(transport.abort)
        server.should_exit = True
        server.force_exit = True
        thread.join(_STOP_SECONDS)
        if thread.is_alive():
            raise RuntimeError("the simulator did not stop in time")
        self._thread = self._server = None

    def _await_start(self) -> None:
        deadline = time.monotonic() + _START_SECONDS
        while self._server is not None and not self._server.started:
            if self._thread is None or not self._thread.is_alive() or time.monotonic() > deadline:
                raise RuntimeError("the simulator did not start")
            time.sleep(0.005)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()
