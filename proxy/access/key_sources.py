"""Where the keys file comes from: a file on disk, Secrets Manager, or the SSM parameter store.

A file is polled every 2 s, off the event loop, by its times, inode and size: a mounted secret that
is swapped by a symbolic link changes them all, and every edit changes the ctime. A secret is
fetched every 5 minutes by a function that the caller provides, which signs and sends; this file
only builds the request and reads the answer, without I/O. Both AWS calls are JSON 1.1 posts to
``/`` whose header ``x-amz-target`` must be signed.
Source: AWS Secrets Manager *GetSecretValue*; AWS Systems Manager *GetParameter*.
"""

import asyncio
import re
import stat
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Final, Literal, NamedTuple

import orjson

from proxy.access.keyfile import KeysError, parse_keys

FILE_INTERVAL: Final = 2.0
SECRET_INTERVAL: Final = 300.0
_SIZE_LIMIT: Final = 4_000_000
_ARN: Final = re.compile(
    r"arn:aws[a-z-]*:(?:(secretsmanager):([a-z0-9-]+):\d{12}:secret:[A-Za-z0-9/_+=.@-]{1,512}"
    r"|(ssm):([a-z0-9-]+):\d{12}:parameter/[A-Za-z0-9/_.-]{1,1011})"
)
_SHORT: Final = re.compile(r"(secretsmanager|ssm):([A-Za-z0-9/_+=.@-]{1,512})")


class FileSource:
    """The keys file on disk."""

    def __init__(self, path: Path, interval: float = FILE_INTERVAL) -> None:
        self._path = path
        self._stamp: tuple[int, int, int, int] | None = None
        self.interval = interval
        self.name = str(path)

    async def read(self, force: bool) -> str | None:
        """See ``keys.Source``. Raises ``OSError``, ``KeysError`` or ``UnicodeDecodeError``."""
        return await asyncio.to_thread(self._read, force)

    def _read(self, force: bool) -> str | None:
        now = self._path.stat()
        stamp = (now.st_mtime_ns, now.st_ctime_ns, now.st_ino, now.st_size)
        if stamp == self._stamp and not force:
            return None
        if now.st_size > _SIZE_LIMIT:
            self._stamp = stamp
            raise KeysError(f"over {_SIZE_LIMIT} bytes")
        _refuse_pipe(now.st_mode)
        data = self._path.read_bytes()
        self._stamp = stamp  # not before: a change that could not be read is still to be read
        return data.decode("utf-8")


def check_file(path: Path) -> int:
    """How many keys the file holds. Blocks; for the command line. Raises ``KeysError``."""
    try:
        _refuse_pipe(path.stat().st_mode)
        return len(parse_keys(path.read_text(encoding="utf-8")))
    except (OSError, UnicodeDecodeError) as fault:
        reason = fault.strerror if isinstance(fault, OSError) else "not UTF-8 text"
        raise KeysError(f"{path}: {reason}") from None
    except KeysError as fault:
        raise KeysError(f"{path}: {fault}") from None


def _refuse_pipe(mode: int) -> None:
    """What can be read only once, or never ends, is no file to look at every 2 s."""
    if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
        raise KeysError("is a pipe or device, not a file")


class SecretSource:
    """A keys file that ``fetch`` brings from elsewhere."""

    def __init__(
        self, name: str, fetch: Callable[[], Awaitable[str]], interval: float = SECRET_INTERVAL
    ) -> None:
        self._fetch = fetch
        self._last: str | None = None
        self.interval = interval
        self.name = name

    async def read(self, force: bool) -> str | None:
        """See ``keys.Source``. Raises what ``fetch`` raises."""
        text = await self._fetch()
        if text == self._last and not force:
            return None
        if len(text) > _SIZE_LIMIT:
            raise KeysError(f"over {_SIZE_LIMIT} characters")
        self._last = text
        return text


class SecretPlace(NamedTuple):
    """A secret or parameter: ``region`` is ``None`` where the name does not tell it."""

    service: Literal["secretsmanager", "ssm"]
    region: str | None
    id: str


class JsonCall(NamedTuple):
    """A signed POST to ``/`` of ``service``."""

    service: Literal["secretsmanager", "ssm"]
    headers: Mapping[str, str]
    body: bytes


def secret_place(text: str) -> SecretPlace | None:
    """The place that an ARN of either service, ``secretsmanager:NAME`` or ``ssm:NAME`` names;
    ``None`` for anything else (a path of the disk). Raises ``KeysError`` for a broken one."""
    short = _SHORT.fullmatch(text)
    if short is not None:
        return SecretPlace("ssm" if short[1] == "ssm" else "secretsmanager", None, short[2])
    match = _ARN.fullmatch(text)
    if match is not None:
        if match[1]:
            return SecretPlace("secretsmanager", match[2], text)
        return SecretPlace("ssm", match[4], text)
    if text.startswith(("arn:", "secretsmanager:", "ssm:")):
        raise KeysError(f"{text[:200]!r} does not name a secret or a parameter")
    return None


def secret_call(place: SecretPlace) -> JsonCall:
    """The request that reads ``place``."""
    if place.service == "secretsmanager":
        return _call(place.service, "secretsmanager.GetSecretValue", {"SecretId": place.id})
    asked = {"Name": place.id, "WithDecryption": True}
    return _call(place.service, "AmazonSSM.GetParameter", asked)


def secret_text(place: SecretPlace, status: int, body: bytes) -> str:
    """The keys file in an answer to ``secret_call``. Raises ``KeysError``, which shows AWS's
    exception name and nothing of a secret."""
    try:
        answer = orjson.loads(body)
    except orjson.JSONDecodeError:
        answer = None
    if not isinstance(answer, dict):
        raise KeysError(f"{place.service} answered {status} with a body that is not JSON")
    if status != 200:
        word = re.sub(r".*#|:.*|[^A-Za-z]", "", str(answer.get("__type", "")))[:60]
        raise KeysError(f"{place.service} answered {status} {word}".rstrip())
    if place.service == "ssm":
        parameter = answer.get("Parameter")
        text = parameter.get("Value") if isinstance(parameter, dict) else None
    else:
        text = answer.get("SecretString")
    if not isinstance(text, str):
        raise KeysError(f"{place.service}: the secret contains no text")
    return text


def _call(
    service: Literal["secretsmanager", "ssm"], target: str, body: Mapping[str, object]
) -> JsonCall:
    headers = {"content-type": "application/x-amz-json-1.1", "x-amz-target": target}
    return JsonCall(service, headers, orjson.dumps(body))
