"""The file of the cache: the right vector or nothing, whatever became of the file."""

from __future__ import annotations

import sqlite3
import stat
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from emr.control.cache import rows as rows_module
from emr.control.cache.reader import DiskReader, Read
from emr.control.cache.rows import (
    APPLICATION_ID,
    ROW_BYTES,
    VERSION,
    DiskError,
    Row,
    digest_of,
    section_bytes,
)
from emr.control.cache.writer import PART_OF_ALL, DiskWriter
from emr.lane.ticket import Params
from tests.control.parts import unprivileged

AMPLE = 1 << 30
SECTION = section_bytes(("space", Params("m"), ""))
OTHER = section_bytes(("space", Params("m", input_type="query"), ""))
RAW = bytes(range(256)) * 16


def row_of(name: object, raw: bytes = RAW, section: bytes = SECTION, model: str = "m") -> Row:
    return Row(section, model, b'"%s"' % str(name).encode(), raw)


def raw_of(name: object) -> bytes:
    """A vector of 4,096 bytes that belongs to a name."""
    return str(name).encode().ljust(16, b".") * 256


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "deep" / "vectors.db"


@pytest.fixture
def writer(path: Path) -> Iterator[DiskWriter]:
    with closing(DiskWriter(path, AMPLE)) as made:
        yield made


def read(path: Path, *texts: bytes, section: bytes = SECTION) -> Read:
    with closing(DiskReader(path)) as reader:
        return reader.read(section, [(digest_of(section, text), text) for text in texts])


def names_in(path: Path, count: int) -> list[int]:
    """Which of the rows named 0 to count are in the file, each with its own vector."""
    found = read(path, *[row_of(name).text for name in range(count)])
    assert found.bad == []
    for name, raw in found.vectors.items():
        assert raw == raw_of(name)
    return sorted(found.vectors)


# what is read


def test_what_was_written_is_read_bit_for_bit(path: Path, writer: DiskWriter) -> None:
    numbered = writer.write([row_of("a"), row_of("b", RAW[::-1])])
    assert [number for number, _ in numbered] == [1, 2]
    found = read(path, b'"b"', b'"c"', b'"a"')
    assert found.vectors == {0: RAW[::-1], 2: RAW}
    assert (found.model, found.rows, found.bad) == ("m", [2, 1], [])
    assert writer.entries == 2


@pytest.mark.parametrize("text", [b'"A"', b'"a "', b"a", b""])
def test_another_text_is_nothing_even_by_the_same_digest(
    path: Path, writer: DiskWriter, text: bytes
) -> None:
    writer.write([row_of("a")])
    with closing(DiskReader(path)) as reader:
        found = reader.read(SECTION, [(digest_of(SECTION, b'"a"'), text)])
    assert (found.vectors, found.bad) == ({}, [])


def test_another_section_is_nothing_even_by_the_same_digest(path: Path, writer: DiskWriter) -> None:
    writer.write([row_of("a"), row_of("b", section=OTHER)])
    with closing(DiskReader(path)) as reader:
        assert reader.read(OTHER, [(digest_of(SECTION, b'"a"'), b'"a"')]).vectors == {}
        assert reader.read(b"nobody's", [(digest_of(SECTION, b'"a"'), b'"a"')]).vectors == {}


def test_sections_differ_in_each_of_their_parts() -> None:
    keys = [
        ("s", Params("m"), ""), ("t", Params("m"), ""), ("s", Params("n"), ""),
        ("s", Params("m"), "key"), ("s", Params("m", input_type="query"), ""),
        ("s", Params("m", truncate="query"), ""), ("s", Params("m", dimensions=1), ""),
        ("s", Params("m", dtype="int8"), ""), ("s", Params("m", token_ids=True), ""),
    ]  # fmt: skip
    assert len({section_bytes(key) for key in keys}) == len(keys)
    assert len({digest_of(section_bytes(key), b"a") for key in keys}) == len(keys)


def test_no_border_between_section_and_text_can_be_moved() -> None:
    assert digest_of(b"ab", b"c") != digest_of(b"a", b"bc")
    assert Row(b"ab", "c", b"d", b"e").seal != Row(b"a", "bc", b"d", b"e").seal
    assert Row(b"a", "b", b"cd", b"e").seal != Row(b"a", "b", b"c", b"de").seal


@pytest.mark.parametrize(
    "damage",
    [
        "UPDATE vectors SET vector = x'FF' || substr(vector, 2)",
        "UPDATE vectors SET vector = substr(vector, 1, length(vector) - 1)",
        "UPDATE vectors SET vector = (SELECT vector FROM vectors WHERE id = 2) WHERE id = 1",
        "UPDATE vectors SET seal = x'00'",
        "UPDATE sections SET model = 'n'",
        "UPDATE sections SET size = size + 4",
    ],
)
def test_a_row_that_is_not_what_was_written_is_not_believed(
    path: Path, writer: DiskWriter, damage: str
) -> None:
    writer.write([row_of("a"), row_of("b", RAW[::-1])])
    with closing(sqlite3.connect(path)) as other:
        other.execute(damage)
        other.commit()
    found = read(path, b'"a"')
    assert (found.vectors, found.bad) == ({}, [1])
    writer.remove(found.bad)
    assert read(path, b'"a"').bad == []
    assert writer.entries == 1


def test_rows_moved_to_another_text_or_section_are_not_believed(
    path: Path, writer: DiskWriter
) -> None:
    writer.write([row_of("a"), row_of("b", section=OTHER)])
    with closing(sqlite3.connect(path)) as other:
        other.execute("UPDATE vectors SET digest = 0 WHERE id = 2")
        other.execute(
            "UPDATE vectors SET digest = ?, text = ?, section = 1 WHERE id = 2",
            (digest_of(SECTION, b'"c"'), b'"c"'),
        )
        other.commit()
    assert read(path, b'"c"').vectors == {}


@pytest.mark.parametrize(
    "new", [row_of("b", RAW + b"1234"), row_of("b", RAW[4:]), row_of("b", model="m-2")]
)
def test_of_an_exchanged_model_nothing_old_comes_back(
    path: Path, writer: DiskWriter, new: Row
) -> None:
    writer.write([row_of("a"), row_of("a", section=OTHER)])
    writer.write([new])
    assert read(path, b'"a"').vectors == {}
    assert list(read(path, b'"b"').vectors.values()) == [new.raw]
    assert read(path, b'"a"', section=OTHER).vectors == {0: RAW}, "other lanes are not concerned"


def test_the_last_of_equal_texts_stays(path: Path, writer: DiskWriter) -> None:
    writer.write([row_of("a"), row_of("a", RAW[::-1])])
    assert read(path, b'"a"').vectors == {0: RAW[::-1]}
    writer.write([row_of("a")])
    assert read(path, b'"a"').vectors == {0: RAW}
    assert writer.entries == 1


# files


def test_the_file_is_its_owners_alone(path: Path, writer: DiskWriter) -> None:
    writer.write([row_of("a")])
    for each in (path, *path.parent.glob("vectors.db-*")):
        assert stat.S_IMODE(each.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


def test_it_is_there_after_a_start(path: Path) -> None:
    with closing(DiskWriter(path, AMPLE)) as first:
        first.write([row_of("a"), row_of("b")])
    with closing(DiskWriter(path, AMPLE)) as second:
        assert second.entries == 2
        assert sorted([number for number, _ in second.digests()]) == [1, 2]
        assert {digest for _, digest in second.digests()} == {
            digest_of(SECTION, b'"a"'), digest_of(SECTION, b'"b"'),
        }  # fmt: skip
        assert [number for number, _ in second.write([row_of("c")])] == [3]
        assert second.oldest() == 1
    assert read(path, b'"a"', b'"c"').vectors == {0: RAW, 1: RAW}


def refused(path: Path) -> DiskError:
    """Why a file is not used; it is left as it was."""
    before = path.read_bytes()
    with pytest.raises(DiskError) as caught:
        DiskWriter(path, AMPLE)
    assert path.read_bytes() == before
    return caught.value


def test_a_file_of_another_program_is_left_alone(path: Path) -> None:
    path.parent.mkdir()
    with closing(sqlite3.connect(path)) as other:
        other.execute("CREATE TABLE theirs (a)")
        other.commit()
    path.chmod(0o600)
    error = refused(path)
    assert "another program" in str(error)
    assert not error.passes


@pytest.mark.parametrize(("version", "is_used"), [(VERSION - 1, True), (VERSION, True)])
def test_a_file_of_this_version_is_used(path: Path, version: int, is_used: bool) -> None:
    DiskWriter(path, AMPLE).close()
    with closing(sqlite3.connect(path)) as other:
        other.execute(f"PRAGMA user_version = {version}")
    with closing(DiskWriter(path, AMPLE)) as again:
        assert again.entries == 0


def test_a_file_of_a_later_version_is_left_alone(path: Path) -> None:
    DiskWriter(path, AMPLE).close()
    with closing(sqlite3.connect(path)) as other:
        other.execute(f"PRAGMA user_version = {VERSION + 1}")
    assert "later emr" in str(refused(path))


def test_a_file_that_is_no_database_is_left_alone(path: Path) -> None:
    path.parent.mkdir()
    path.write_bytes(b"not a database at all " * 500)
    path.chmod(0o600)
    error = refused(path)
    assert "no SQLite database" in str(error)
    assert not error.passes


def test_a_damaged_file_is_told_of_and_gives_no_vector(path: Path) -> None:
    with closing(DiskWriter(path, AMPLE)) as writer:
        writer.write([row_of(name) for name in range(100)])
    with path.open("r+b") as stream:
        stream.seek(4096 * 2)
        stream.write(b"\xff" * 4096 * 40)
    found: set[bytes] = set()
    errors = []
    for name in range(100):
        try:
            found |= set(read(path, row_of(name).text).vectors.values())
        except DiskError as error:
            errors.append(error)
    assert found <= {RAW}
    assert errors
    assert not any(error.passes for error in errors)


def test_a_folder_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    shut = tmp_path / "shut"
    shut.mkdir(mode=0o555)
    with unprivileged(), pytest.raises(DiskError) as caught:
        DiskWriter(shut / "in" / "vectors.db", AMPLE)
    assert "Permission denied" in str(caught.value)


def test_a_reader_of_no_file_is_refused(path: Path) -> None:
    with pytest.raises(DiskError):
        DiskReader(path)


def test_a_full_disk_passes_and_loses_what_it_could_not_take(
    path: Path, writer: DiskWriter
) -> None:
    writer.write([row_of(0, raw_of(0))])
    pages = writer._connection.execute("PRAGMA page_count").fetchone()[0]
    writer._connection.execute(f"PRAGMA max_page_count = {pages + 1}")
    with pytest.raises(DiskError) as caught:
        writer.write([row_of(name, raw_of(name)) for name in range(1, 20)])
    assert caught.value.passes
    assert writer.entries == 1
    assert names_in(path, 20) == [0]
    writer._connection.execute(f"PRAGMA max_page_count = {pages + 1000}")
    writer.write([row_of(name, raw_of(name)) for name in range(1, 20)])
    assert names_in(path, 20) == list(range(20))
    assert writer.entries == 20


def test_a_lock_of_another_passes(
    path: Path, writer: DiskWriter, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer._connection.execute("PRAGMA busy_timeout = 1")
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(DiskError) as caught:
            writer.write([row_of("a")])
        assert caught.value.passes
        other.execute("ROLLBACK")
    writer.write([row_of("a")])
    assert read(path, b'"a"').vectors == {0: RAW}


def test_two_at_one_file_do_not_mix_up_rows(path: Path, writer: DiskWriter) -> None:
    with closing(DiskWriter(path, AMPLE)) as other:
        writer.write([row_of(0, raw_of(0))])
        other.write([row_of(1, raw_of(1))])
        writer.write([row_of(2, raw_of(2))])
    assert names_in(path, 4) == [0, 1, 2]


# room

ROOM = 1 << 20


def test_the_file_keeps_to_its_room_and_the_oldest_go(path: Path) -> None:
    with closing(DiskWriter(path, ROOM)) as writer:
        for start in range(0, 1000, 10):
            writer.write([row_of(name, raw_of(name)) for name in range(start, start + 10)])
            assert writer.bytes <= ROOM
        there = names_in(path, 1000)
        assert there == list(range(1000 - len(there), 1000))
        assert len(there) == writer.entries > 120, "of 4.4 KB each in 1 MiB"
        assert writer.evictions == 1000 - len(there)
        assert writer.oldest() == there[0] + 1
    assert path.stat().st_size <= ROOM


def test_what_was_read_gets_a_second_chance_once(path: Path) -> None:
    with closing(DiskWriter(path, ROOM)) as writer:
        writer.write([row_of(name, raw_of(name)) for name in range(20)])
        writer.were_read(read(path, *[row_of(name).text for name in range(5)]).rows)
        numbered = []
        name = 20
        while 5 in names_in(path, 20):
            numbered += writer.write([row_of(name, raw_of(name))])
            name += 1
        assert names_in(path, 5) == [0, 1, 2, 3, 4]
        digests = {digest_of(SECTION, row_of(each).text) for each in range(5)}
        assert digests <= {digest for _, digest in numbered}, "the filter is told of new numbers"
        for more in range(name, name + 400):
            writer.write([row_of(more, raw_of(more))])
        assert names_in(path, 20) == []


@pytest.mark.parametrize(("spare", "there"), [(-1, 1), (0, 1), (1, 0)])
def test_a_row_over_a_quarter_of_the_room_is_left_out(path: Path, spare: int, there: int) -> None:
    with closing(DiskWriter(path, ROOM)) as writer:
        raw = bytes(ROOM // PART_OF_ALL - ROW_BYTES - 3 + spare)
        assert len(writer.write([row_of("a", raw)])) == there
        assert len(read(path, b'"a"').vectors) == there
        assert writer.bytes <= ROOM


def test_a_smaller_room_after_a_start_shrinks_the_file(path: Path) -> None:
    with closing(DiskWriter(path, ROOM)) as writer:
        writer.write([row_of(name, raw_of(name)) for name in range(200)])
        before = writer.bytes
    with closing(DiskWriter(path, ROOM // 4)) as writer:
        assert writer.bytes <= ROOM // 4 < before
        assert names_in(path, 200)[-1] == 199
    assert path.stat().st_size <= ROOM // 4


def test_clear_empties_the_file_and_numbers_go_on(path: Path, writer: DiskWriter) -> None:
    writer.write([row_of(name, raw_of(name)) for name in range(300)])
    large = writer.bytes
    writer.clear()
    assert (writer.entries, read(path, b'"1"').vectors) == (0, {})
    assert writer.bytes < large // 10
    assert writer.oldest() == 301
    assert [number for number, _ in writer.write([row_of("a")])] == [301]


def test_what_is_written_says_what_it_is(path: Path) -> None:
    DiskWriter(path, AMPLE).close()
    with closing(sqlite3.connect(path)) as other:
        (told,) = other.execute("PRAGMA application_id").fetchone()
        (mode,) = other.execute("PRAGMA journal_mode").fetchone()
    assert (told, mode) == (APPLICATION_ID, "wal")
    assert rows_module.BUSY_TIMEOUT_S > 0
