"""Forms of values: what they take, at the limits, and what they refuse with which words."""

from __future__ import annotations

from typing import Any

import pytest
import tomli

from emr.control.values import (
    VARIABLE,
    Choice,
    Distinct,
    Form,
    Many,
    Mode,
    Real,
    Size,
    Switch,
    Text,
    Whole,
    size_text,
)

WHOLE, REAL, SIZE = Whole(1, 9), Real(0.5, 2.0), Size(1024, 1 << 30)


@pytest.mark.parametrize(
    ("form", "given", "value"),
    [
        (WHOLE, 1, 1), (WHOLE, 9, 9), (REAL, 2, 2.0), (REAL, 0.5, 0.5),
        (SIZE, 1024, 1024), (SIZE, "1 KiB", 1024), (SIZE, "16MiB", 16 << 20),
        (SIZE, 1 << 30, 1 << 30), (SIZE, "4096", 4096),
        (Text(), " a b ", "a b"), (Choice(("a", "b")), "b", "b"), (Switch(), False, False),
        (Mode(), "0660", 0o660), (Mode(), 0o600, 0o600), (Mode(), "0o777", 0o777),
        (Many(WHOLE), [1, 2], (1, 2)), (Many(WHOLE), 3, (3,)), (Many(WHOLE), [1, 1], (1, 1)),
        (Many(WHOLE), [], ()), (VARIABLE, "A_API_KEY", "A_API_KEY"),
    ],
)  # fmt: skip
def test_takes(form: Form, given: object, value: object) -> None:
    assert form.take(given) == value


@pytest.mark.parametrize(
    ("form", "given", "reason"),
    [
        (WHOLE, 0, "from 1 to 9, not 0"), (WHOLE, 10, "not 10"), (WHOLE, True, "not true or false"),
        (WHOLE, 1.0, "not a number"), (WHOLE, "1", "not a text"), (WHOLE, None, "not null"),
        (WHOLE, [1], "not a list"), (WHOLE, {}, "not a table"),
        (REAL, 0.4, "0.5 to 2"), (REAL, 2.1, "0.5 to 2"), (REAL, float("nan"), "nan"),
        (REAL, float("inf"), "inf"), (REAL, True, "true or false"), (REAL, "1", "a text"),
        (SIZE, 1023, "1 KiB to 1 GiB"), (SIZE, (1 << 30) + 1, "1 GiB"), (SIZE, "1 MB", "MiB"),
        (SIZE, "1.5 MiB", "MiB"), (SIZE, "-1", "MiB"), (SIZE, 4096.0, "a number"),
        (SIZE, "", "MiB"),
        (Text(), "", "empty"), (Text(), "  ", "empty"), (Text(), "a\nb", "control"),
        (Text(length_max=3), "abcd", "at most 3"), (Text(), 3, "a whole number"),
        (Choice(("a", "b")), "c", '"a" or "b"'), (Choice(("a",)), 1, '"a"'),
        (Switch(), 1, "true or false"), (Mode(), "888", "0660"), (Mode(), 660, "octal"),
        (Mode(), 0o1777, "octal"), (Mode(), 1.5, "0660"),
        (Many(WHOLE), [1, 0], "[1] must be"), (Many(WHOLE, least=1), [], "1 to 1000 values"),
        (Many(WHOLE, most=2), [1, 2, 3], "0 to 2"), (Distinct(WHOLE), [1, 1], "twice"),
        (VARIABLE, "sk-live-123", "NAME"), (VARIABLE, "1A", "NAME"), (VARIABLE, 3, "NAME"),
    ],
)  # fmt: skip
def test_refuses(form: Form, given: object, reason: str) -> None:
    with pytest.raises(ValueError) as caught:
        form.take(given)
    assert reason in str(caught.value)


@pytest.mark.parametrize(
    ("form", "text", "value"),
    [
        (WHOLE, "7", 7), (WHOLE, "+7", 7), (REAL, "1", 1.0), (SIZE, "1 MiB", 1 << 20),
        (Choice(("a",)), "A", "a"), (Switch(), "Yes", True), (Switch(), "0", False),
        (Mode(), "660", 0o660), (Many(WHOLE), "1, 2,", (1, 2)), (Many(WHOLE), "", ()),
    ],
)  # fmt: skip
def test_reads_text(form: Form, text: str, value: object) -> None:
    assert form.parse(text) == value


@pytest.mark.parametrize(
    ("form", "text"),
    [
        (WHOLE, "x"), (WHOLE, "1_0"), (WHOLE, "9" * 4000), (WHOLE, ""), (WHOLE, "٣"),
        (REAL, "x"), (REAL, "nan"), (REAL, "inf"), (SIZE, "x"), (Switch(), "maybe"),
        (Choice(("a",)), "b"), (Mode(), "rw"), (Many(WHOLE), "1,x"),
    ],
)  # fmt: skip
def test_refuses_text(form: Form, text: str) -> None:
    with pytest.raises(ValueError):
        form.parse(text)


@pytest.mark.parametrize(
    ("form", "value"),
    [
        (WHOLE, 3), (REAL, 1.5), (SIZE, 1 << 20), (SIZE, 1025), (Text(), 'a "b" \\ é'),
        (Choice(("a",)), "a"), (Switch(), True), (Mode(), 0o600), (Many(WHOLE), (1, 2)),
        (Many(WHOLE), (1,)), (Many(WHOLE), ()), (VARIABLE, "A"),
    ],
)  # fmt: skip
def test_a_literal_reads_back(form: Form, value: Any) -> None:
    assert form.take(tomli.loads(f"x = {form.literal(value)}")["x"]) == value
    assert form.take(form.plain(value)) == value
    assert form.describe()


def test_a_key_pasted_for_a_name_is_not_repeated() -> None:
    with pytest.raises(ValueError) as caught:
        VARIABLE.take("pa-SECRET-SECRET")
    assert "SECRET" not in str(caught.value)


@pytest.mark.parametrize(
    ("count", "text"),
    [(0, "0"), (1023, "1023"), (1024, "1 KiB"), (1025, "1025"), (3 << 30, "3 GiB")],
)
def test_sizes_in_words(count: int, text: str) -> None:
    assert size_text(count) == text
