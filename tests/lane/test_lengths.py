"""How long vectors must be: as asked, as told, as seen before; a new length must come often."""

from __future__ import annotations

import pytest

from emr.lane import lengths as module
from emr.lane.lengths import BELIEVED, Lengths
from emr.lane.ticket import Params

KNOWN = {"told": 1024}


@pytest.mark.parametrize(
    ("params", "length"),
    [
        (Params("told"), 1024),
        (Params("told", dimensions=256), 256),
        (Params("other", dimensions=256), 256),
        (Params("told", dtype="int8"), 1024),
        (Params("told", dtype="binary"), 128),
        (Params("told", dtype="ubinary"), 128),
        (Params("told", dtype="binary", dimensions=256), 32),
    ],
)
def test_a_length_that_is_told_is_the_only_right_one(params: Params, length: int) -> None:
    lengths = Lengths(KNOWN)
    for wrong in (length - 1, length + 1, length * 8, 0):
        for _ in range(3):  # however often it comes
            assert f"{wrong} numbers, not {length}" in lengths.fault(params, wrong)
    assert lengths.fault(params, length) == ""


def test_a_length_that_nobody_tells_is_that_of_the_first_answer() -> None:
    lengths = Lengths(KNOWN)
    other = Params("other")
    assert lengths.fault(other, 512) == ""
    assert lengths.fault(other, 512) == ""
    assert "256 numbers, not 512" in lengths.fault(other, 256)
    assert lengths.fault(Params("other", input_type="query"), 256) == "", "another lane"


def test_a_new_length_is_believed_when_it_comes_ten_times_in_a_row() -> None:
    lengths = Lengths({})
    other = Params("other")
    lengths.fault(other, 512)
    for _ in range(BELIEVED - 1):
        assert lengths.fault(other, 256)
    assert lengths.fault(other, 512) == "", "the old one still comes: the others were broken"
    for _ in range(BELIEVED - 1):
        assert lengths.fault(other, 256)
    assert lengths.fault(other, 128), "a third is no further word for the second"
    for _ in range(BELIEVED - 2):
        assert "128 numbers, not 512" in lengths.fault(other, 128)
    assert lengths.fault(other, 128) == "", "the model behind the name was exchanged"
    assert lengths.fault(other, 512)


def test_a_body_that_is_passed_on_whole_has_no_length() -> None:
    assert Lengths(KNOWN).fault(Params("told", whole=b"{}"), 7) == ""


def test_lanes_beyond_those_remembered_are_forgotten_with_all_that_is_known_of_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "REMEMBERED", 3)
    lengths = Lengths({})
    for n in range(10):
        params = Params("other", input_type=f"type {n}")
        assert lengths.fault(params, 512) == ""
        assert lengths.fault(params, 256), "a suspect of each"
        assert len(lengths._seen) <= 3
        assert len(lengths._suspects) <= 3
    first = Params("other", input_type="type 0")
    assert lengths.fault(first, 256) == "", "forgotten: the first answer counts again"
