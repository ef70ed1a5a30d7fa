"""Binds: what is read, what is refused, what is loopback, and which Host names follow."""

from __future__ import annotations

import pytest

from emr.control.binds import Bind, Binds, HostForm, host_names, parse_bind


@pytest.mark.parametrize(
    ("text", "bind", "is_loopback"),
    [
        ("127.0.0.1:3200", Bind("127.0.0.1", 3200), True),
        ("127.9.9.9:0", Bind("127.9.9.9", 0), True),
        ("localhost:1", Bind("localhost", 1), True),
        ("LOCALHOST:1", Bind("LOCALHOST", 1), True),
        ("[::1]:65535", Bind("::1", 65535), True),
        ("[::]:3200", Bind("::", 3200), False),
        ("0.0.0.0:3200", Bind("0.0.0.0", 3200), False),
        ("10.0.0.7:3200", Bind("10.0.0.7", 3200), False),
        ("example.test:80", Bind("example.test", 80), False),
        ("localhost.evil.test:80", Bind("localhost.evil.test", 80), False),
        ("unix:/run/emr.sock", Bind(path="/run/emr.sock"), True),
    ],
)
def test_reads(text: str, bind: Bind, is_loopback: bool) -> None:
    assert parse_bind(text) == bind
    assert str(bind) == text
    assert bind.is_loopback is is_loopback


@pytest.mark.parametrize(
    "text",
    [
        "", "127.0.0.1", "127.0.0.1:", ":3200", "127.0.0.1:65536", "127.0.0.1:-1", "a:b", "a:1x",
        "::1:3200", "[::1]", "[::1:3200", "[::g]:1", "unix:", "unix:run/x", "a b:1", "-a:1", "a:٣",
        "http://127.0.0.1:3200", "unix:/" + "x" * 107, "a:1:2",
    ],
)  # fmt: skip
def test_refuses(text: str) -> None:
    with pytest.raises(ValueError):
        parse_bind(text)


def test_the_longest_socket_path() -> None:
    assert parse_bind("unix:/" + "x" * 106).path == "/" + "x" * 106


def test_one_bind_is_plain_and_several_are_a_list() -> None:
    form = Binds()
    assert form.plain(form.take("127.0.0.1:1")) == "127.0.0.1:1"
    assert form.plain(form.take(["127.0.0.1:1", "unix:/a"])) == ["127.0.0.1:1", "unix:/a"]
    assert form.literal(("127.0.0.1:1",)) == '"127.0.0.1:1"'
    assert form.literal(("a:1", "b:1")) == '["a:1", "b:1"]'
    for bad in ([], ["a:1", "a:1"], 3200, "3200"):
        with pytest.raises(ValueError):
            form.take(bad)


LOOPBACK = {"localhost", "127.0.0.1", "[::1]", "::1"}


def names(*binds: str, allowed: tuple[str, ...] | None = None) -> frozenset[str] | None:
    return host_names([parse_bind(text) for text in binds], allowed)


def test_loopback_answers_loopback_names_only() -> None:
    assert names("127.0.0.1:3200") == LOOPBACK
    assert names("127.0.0.1:3200", "unix:/x") == LOOPBACK
    assert names("127.0.0.2:3200") == LOOPBACK | {"127.0.0.2"}


def test_elsewhere_any_name_is_answered_unless_some_are_named() -> None:
    assert names("0.0.0.0:3200") is None
    assert names("127.0.0.1:1", "0.0.0.0:1") is None
    assert names("0.0.0.0:3200", allowed=("emr.test",)) == LOOPBACK | {"emr.test"}
    assert names("127.0.0.1:3200", allowed=("*",)) is None
    told = names("[fd00::7]:3200", allowed=("emr.test",))
    assert told == LOOPBACK | {"emr.test", "[fd00::7]", "fd00::7"}


def test_the_address_of_everything_is_no_name() -> None:
    told = names("0.0.0.0:1", "[::]:1", allowed=("emr.test",))
    assert told is not None
    assert not told & {"0.0.0.0", "::", "[::]"}


def test_host_form() -> None:
    form = HostForm()
    assert form.take(" Emr.Test ") == "emr.test"
    assert form.take("*") == "*"
    assert form.take("::1") == form.take("[::1]") == "[::1]"
    assert form.parse("emr.test") == form.plain("emr.test")
    for bad in ("", "a:3200", "a b", "http://a", 3, "a/b", "*.test", "[::1"):
        with pytest.raises(ValueError):
            form.take(bad)
