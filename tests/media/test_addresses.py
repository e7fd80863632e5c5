"""Hostile spellings: none is a target, or its address is not public. The table is the point."""

# ruff: noqa: RUF001  # confusable characters are what is tried here

import ipaddress
import socket

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.media.addresses import Target, UrlRefused, follow, is_listed, is_public, parse_url

REFUSED_URLS = (
    # schemes
    "http://example.com/a.png", "ftp://example.com/a", "file:///etc/passwd", "//example.com/a",
    "https:example.com/a", "https:/example.com/a", "https:///example.com/a", "HTTPS://", "https://",
    "gopher://example.com", "data:image/png;base64,AA", "example.com/a.png", "", "httpſ://a.example",
    # numbers that browsers and resolvers read as IPv4
    "https://2130706433/", "https://017700000001/", "https://0x7f000001/", "https://0x7f.1/",
    "https://127.1/", "https://127.0.1/", "https://0177.0.0.1/", "https://127.0.0.01/",
    "https://127.0.0.0x1/", "https://0/", "https://0x/", "https://256.1.1.1/", "https://1.2.3.4.5/",
    "https://example.0x7f/", "https://example.1/", "https://127.0.0.1../", "https://.../",
    # user info, backslashes, percent, other scripts, controls
    "https://example.com@127.0.0.1/", "https://a:b@example.com/", "https://@example.com/",
    "https://example.com\\@127.0.0.1/", "https://127.0.0.1\\.example.com/", "https:\\\\127.0.0.1/",
    "https://%31%32%37.0.0.1/", "https://127.0.0.1%2f.example.com/", "https://example.com%00.org/",
    "https://１２７.０.０.１/", "https://127。0。0。1/", "https://ⓛocalhost.example/",
    "https://exämple.com/", "https://①②⑦.⓪.⓪.①/", "https://example.com\u3002/", "https://℡.example/",
    "https://example.com/a b", "https://example.com/\r\nHost: x", "https://example.com/\x00",
    " https://example.com/", "https://example.com/\n", "https://exam\tple.com/",
    # names
    "https://localhost/", "https://localhost./", "https://metadata/", "https://a..example.com/",
    "https://-a.example.com/", "https://" + "a" * 64 + ".example.com/", "https://.example.com/",
    "https://" + "a." * 127 + "com/", "https://exam!ple.com/", "https://*.example.com/",
    # ports
    "https://example.com:80/", "https://example.com:22/", "https://example.com:6379/",
    "https://example.com:443:443/", "https://example.com:0443x/", "https://example.com:-1/",
    "https://example.com:99999/", "https://example.com:٤٤٣/",
    # IPv6
    "https://[::1/", "https://::1/", "https://[fe80::1%25eth0]/", "https://[::ffff:1.2.3]/",
    "https://[v1.x]/", "https://[]/", "https://[::1]x/", "https://[1:2:3:4:5:6:7:8:9]/",
    "https://example.com/" + "a" * 8200,
)  # fmt: skip

PRIVATE_URLS = (
    "https://127.0.0.1/", "https://127.0.0.1./", "https://127.255.255.254/", "https://0.0.0.0/",
    "https://10.0.0.1/", "https://172.16.0.1/", "https://172.31.255.255/", "https://192.168.1.1/",
    "https://169.254.169.254/latest/meta-data/", "https://169.254.170.2/v2/credentials",
    "https://169.254.170.23/v1/credentials", "https://100.64.0.1/", "https://100.100.100.200/",
    "https://168.63.129.16/", "https://192.0.0.192/", "https://198.18.0.1/", "https://224.0.0.1/",
    "https://240.0.0.1/", "https://255.255.255.255/", "https://[::1]/", "https://[::]/",
    "https://[::ffff:127.0.0.1]/", "https://[::ffff:8.8.8.8]/", "https://[::127.0.0.1]/",
    "https://[64:ff9b::7f00:1]/", "https://[64:ff9b::808:808]/", "https://[64:ff9b:1::a00:1]/",
    "https://[2002:7f00:1::]/", "https://[2002:a00:1::1]/", "https://[2001:0:1::1]/",
    "https://[fd00:ec2::254]/", "https://[fc00::1]/", "https://[fe80::1]/", "https://[fec0::1]/",
    "https://[ff02::1]/", "https://[2001:db8::1]/", "https://[3fff::1]/", "https://[5f00::1]/",
    "https://[100::1]/", "https://[::ffff:0:127.0.0.1]/", "https://[0:0:0:0:0:ffff:a9fe:a9fe]/",
)  # fmt: skip


@pytest.mark.parametrize("url", REFUSED_URLS)
def test_an_odd_spelling_is_no_target(url: str) -> None:
    with pytest.raises(UrlRefused):
        parse_url(url)


@pytest.mark.parametrize("url", PRIVATE_URLS)
def test_a_plain_spelling_of_a_private_place_is_not_public(url: str) -> None:
    target = parse_url(url)
    assert target.literal
    assert not is_public(target.host)


@pytest.mark.parametrize(
    ("url", "target"),
    [
        ("https://example.com", Target("example.com", 443, "/")),
        ("HTTPS://EXAMPLE.com.:443/A?b=c#d", Target("example.com", 443, "/A?b=c")),
        ("https://example.com:/a", Target("example.com", 443, "/a")),
        ("https://example.com:8443/a", Target("example.com", 8443, "/a")),
        ("https://example.com?a=/../b", Target("example.com", 443, "/?a=/../b")),
        ("https://xn--exmple-cua.com/ü?q=é", Target("xn--exmple-cua.com", 443, "/%C3%BC?q=%C3%A9")),
        ("https://a_b.example.com/%2e%2E/x%", Target("a_b.example.com", 443, "/%2e%2E/x%")),
        ('https://example.com/"<>', Target("example.com", 443, "/%22%3C%3E")),
        ("https://8.8.8.8/", Target("8.8.8.8", 443, "/")),
        ("https://[2600:1F00:0::1]/", Target("2600:1f00::1", 443, "/")),
        ("https://example.com/@user:p", Target("example.com", 443, "/@user:p")),
        ("https://example.com/#@127.0.0.1", Target("example.com", 443, "/")),
    ],
)
def test_a_url_means_one_target(url: str, target: Target) -> None:
    assert parse_url(url) == target
    assert parse_url(target.url) == target


@pytest.mark.parametrize(
    ("location", "url"),
    [
        ("/b", "https://a.example/b"),
        ("b?c", "https://a.example/x/b?c"),
        ("//c.example/d", "https://c.example/d"),
        ("https://127.0.0.1/", "https://127.0.0.1/"),  # refused by its address
        ("?q", "https://a.example/x/y?q"),
    ],
)
def test_a_redirect_is_followed_from_where_it_stands(location: str, url: str) -> None:
    assert follow(parse_url("https://a.example/x/y"), location).url == url


@pytest.mark.parametrize(
    "location",
    ["http://a.example/", "ftp://x/", "//user@c.example/", "https://0x7f.1/", "\\\\c.example/",
     "https://a.example/ x", "https://a.example/\r\nx: y", "//[::1", "https://localhost/",
     "javascript:alert(1)", "data:image/png;base64,AA", "//c.example:22/", "/" + "a" * 9000],
)  # fmt: skip
def test_a_redirect_is_checked_like_a_url(location: str) -> None:
    with pytest.raises(UrlRefused):
        follow(parse_url("https://a.example/x/y"), location)


@pytest.mark.parametrize(
    "address",
    ["1.1.1.1", "8.8.8.8", "52.94.236.248", "172.15.0.1", "172.32.0.1", "100.63.0.1", "223.255.1.1",
     "2600:1f18::1", "2a00:1450:4001::200e", "2001:4860:4860::8888", "2606:4700::1111"],
)  # fmt: skip
def test_public_addresses_are_public(address: str) -> None:
    assert is_public(address)


@pytest.mark.parametrize("address", ["", "x", "1.2.3", "fe80::1%eth0", "2600::1%1", "1.1.1.1/32"])
def test_what_is_no_address_is_not_public(address: str) -> None:
    assert not is_public(address)


@given(st.ip_addresses(v=4))
def test_public_is_a_part_of_what_python_calls_global(address: ipaddress.IPv4Address) -> None:
    if is_public(str(address)):
        assert address.is_global
        assert not address.is_multicast
        assert not address.is_reserved
    # However an address is wrapped, it is not public as IPv6.
    number = int(address)
    for wrapped in (
        ipaddress.IPv6Address(number),
        ipaddress.IPv6Address(0xFFFF << 32 | number),
        ipaddress.IPv6Address(0x64_FF9B << 96 | number),
        ipaddress.IPv6Address(0x2002 << 112 | number << 80),
    ):
        assert not is_public(str(wrapped))


@given(st.text(st.characters(codec="utf-8"), max_size=40))
def test_any_text_is_refused_or_means_an_ascii_host(text: str) -> None:
    for url in (text, f"https://{text}", f"https://a.example/{text}"):
        try:
            target = parse_url(url)
        except UrlRefused:
            continue
        assert target.host.isascii()
        assert target.path.isascii()
        assert not set(target.host) & set("@/\\?#%\r\n ")
        assert parse_url(target.url) == target


@given(st.lists(st.integers(0, 255), min_size=4, max_size=4), st.data())
def test_inet_aton_never_knows_better(octets: list[int], data: st.DataObject) -> None:
    """Every spelling that the C library reads as an address is refused, or read the same."""
    number = int.from_bytes(bytes(octets), "big")
    a, b, c, d = octets
    spelling = data.draw(
        st.sampled_from(
            [
                f"{number}", f"0x{number:x}", f"0{number:o}", f"{a}.{number & 0xFFFFFF}",
                f"{a}.{b}.{c << 8 | d}", f"0x{a:x}.{b}.{c}.{d}", f"{a}.{b}.{c}.0{d:o}",
                f"{a}.{b}.{c}.{d}", f"{a}.{b}.{c}.{d}.",
            ]
        )
    )  # fmt: skip
    try:
        host = parse_url(f"https://{spelling}/").host
    except UrlRefused:
        return
    assert socket.inet_aton(spelling.rstrip(".")) == socket.inet_aton(host)


@pytest.mark.parametrize(
    ("host", "listed"),
    [("cdn.example.com", True), ("a.img.example.org", True), ("img.example.org", False),
     ("evilimg.example.org", False), ("cdn.example.com.evil.com", False), ("example.com", False)],
)  # fmt: skip
def test_hosts_are_listed_exactly_or_below(host: str, listed: bool) -> None:
    assert is_listed(host, ("CDN.example.com.", "*.img.example.org")) is listed
