"""A URL to the one place it can mean, and whether an address is out on the public internet. Pure.

URL parsers disagree, and every disagreement is a way past a check: so a URL is parsed once, by the
rules here, which refuse whatever is spelled in an unusual way, and what was parsed is what is
connected to. A host is ASCII labels, a strict dotted IPv4 address or a bracketed IPv6 one: no user
info, no backslash, no percent, no decimal, octal, hex or short forms, no single word.

An address is public if IANA gave it out for global unicast and nothing of it leads elsewhere:
tunnels and translators (6to4, Teredo, NAT64) hold other addresses inside, so they are refused.
Sources: WHATWG URL (what browsers make of odd hosts); RFC 6890 and IANA's special-purpose
registries; RFC 6052 and 8215 (NAT64); Azure's 168.63.129.16.
"""

import ipaddress
import re
from typing import Final, NamedTuple
from urllib.parse import quote, urljoin

PORTS: Final = frozenset({443, 8443})
"""Ports of https services; others reach what speaks something else."""
MAX_URL: Final = 8192
_URL: Final = re.compile(r"https://([^/?#]*)(/[^?#]*)?(\?[^#]*)?(?:#.*)?", re.I | re.A)
_AUTHORITY: Final = re.compile(r"(\[[0-9A-Fa-f:.]{2,45}\]|[A-Za-z0-9._-]{1,254})(?::([0-9]{0,5}))?")
_LABEL: Final = re.compile(r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?")
_NUMBER: Final = re.compile(r"[0-9]+|0x[0-9a-f]*")
_SAFE: Final = "!$&'()*+,-./:;=?@_~%[]"

_REFUSED_4: Final = tuple(
    ipaddress.IPv4Network(network)
    for network in (
        "0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "168.63.129.16/32",
        "169.254.0.0/16", "172.16.0.0/12", "192.0.0.0/24", "192.0.2.0/24", "192.31.196.0/24",
        "192.52.193.0/24", "192.88.99.0/24", "192.168.0.0/16", "192.175.48.0/24", "198.18.0.0/15",
        "198.51.100.0/24", "203.0.113.0/24", "224.0.0.0/4", "240.0.0.0/4",
    )
)  # fmt: skip
_GLOBAL_6: Final = ipaddress.IPv6Network("2000::/3")
"""All that IANA gives out for global unicast; ULA, link-local, site-local, multicast, mapped,
compatible and both NAT64 prefixes lie outside."""
_REFUSED_6: Final = tuple(
    ipaddress.IPv6Network(network)
    for network in (
        "2001::/23", "2001:db8::/32", "2002::/16", "2620:4f:8000::/48", "3fff::/20", "3ffe::/16",
    )
)  # fmt: skip


class UrlRefused(Exception):
    """The URL is not one that is fetched; the message says why, and nothing about addresses."""


class Target(NamedTuple):
    """What a URL means: ``host`` in lower case, without brackets or a trailing dot."""

    host: str
    port: int
    path: str
    """Path and query, percent-encoded ASCII."""

    @property
    def authority(self) -> str:
        """For the Host header."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == 443 else f"{host}:{self.port}"

    @property
    def url(self) -> str:
        return f"https://{self.authority}{self.path}"

    @property
    def literal(self) -> bool:
        """The host is an address and not a name."""
        return ":" in self.host or self.host.replace(".", "").isdigit()


def parse_url(url: str, ports: frozenset[int] = PORTS) -> Target:
    """The target of an absolute https URL. Raises ``UrlRefused``."""
    if len(url) > MAX_URL:
        raise UrlRefused(f"the URL is longer than {MAX_URL} characters")
    if re.search(r"[\x00-\x20\x7f\\]", url):
        raise UrlRefused("the URL contains a space, a control character or a backslash")
    match = _URL.fullmatch(url)
    if match is None:
        raise UrlRefused("only https:// URLs are fetched")
    authority, path, query = match[1], match[2] or "/", match[3] or ""
    if "@" in authority:
        raise UrlRefused("the URL contains a user name or password")
    parts = _AUTHORITY.fullmatch(authority)
    if parts is None:
        raise UrlRefused("the host must be plain ASCII (punycode for other scripts)")
    port = int(parts[2]) if parts[2] else 443
    if port not in ports:
        raise UrlRefused(f"only the ports {', '.join(map(str, sorted(ports)))} are allowed")
    return Target(_host(parts[1].lower()), port, quote(path + query, safe=_SAFE, errors="replace"))


def follow(target: Target, location: str, ports: frozenset[int] = PORTS) -> Target:
    """Where a redirect from ``target`` to ``location`` leads. Raises ``UrlRefused``."""
    if len(location) > MAX_URL or re.search(r"[\x00-\x20\x7f\\]", location):
        raise UrlRefused("the redirect's URL is too long or contains illegal characters")
    try:
        joined = urljoin(target.url, location)
    except ValueError:
        raise UrlRefused("the redirect's target is not a URL") from None
    return parse_url(joined, ports)


def is_public(address: str) -> bool:
    """Whether an address (as ``getaddrinfo`` writes it) is out on the public internet."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return False
    if isinstance(parsed, ipaddress.IPv4Address):
        return parsed.is_global and not any(parsed in network for network in _REFUSED_4)
    if parsed.scope_id is not None or parsed not in _GLOBAL_6 or not parsed.is_global:
        return False
    return not any(parsed in network for network in _REFUSED_6)


def is_listed(host: str, allowed: tuple[str, ...]) -> bool:
    """Whether ``host`` is one of ``allowed``; ``*.example.com`` is any host below it."""
    for pattern in allowed:
        pattern = pattern.lower().rstrip(".")
        if host == pattern or (pattern.startswith("*.") and host.endswith(pattern[1:])):
            return True
    return False


def _host(host: str) -> str:
    if host.startswith("["):
        try:
            return str(ipaddress.IPv6Address(host[1:-1]))
        except ValueError:
            raise UrlRefused("the host is not an IPv6 address") from None
    host = host.removesuffix(".")
    labels = host.split(".")
    if len(host) > 253 or not all(_LABEL.fullmatch(label) for label in labels):
        raise UrlRefused("the host is not a domain name")
    if _NUMBER.fullmatch(labels[-1]):  # a browser would read this as an IPv4 address
        try:
            return str(ipaddress.IPv4Address(host))
        except ValueError:
            raise UrlRefused("an IPv4 address is written as four decimal numbers") from None
    if len(labels) < 2:
        raise UrlRefused("the host is a single word and not a public domain name")
    return host
