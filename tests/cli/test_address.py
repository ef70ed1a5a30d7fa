"""Where a server is said to be: what is understood, and what is refused."""

from __future__ import annotations

import pytest

from emr.cli.ask.address import Address, parse_address


@pytest.mark.parametrize(
    ("text", "address", "url"),
    [
        ("http://localhost:3200", Address(), "http://localhost:3200"),
        ("http://localhost:3200/", Address(), "http://localhost:3200"),
        ("localhost:3200", Address(), "http://localhost:3200"),
        ("http://Emr.Internal", Address(host="emr.internal", port=80), "http://emr.internal"),
        ("https://emr.internal", Address("https", "emr.internal", 443), "https://emr.internal"),
        ("https://a:1", Address("https", "a", 1), "https://a:1"),
        ("http://a:65535", Address(host="a", port=65535), "http://a:65535"),
        ("http://[::1]:3200", Address(host="::1"), "http://[::1]:3200"),
        ("https://g/emr/", Address("https", "g", 443, "/emr"), "https://g/emr"),
    ],
)
def test_addresses(text: str, address: Address, url: str) -> None:
    assert parse_address(text) == address
    assert address.url == str(address) == url


def test_a_unix_socket() -> None:
    address = parse_address("unix:/run/emr/emr.sock")
    assert address.socket == "/run/emr/emr.sock"
    assert str(address) == "unix:/run/emr/emr.sock"
    assert address.url == "http://localhost"


@pytest.mark.parametrize(
    "text",
    [
        "", "http://", "ftp://a", "http://a:0", "http://a:65536", "http://a:x", "http://u@a",
        "http://u:p@a", "http://a?x", "http://a#x", "http://a b", "unix:", "unix:run/x", "a\n",
        "http://a/\r\nX: y", "http://-", "[::1", "http://a:123456",
    ],
)  # fmt: skip
def test_refused(text: str) -> None:
    with pytest.raises(ValueError):
        parse_address(text)


@pytest.mark.parametrize(
    ("text", "is_loopback"),
    [
        ("http://localhost", True), ("http://127.9.9.9", True), ("http://[::1]", True),
        ("unix:/x", True), ("http://10.0.0.1", False), ("http://localhost.evil", False),
    ],
)  # fmt: skip
def test_loopback(text: str, is_loopback: bool) -> None:
    assert parse_address(text).is_loopback is is_loopback
