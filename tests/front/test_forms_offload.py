"""Work in threads: its result comes back on the loop, and nothing is ever lost in between."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from emr.front.offload import BROKEN, Threads, at_once, attempt
from emr.lane.refusal import Refusal, Refused
from tests.support.aio import run

NO = Refusal("validation_error", "no")


def refuses() -> str:
    raise Refused(NO)


def breaks() -> str:
    raise ZeroDivisionError("a bug")


def threaded(work: Any) -> tuple[Any, list[BaseException], bool]:
    """What `then` got, what was told as broken, and whether `then` ran on the loop's thread."""

    async def main() -> tuple[Any, list[BaseException], bool]:
        broken: list[BaseException] = []
        loop = asyncio.get_running_loop()
        came: asyncio.Future[tuple[Any, int]] = loop.create_future()
        with ThreadPoolExecutor(1) as executor:
            offload = Threads(loop, executor, broken.append)
            offload(work, lambda result: came.set_result((result, threading.get_ident())))
            assert not came.done()
            result, thread = await came
        return result, broken, thread == threading.get_ident()

    return run(main())


def test_the_result_comes_back_on_the_loop() -> None:
    result, broken, on_loop = threaded(threading.get_ident)
    assert result != threading.get_ident()
    assert (broken, on_loop) == ([], True)


def test_a_refusal_comes_back_as_one() -> None:
    assert threaded(refuses) == (NO, [], True)


def test_a_bug_is_told_and_answered() -> None:
    result, broken, on_loop = threaded(breaks)
    assert (result, on_loop) == (BROKEN, True)
    assert [type(error) for error in broken] == [ZeroDivisionError]


def test_work_that_never_ran_is_answered() -> None:
    async def main() -> Any:
        loop = asyncio.get_running_loop()
        came: asyncio.Future[Any] = loop.create_future()
        hold, started = threading.Event(), threading.Event()

        def blocks() -> None:
            started.set()
            hold.wait(10)

        executor = ThreadPoolExecutor(1)
        offload = Threads(loop, executor, lambda error: None)
        offload(blocks, lambda result: None)
        started.wait(10)
        offload(lambda: "never", came.set_result)
        executor.shutdown(wait=False, cancel_futures=True)
        hold.set()
        return await came

    assert run(main()) == BROKEN


def test_at_once() -> None:
    got: list[Any] = []
    at_once(lambda: 1, got.append)
    at_once(refuses, got.append)
    assert got == [1, NO]
    with pytest.raises(ZeroDivisionError):
        attempt(breaks)
