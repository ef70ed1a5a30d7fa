"""The cache on disk as the loop has it: written behind, read within its time, never in the way."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import Any

import orjson
import pytest

from emr.control.cache import disk as disk_module
from emr.control.cache.disk import Disk
from emr.control.cache.reader import DiskReader
from emr.control.cache.rows import DiskError, digest_of, section_bytes
from emr.control.cache.work import Found, Kept, Sought
from emr.control.cache.writer import DiskWriter
from emr.front.forms.vectors import BASE64, NUMBERS, as_base64
from emr.lane.cache import Key
from emr.lane.ticket import Params
from tests.support.aio import run
from tests.support.scripted import vector_of

KEY: Key = ("space", Params("m"), "")
ROOM = 64 << 20
TEXTS = [b'"%d"' % number for number in range(10)]


@asynccontextmanager
async def opened(path: Path, room: int = ROOM) -> AsyncIterator[Disk]:
    """A disk that is in use."""
    disk = Disk(path, room, asyncio.get_running_loop())
    await asyncio.wrap_future(disk.open())
    try:
        yield disk
    finally:
        await disk.close()


def kept(text: bytes, vector: bytes | None = None, key: Key = KEY) -> Kept:
    return Kept(key, "m", text, vector_of(text) if vector is None else vector)


async def written(disk: Disk, *what: Kept) -> None:
    """Keep these, and wait until they are in the file."""
    for each in what:
        disk.keep(each)
    future = disk.flush()
    assert future is not None
    await asyncio.wrap_future(future)


async def asked(
    disk: Disk, texts: Sequence[bytes], writing: int = NUMBERS, within_s: float = 20.0,
    key: Key = KEY,
) -> Found | None:  # fmt: skip
    """What the disk has of these; None: it is not worth a read."""
    sought = disk.may_have(key, range(len(texts)), texts)
    if not sought:
        return None
    came: asyncio.Future[Found] = asyncio.get_running_loop().create_future()
    disk.read(key, sought, writing, within_s, came.set_result)
    return await came


class Held:
    """Keeps a thread of the disk at a place until it is let go; `there` when it is there."""

    def __init__(self) -> None:
        self._let_go = threading.Event()
        self.loop = asyncio.get_running_loop()
        self.there = asyncio.Event()

    def __call__(self, *args: object) -> Any:
        self.loop.call_soon_threadsafe(self.there.set)
        assert self._let_go.wait(20.0)
        return self.result(*args)

    result: Callable[..., Any] = staticmethod(lambda *args: None)

    def let_go(self) -> None:
        self._let_go.set()


def test_what_is_kept_is_found_in_either_writing(tmp_path: Path) -> None:
    async def main() -> None:
        async with opened(tmp_path / "v.db") as disk:
            base64 = as_base64(vector_of(TEXTS[1]), "float")
            await written(disk, kept(TEXTS[0]), kept(TEXTS[1], base64))
            for writing in (NUMBERS, BASE64):
                found = await asked(disk, [TEXTS[1], TEXTS[2], TEXTS[0]], writing)
                assert found is not None
                assert sorted(found.vectors) == [0, 2]
                for place, text in ((0, TEXTS[1]), (2, TEXTS[0])):
                    vector = found.vectors[place]
                    assert vector[0] == writing
                    wanted = as_base64(vector_of(text), "float")
                    assert (vector if writing == BASE64 else as_base64(vector, "float")) == wanted
                assert found.origin == (8, "m", "")

    run(main())


def test_what_the_file_does_not_have_is_not_asked(tmp_path: Path) -> None:
    async def main() -> None:
        async with opened(tmp_path / "v.db") as disk:
            assert await asked(disk, TEXTS) is None
            await written(disk, kept(TEXTS[0]))
            assert disk.may_have(KEY, [1, 2], TEXTS) == []
            sought = disk.may_have(KEY, [0, 1, 2], TEXTS)
            assert sought == [Sought(0, digest_of(section_bytes(KEY), TEXTS[0]), TEXTS[0])]
            other: Key = ("space", Params("m", input_type="query"), "")
            assert disk.may_have(other, [0], TEXTS) == []

    run(main())


def test_it_is_there_after_a_start_and_not_before_it_is_open(tmp_path: Path) -> None:
    async def main() -> None:
        async with opened(tmp_path / "v.db") as disk:
            await written(disk, *[kept(text) for text in TEXTS])
        again = Disk(tmp_path / "v.db", ROOM, asyncio.get_running_loop())
        assert again.may_have(KEY, range(10), TEXTS) == []
        await asyncio.wrap_future(again.open())
        found = await asked(again, TEXTS)
        assert found is not None
        got = [as_base64(found.vectors[place], "float") for place in range(10)]
        assert got == [as_base64(vector_of(text), "float") for text in TEXTS]
        assert again.work.figures().entries == 10
        await again.close()

    run(main())


def test_close_writes_what_was_kept(tmp_path: Path) -> None:
    async def main() -> None:
        async with opened(tmp_path / "v.db") as disk:
            disk.keep(kept(TEXTS[0]))
        async with opened(tmp_path / "v.db") as disk:
            assert await asked(disk, TEXTS[:1]) is not None

    run(main())


@pytest.mark.parametrize(("more", "flushed"), [(-1, False), (0, True), (1, True)])
def test_a_long_list_is_written_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, more: int, flushed: bool
) -> None:
    async def main() -> None:
        async with opened(tmp_path / "v.db") as disk:
            size = len(TEXTS[0]) + len(vector_of(TEXTS[0]))
            monkeypatch.setattr(disk_module, "FLUSH_BYTES", size - more)
            disk.keep(kept(TEXTS[0]))
            assert (disk.flush() is None) is flushed

    run(main())


@pytest.mark.parametrize(("spare", "dropped"), [(-1, 1), (0, 0), (1, 0)])
def test_what_the_disk_cannot_keep_up_with_is_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, spare: int, dropped: int
) -> None:
    async def main() -> None:
        async with opened(tmp_path / "v.db") as disk:
            sizes = [len(text) + len(vector_of(text)) for text in TEXTS[:2]]
            monkeypatch.setattr(disk_module, "BEHIND_BYTES", sum(sizes) + spare)
            held = Held()
            disk._writes.submit(held)
            await held.there.wait()
            disk.keep(kept(TEXTS[0]))
            first = disk.flush()
            disk.keep(kept(TEXTS[1]))
            assert disk.dropped == dropped
            held.let_go()
            assert first is not None
            await asyncio.wrap_future(first)
        async with opened(tmp_path / "v.db") as disk:
            assert disk.work.figures().entries == 2 - dropped

    run(main())


# reads that take too long


def test_a_read_that_takes_too_long_is_nothing_and_holds_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def main() -> None:
        async with opened(tmp_path / "v.db") as disk:
            await written(disk, *[kept(text) for text in TEXTS])
            held = Held()
            held.result = disk.work.read
            monkeypatch.setattr(disk.work, "read", held)
            monkeypatch.setattr(disk_module, "READ_S", 0.0)
            assert await asked(disk, TEXTS) == disk_module.NOTHING
            assert disk.late == 1
            assert disk.may_have(KEY, range(10), TEXTS) == [], "nothing is asked meanwhile"
            monkeypatch.setattr(disk_module, "READ_S", 20.0)
            held.let_go()
            while disk.late:
                await asyncio.sleep(0)
            found = await asked(disk, TEXTS)
            assert found is not None
            assert len(found.vectors) == 10

    run(main())


@pytest.mark.parametrize("within_s", [-1.0, 0.0])
def test_a_caller_without_time_does_not_wait(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, within_s: float
) -> None:
    async def main() -> None:
        async with opened(tmp_path / "v.db") as disk:
            await written(disk, kept(TEXTS[0]))
            held = Held()
            held.result = disk.work.read
            monkeypatch.setattr(disk.work, "read", held)
            assert await asked(disk, TEXTS[:1], within_s=within_s) == disk_module.NOTHING
            held.let_go()
            while disk.late:
                await asyncio.sleep(0)

    run(main())


# clear


def test_clear_forgets_what_is_kept_what_is_written_and_what_is_being_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def main() -> None:
        async with opened(tmp_path / "v.db") as disk:
            await written(disk, *[kept(text) for text in TEXTS[:5]])
            held = Held()
            held.result = disk.work.read
            monkeypatch.setattr(disk.work, "read", held)
            reading = asyncio.ensure_future(asked(disk, TEXTS[:5]))
            await held.there.wait()
            disk.keep(kept(TEXTS[5]))
            cleared = disk.clear()
            assert disk.may_have(KEY, range(10), TEXTS) == []
            assert await asyncio.wrap_future(cleared) == ""
            held.let_go()
            assert await reading == disk_module.NOTHING
            assert disk.work.figures().entries == 0
            await asyncio.sleep(0)
            assert disk.may_have(KEY, range(10), TEXTS) == [], "the filter is empty, too"
            await written(disk, kept(TEXTS[6]))
            assert await asked(disk, TEXTS[6:7]) is not None

    run(main())


# trouble


def refusing(passes: bool) -> Callable[..., Any]:
    def refuse(*args: object) -> Any:
        raise DiskError("it said no", passes=passes)

    return refuse


def test_a_write_that_was_refused_is_told_once_and_the_next_may_succeed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def main() -> None:
        async with opened(tmp_path / "v.db") as disk:
            with monkeypatch.context() as patch:
                patch.setattr(DiskWriter, "write", refusing(passes=True))
                for text in TEXTS[:3]:
                    await written(disk, kept(text))
                assert disk.work.trouble == "it said no"
                assert not disk.work.is_off
            await written(disk, kept(TEXTS[3]))
            assert disk.work.trouble == ""
            assert await asked(disk, TEXTS[3:4]) is not None

    run(main())
    assert caplog.text.count("it said no") == 1


def test_what_could_not_be_cleared_is_not_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def main() -> None:
        async with opened(tmp_path / "v.db") as disk:
            await written(disk, *[kept(text) for text in TEXTS[:2]])
            with monkeypatch.context() as patch:
                patch.setattr(DiskWriter, "clear", refusing(passes=True))
                assert await asyncio.wrap_future(disk.clear()) == "it said no"
            await asyncio.sleep(0)
            assert disk.work.figures().entries == 2
            assert disk.may_have(KEY, range(2), TEXTS) == []
            await written(disk, kept(TEXTS[0]))
            assert [each.place for each in disk.may_have(KEY, range(2), TEXTS)] == [0]
            assert disk.work.figures().entries == 2, "the new one took the old one's place"

    run(main())


def test_a_file_that_will_not_mend_is_not_used_any_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def main() -> None:
        async with opened(tmp_path / "v.db") as disk:
            await written(disk, kept(TEXTS[0]))
            monkeypatch.setattr(DiskReader, "read", refusing(passes=False))
            assert await asked(disk, TEXTS[:1]) == disk_module.NOTHING
            assert disk.work.is_off
            assert disk.may_have(KEY, [0], TEXTS) == []
            disk.keep(kept(TEXTS[1]))
            assert disk.flush() is None
            assert disk.dropped == 0

    run(main())
    assert caplog.text.count("is not used: it said no") == 1


def test_a_file_that_cannot_be_opened_is_no_cache(tmp_path: Path) -> None:
    async def main() -> None:
        (tmp_path / "v.db").write_bytes(b"something else " * 100)
        (tmp_path / "v.db").chmod(0o600)
        async with opened(tmp_path / "v.db") as disk:
            assert "no SQLite database" in disk.work.trouble
            disk.keep(kept(TEXTS[0]))
            assert disk.flush() is None
            assert disk.work.figures() == (0, 0, 0)
            assert await asyncio.wrap_future(disk.clear()) == disk.work.trouble

    run(main())


def test_an_error_of_emrs_own_in_a_thread_is_logged_and_nobody_hangs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(*args: object) -> Any:
        raise LookupError("a bug")

    async def main() -> None:
        async with opened(tmp_path / "v.db") as disk:
            await written(disk, kept(TEXTS[0]))
            with monkeypatch.context() as patch:
                patch.setattr(disk.work, "read", broken)
                assert await asked(disk, TEXTS[:1]) == disk_module.NOTHING
                patch.setattr(disk.work, "write", broken)
                disk.keep(kept(TEXTS[1]))
                future = disk.flush()
                assert future is not None
                await asyncio.gather(asyncio.wrap_future(future), return_exceptions=True)
            assert await asked(disk, TEXTS[:1]) is not None

    run(main())
    assert caplog.text.count("met an error of emr's own") == 2


def test_a_vector_that_is_none_is_left_out(tmp_path: Path) -> None:
    async def main() -> None:
        async with opened(tmp_path / "v.db") as disk:
            await written(disk, kept(TEXTS[0], b'"***"'), kept(TEXTS[1]))
            assert disk.work.figures().entries == 1

    run(main())


def test_what_was_read_and_what_was_not_believed_is_told_to_the_writer(tmp_path: Path) -> None:
    async def main() -> None:
        async with opened(tmp_path / "v.db") as disk:
            await written(disk, kept(TEXTS[0]), kept(TEXTS[1]))
            writer = disk.work.writer
            assert writer is not None

            def spoil() -> None:
                writer._connection.execute("UPDATE vectors SET seal = x'00' WHERE id = 2")

            await asyncio.wrap_future(disk._writes.submit(spoil))
            found = await asked(disk, TEXTS[:2])
            assert found is not None
            assert (list(found.vectors), found.rows, found.bad) == ([0], [1], [2])
            future = disk.flush()
            assert future is not None
            await asyncio.wrap_future(future)
            assert disk.work.figures().entries == 1

            def marks() -> list[Any]:
                return writer._connection.execute("SELECT id, was_read FROM vectors").fetchall()

            assert await asyncio.wrap_future(disk._writes.submit(marks)) == [(1, 1)]

    run(main())


@pytest.mark.parametrize("dtype", ["int8", "uint8", "binary", "ubinary"])
def test_quantised_vectors_come_back_as_they_were(tmp_path: Path, dtype: str) -> None:
    async def main() -> None:
        key: Key = ("space", Params("m", dtype=dtype), "")
        numbers = [0, 1, 127, 5] if dtype in ("uint8", "ubinary") else [0, 1, 127, -128]
        async with opened(tmp_path / "v.db") as disk:
            await written(disk, kept(TEXTS[0], orjson.dumps(numbers), key))
            found = await asked(disk, TEXTS[:1], key=key)
            assert found is not None
            assert orjson.loads(found.vectors[0]) == numbers
            assert found.origin.length == 4

    run(main())


def test_the_file_is_whole_when_it_is_read_beside_the_writer(tmp_path: Path) -> None:
    """A reader sees a moment: the section and its rows of one commit."""
    path = tmp_path / "v.db"

    async def main() -> None:
        async with opened(path) as disk:
            for number in range(30):
                model = f"m-{number % 2}"
                disk.keep(Kept(KEY, model, TEXTS[0], vector_of(b"%d" % number)))
                future = disk.flush()
                found = await asked(disk, TEXTS[:1])
                assert found is None or found.bad == []
                assert future is not None
                await asyncio.wrap_future(future)

    run(main())
    with closing(DiskReader(path)) as reader:
        section = section_bytes(KEY)
        read = reader.read(section, [(digest_of(section, TEXTS[0]), TEXTS[0])])
    assert (read.model, len(read.vectors)) == ("m-1", 1)
