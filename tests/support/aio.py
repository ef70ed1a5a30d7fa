"""Runs a coroutine of a test on the loop that emr uses, within a bound of time."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

import uvloop

T = TypeVar("T")


def run(main: Coroutine[Any, Any, T], timeout_s: float = 30.0) -> T:
    """Run `main` on uvloop to its end; raises TimeoutError past `timeout_s`."""

    async def bounded() -> T:
        async with asyncio.timeout(timeout_s):
            return await main

    return uvloop.run(bounded())
