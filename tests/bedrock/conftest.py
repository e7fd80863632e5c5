"""A machine without AWS, and fakes of the services that hand out credentials, on loopback."""

import json
import os
import threading
import time
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs

import pytest

CONFIG_NAMES = {"AWS_CONFIG_FILE": "config", "AWS_SHARED_CREDENTIALS_FILE": "credentials"}


class Machine:
    """The environment and the shared files of a made machine, and what is served to it."""

    def __init__(self, home: Path, patch: pytest.MonkeyPatch) -> None:
        self.home = home
        self._patch = patch

    def set(self, **variables: str) -> None:
        for name, value in variables.items():
            self._patch.setenv(name, value)

    def unset(self, *names: str) -> None:
        for name in names:
            self._patch.delenv(name, raising=False)

    def write(self, name: str, text: str) -> Path:
        """Replace a shared file as tools do: at once, and with another time of change."""
        path, new = self.home / name, self.home / f"{name}.new"
        new.write_text(text)
        later = time.time() + len(text) + self.home.stat().st_mtime % 7
        os.utime(new, (later, later))
        new.replace(path)
        return path

    def keys(self, access: str, profile: str = "default", token: str = "") -> None:
        extra = f"aws_session_token = {token}\n" if token else ""
        self.write(
            "credentials",
            f"[{profile}]\naws_access_key_id = {access}\naws_secret_access_key = s\n{extra}",
        )

    @property
    def environment(self) -> dict[str, str]:
        return dict(os.environ)


class Fake:
    """Instance metadata (v2 only), a container's credentials and STS, on one port."""

    def __init__(self) -> None:
        self.calls: Counter[str] = Counter()
        self.serial = 1
        self.life = 3600.0
        self.delay = 0.0
        self._closing = threading.Event()
        self.status = 200
        self.refusal = b"<ErrorResponse><Error><Code>AccessDenied</Code></Error></ErrorResponse>"
        self.asked: list[dict[str, str]] = []
        fake = self

        class Handler(BaseHTTPRequestHandler):
            def log_message(self, *args: object) -> None:
                return

            def do_PUT(self) -> None:
                fake.answer(self, "token", "TOKEN")

            def do_GET(self) -> None:
                what = self.path.rpartition("/")[2]
                if self.path.startswith("/latest/"):
                    if self.headers.get("x-aws-ec2-metadata-token") != "TOKEN":
                        self.send_error(401)
                        return
                    if not what:
                        fake.answer(self, "role-name", "app-role")
                        return
                else:
                    fake.asked.append({"authorization": self.headers.get("authorization", "")})
                fake.answer(
                    self, "imds" if self.path.startswith("/latest/") else "ecs", fake.keys()
                )

            def do_POST(self) -> None:
                length = int(self.headers["content-length"])
                form = parse_qs(self.rfile.read(length).decode())
                asked = {name: values[0] for name, values in form.items()}
                asked["authorization"] = self.headers.get("authorization", "")
                fake.asked.append(asked)
                fake.answer(self, asked["Action"], fake.assumed(asked["Action"]))

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()

    def close(self) -> None:
        self._closing.set()  # whoever still waits is answered, and ends before the next test
        self._server.shutdown()
        self._server.server_close()

    def expiry(self) -> str:
        return (datetime.now(UTC) + timedelta(seconds=self.life)).strftime("%Y-%m-%dT%H:%M:%SZ")

    def keys(self) -> str:
        return json.dumps(
            {
                "Code": "Success",
                "AccessKeyId": f"ASIA{self.serial}",
                "SecretAccessKey": "s",
                "Token": f"T{self.serial}",
                "Expiration": self.expiry(),
            }
        )

    def assumed(self, action: str) -> str:
        return (
            f'<{action}Response xmlns="https://sts.amazonaws.com/doc/2011-06-15/">'
            f"<{action}Result><Credentials><AccessKeyId>ASIAROLE{self.serial}</AccessKeyId>"
            f"<SecretAccessKey>s</SecretAccessKey><SessionToken>R{self.serial}</SessionToken>"
            f"<Expiration>{self.expiry()}</Expiration></Credentials>"
            "<AssumedRoleUser><Arn>arn:aws:sts::123456789012:assumed-role/r/s</Arn>"
            "<AssumedRoleId>AROA:s</AssumedRoleId></AssumedRoleUser>"
            f"</{action}Result></{action}Response>"
        )

    def answer(self, request: BaseHTTPRequestHandler, what: str, body: str) -> None:
        self.calls[what] += 1
        self._closing.wait(self.delay)
        data = body.encode() if self.status == 200 else self.refusal
        try:
            request.send_response(self.status)
            request.send_header("content-length", str(len(data)))
            request.end_headers()
            request.wfile.write(data)
        except OSError:
            return  # the caller lost patience, which is what a slow test wants


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    for name in list(os.environ):
        if name.startswith("AWS_"):
            monkeypatch.delenv(name)
    made = Machine(tmp_path, monkeypatch)
    made.set(HOME=str(tmp_path), BOTO_CONFIG=str(tmp_path / "none"))
    made.set(**{name: str(tmp_path / file) for name, file in CONFIG_NAMES.items()})
    made.set(AWS_EC2_METADATA_DISABLED="true")
    return made


@pytest.fixture
def fake() -> Iterator[Fake]:
    served = Fake()
    yield served
    served.close()
