"""Key lookup: a set of hashed keys (``Keyring``), and the store that keeps it up to date.

A presented key is hashed and looked up by its digest; then two digests are compared in constant
time, the same way whether one was found or not. Keys chosen by people are verified by scrypt in a
thread, one at a time, and a small cache of verified and refused keys spares later requests that
work. A new ring replaces the old one in a single assignment. If a source is broken or gone, the old
ring stays in force and the log says so once: a typing error neither locks anyone out nor lets
anyone in.
"""

import asyncio
import hashlib
import hmac
import os
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Final, Protocol

from proxy.access.hashing import PREFIX, ChosenHash, MintedHash
from proxy.access.keyfile import Entry, KeysError, parse_keys
from proxy.access.tenant import SINGLE, Tenant
from proxy.errors import ProxyError, invalid
from proxy.logs import logger
from proxy.tasks import tell

_NOBODY: Final = bytes(32)
_REMEMBERED: Final = 1024
_LONGEST_CHOSEN: Final = 512
_UNREAD: Final = 5.0
"""Seconds between attempts to read a source that could not be read yet."""
_WAITING: Final = 8
"""Presented keys that may wait for scrypt at a time: more than this is guessing."""


class Keyring:
    """An immutable set of keys, except for its cache of verified ones."""

    def __init__(self, entries: Sequence[Entry], now: Callable[[], float] = time.time) -> None:
        self._now = now
        self._minted = {e.hash.digest: e for e in entries if isinstance(e.hash, MintedHash)}
        self._chosen = [(e, e.hash) for e in entries if isinstance(e.hash, ChosenHash)]
        self._pepper = os.urandom(32)
        self._proven: dict[bytes, Entry] = {}
        self._disproven: OrderedDict[bytes, None] = OrderedDict()
        self._turn = asyncio.Semaphore(1)
        self._waiting = 0

    def __len__(self) -> int:
        return len(self._minted) + len(self._chosen)

    async def lookup(self, shown: bytes) -> Tenant:
        """Whose key this is. Raises ``ProxyError``: 401 if nobody's (or ended), 429 if too many
        unknown keys are being tried."""
        digest = hashlib.sha256(shown).digest()
        entry = self._minted.get(digest)
        known = entry.hash.digest if entry is not None else _NOBODY
        if not hmac.compare_digest(digest, known):
            entry = await self._lookup_chosen(shown)
        if entry is None or entry.revoked:
            raise invalid_key("The API key is not valid for this proxy.")
        if entry.expires is not None and entry.expires <= self._now():
            raise invalid_key("The API key has expired.")
        return entry.tenant

    async def _lookup_chosen(self, shown: bytes) -> Entry | None:
        if not self._chosen or len(shown) > _LONGEST_CHOSEN or shown.startswith(PREFIX.encode()):
            return None
        mark = hmac.digest(self._pepper, shown, "sha256")
        if mark in self._proven or mark in self._disproven:
            return self._proven.get(mark)
        if self._waiting >= _WAITING:
            raise ProxyError(
                429, "Too many unknown API keys are being tried.", type="rate_limit_error",
                code="rate_limit_exceeded", retry="throttle", retry_after=1.0,
            )  # fmt: skip
        self._waiting += 1
        try:
            async with self._turn:
                if mark not in self._proven and mark not in self._disproven:
                    self._remember(mark, await asyncio.to_thread(self._prove, shown))
        finally:
            self._waiting -= 1
        return self._proven.get(mark)

    def _prove(self, shown: bytes) -> Entry | None:
        """In a thread. Every hash is tried, so that time does not tell which one fitted."""
        fitting = [entry for entry, hash in self._chosen if hash.fits(shown)]
        return fitting[0] if fitting else None

    def _remember(self, mark: bytes, entry: Entry | None) -> None:
        if entry is not None:
            self._proven[mark] = entry  # never more than there are chosen keys
            return
        self._disproven[mark] = None
        if len(self._disproven) > _REMEMBERED:
            self._disproven.popitem(last=False)


class Source(Protocol):
    """Where the text of the keys file comes from."""

    interval: float
    """Seconds between polls."""
    name: str
    """For the log."""

    async def read(self, force: bool) -> str | None:
        """The text; ``None`` if it has not changed since the last look (never when ``force``).
        Raises ``OSError``, ``KeysError`` or ``ProxyError``."""
        ...


class KeyStore:
    """Every key there is: those of ``source`` (if any) and the ``single`` one of the environment.

    ``await load()`` first; then ``start()`` looks at the source again now and then. Used from one
    event loop. ``observe`` is told how each reading ended: ``ok`` or ``failed``.
    """

    def __init__(
        self,
        source: Source | None = None,
        *,
        single: str | None = None,
        now: Callable[[], float] = time.time,
        observe: Callable[[str], None] = lambda outcome: None,
    ) -> None:
        self._source = source
        self._now = now
        self._observe = observe
        self._own: tuple[Entry, ...] = ()
        if single is not None:
            digest = hashlib.sha256(single.encode()).digest()
            self._own = (Entry(Tenant(SINGLE), MintedHash(digest)),)
        self._ring = Keyring(self._own, now)
        self._fault = ""
        self._loaded = source is None
        self._asked = asyncio.Event()
        self._watching: asyncio.Task[None] | None = None

    @property
    def ready(self) -> bool:
        """Whether the source was read at least once: before that, its keys are unknown."""
        return self._loaded

    def __len__(self) -> int:
        return len(self._ring)

    async def lookup(self, shown: bytes) -> Tenant:
        """Whose key this is. Raises ``ProxyError`` as ``Keyring.lookup``; 503 for an unknown key
        while the source was never read."""
        try:
            return await self._ring.lookup(shown)
        except ProxyError as error:
            if self._loaded or error.status != 401:
                raise
            raise ProxyError(
                503, "The API keys have not been loaded yet.", code="keys_unavailable",
                retry="transient", retry_after=2.0,
            ) from None  # fmt: skip

    async def load(self) -> None:
        """Read the source now. Raises ``KeysError``; the old keys stay then."""
        await self._refresh(force=True)

    def start(self) -> None:
        """Poll the source from now on, every ``source.interval`` seconds and on ``reload``."""
        if self._source is not None and self._watching is None:
            self._watching = asyncio.get_running_loop().create_task(
                self._watch(self._source), name="keys"
            )
            self._watching.add_done_callback(tell)

    def reload(self) -> None:
        """Poll the source at once (SIGHUP). Only on the store's own loop."""
        self._asked.set()

    async def close(self) -> None:
        if self._watching is not None:
            self._watching.cancel()
            await asyncio.wait({self._watching})
            self._watching = None

    async def _watch(self, source: Source) -> None:
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(
                    source.interval if self._loaded else min(source.interval, _UNREAD)
                ):
                    await self._asked.wait()
            force = self._asked.is_set()
            self._asked.clear()
            try:
                await self._refresh(force)
            except KeysError as fault:
                self._tell(source, str(fault))

    def _tell(self, source: Source, fault: str) -> None:
        """Log a fault when it is new; it may stay for days."""
        if fault != self._fault:
            logger.error(
                "the API keys were not reloaded; the old ones stay in force",
                extra={"fields": {"source": source.name, "reason": fault, "keys": len(self)}},
            )
        self._fault = fault

    async def _refresh(self, force: bool) -> None:
        source = self._source
        if source is None:
            return
        try:
            text = await source.read(force)
            if text is None:
                return
            entries = parse_keys(text)
        except (KeysError, ProxyError, OSError, UnicodeDecodeError) as fault:
            self._observe("failed")
            raise KeysError(f"{source.name}: {_reason(fault)}") from fault
        self._ring = Keyring((*self._own, *entries), self._now)
        self._loaded = True
        self._fault = ""
        self._observe("ok")
        logger.info(
            "API keys loaded", extra={"fields": {"source": source.name, "keys": len(entries)}}
        )


def invalid_key(message: str) -> ProxyError:
    """OpenAI's 401."""
    return invalid(message, code="invalid_api_key", status=401)


def _reason(fault: Exception) -> str:
    if isinstance(fault, OSError):
        return fault.strerror or type(fault).__name__
    if isinstance(fault, ProxyError):
        return fault.message
    return str(fault) if isinstance(fault, KeysError) else "not UTF-8 text"
