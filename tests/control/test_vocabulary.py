"""Token ids: texts again where the vocabulary is there, refused where it is not."""

from __future__ import annotations

import os
from pathlib import Path

import orjson
import pytest

from emr.control.vocabulary import NAME, Vocabulary, decoded, words_of
from emr.front.desk import Ask
from emr.front.forms.texts import MAX_TEXT_BYTES
from emr.lane.refusal import Refused
from tests.control.routed import SMALL, SMALL_CHECKSUM, SMALL_FILE, Routed, row_of, server
from tests.support.aio import run

HELLO, WORLD, FIRST, SECOND, NEVER = range(len(SMALL))
VOYAGE, OPENAI = row_of("voyage", "voyage"), row_of("openai", "openai")


def vocabulary(folder: Path, data: bytes = SMALL_FILE) -> Vocabulary:
    (folder / NAME).write_bytes(data)
    return Vocabulary({"TIKTOKEN_CACHE_DIR": str(folder)}, SMALL_CHECKSUM)


def ask_of(*texts: list[int], single: bool = False) -> Ask:
    return Ask(texts=[orjson.dumps(ids) for ids in texts], token_ids=True, single=single)


# the file


def test_where_it_is_looked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / NAME).write_bytes(SMALL_FILE)
    for name in ("TIKTOKEN_CACHE_DIR", "DATA_GYM_CACHE_DIR"):
        assert Vocabulary({name: str(tmp_path)}, SMALL_CHECKSUM).is_there()
    first = {"TIKTOKEN_CACHE_DIR": "/nowhere", "DATA_GYM_CACHE_DIR": str(tmp_path)}
    assert not Vocabulary(first, SMALL_CHECKSUM).is_there()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    assert not Vocabulary({}, SMALL_CHECKSUM).is_there()
    (tmp_path / "data-gym-cache").mkdir()
    (tmp_path / NAME).rename(tmp_path / "data-gym-cache" / NAME)
    assert Vocabulary({}, SMALL_CHECKSUM).is_there()


def test_without_a_folder_that_can_be_written_there_is_none(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def nowhere() -> str:
        raise FileNotFoundError("No usable temporary directory found")

    monkeypatch.setattr("tempfile.gettempdir", nowhere)
    assert not Vocabulary({}, SMALL_CHECKSUM).is_there()


def test_another_file_is_no_vocabulary_until_it_is_replaced(tmp_path: Path) -> None:
    found = vocabulary(tmp_path, b"aGVsbG8= 0\n")
    assert not found.is_there()
    assert not found.is_there(), "not read again"
    (tmp_path / NAME).write_bytes(SMALL_FILE)
    assert found.is_there()
    (tmp_path / NAME).unlink()
    assert found.is_there(), "it was read"


def test_a_file_that_appears_later_is_found(tmp_path: Path) -> None:
    found = Vocabulary({"TIKTOKEN_CACHE_DIR": str(tmp_path)}, SMALL_CHECKSUM)
    assert not found.is_there()
    (tmp_path / NAME).write_bytes(SMALL_FILE)
    os.chmod(tmp_path / NAME, 0o400)
    assert found.is_there()


@pytest.mark.parametrize("data", [b"!!! 0\n", b"aGVsbG8= 1\n", b"aGVsbG8= x\n", b"aGVsbG8=\n"])
def test_lines_that_are_none(data: bytes) -> None:
    with pytest.raises(ValueError):
        words_of(data)


# ids


@pytest.mark.parametrize(
    ("ids", "text"),
    [
        ([HELLO, WORLD], "hello world"), ([HELLO], "hello"), ([FIRST, SECOND], "é"),
        ([SECOND, HELLO], "hello"), ([HELLO, FIRST], "hello"), ([FIRST, SECOND, FIRST], "é"),
        ([SECOND, FIRST, SECOND, FIRST], "é"),
    ],
)  # fmt: skip
def test_texts_of_ids(tmp_path: Path, ids: list[int], text: str) -> None:
    found = vocabulary(tmp_path)
    assert found.is_there()
    assert [orjson.loads(each) for each in found.texts_of(ask_of(ids, [HELLO]))] == [text, "hello"]


@pytest.mark.parametrize(
    ("ids", "words"),
    [
        ([HELLO, len(SMALL)], "not in OpenAI's vocabulary"), ([2**31 - 1], "not in OpenAI's"),
        ([HELLO, NEVER, HELLO], "not a text"), ([HELLO, FIRST, HELLO, HELLO], "not a text"),
        ([FIRST], "not a text"), ([SECOND], "not a text"), ([NEVER], "not a text"),
        ([WORLD] * (MAX_TEXT_BYTES // 6 + 1), f"longer than {MAX_TEXT_BYTES} bytes"),
    ],
    ids=lambda value: str(value)[:24],
)  # fmt: skip
def test_ids_that_are_no_text(tmp_path: Path, ids: list[int], words: str) -> None:
    found = vocabulary(tmp_path)
    assert found.is_there()
    with pytest.raises(Refused) as caught:
        found.texts_of(ask_of([HELLO], ids))
    assert words in caught.value.refusal.message
    assert caught.value.refusal.param == "input[1]"
    with pytest.raises(Refused) as caught:
        found.texts_of(ask_of(ids, single=True))
    assert caught.value.refusal.param == "input"


@pytest.mark.parametrize("cut", range(1, 4))
def test_letters_cut_in_two(cut: int) -> None:
    letter = "👩".encode()
    assert decoded(letter[cut:] + b"abc") == "abc"
    assert decoded(b"abc" + letter[:cut]) == "abc"
    assert decoded(b"abc" + letter) == "abc👩"
    assert decoded(b"a" + letter[cut:] + b"abcd") == ""
    assert decoded(b"a" + letter[:cut] + b"abcd") == ""


# the desk


def test_ids_become_texts_for_those_who_do_not_know_them(tmp_path: Path) -> None:
    async def main() -> None:
        async with Routed(VOYAGE, OPENAI) as routed:
            routed.environment["TIKTOKEN_CACHE_DIR"] = str(tmp_path)
            asked = ask_of([HELLO, WORLD])
            asked.provider = "voyage"
            with pytest.raises(Refused, match="TIKTOKEN_CACHE_DIR"):
                routed.resolve(asked)
            vocabulary(tmp_path)
            for _ in range(2):  # the second time it is known where such requests go
                plan = routed.resolve(asked)
                assert plan.texts == [b'"hello world"']
                assert not plan.params.token_ids
            asked.provider = "openai"
            plan = routed.resolve(asked)
            assert plan.texts == [b"[0,1]"]
            assert plan.params.token_ids

    run(main())


def test_ids_in_a_body_that_is_passed_on_whole_are_refused(tmp_path: Path) -> None:
    async def main() -> None:
        async with Routed(server("own"), OPENAI) as routed:
            routed.environment["TIKTOKEN_CACHE_DIR"] = str(tmp_path)
            vocabulary(tmp_path)
            asked = ask_of([HELLO])
            asked.whole, asked.unknown = b'{"input":[[0]],"x":1}', ("x",)
            asked.provider = "own"
            with pytest.raises(Refused, match="does not take token ids"):
                routed.resolve(asked)
            asked.provider = "openai"
            assert routed.resolve(asked).params.whole is not None

    run(main())
