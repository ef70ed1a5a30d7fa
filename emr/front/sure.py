"""What is done in a later turn of the loop, where no caller of it could answer for it.

An exception there is a bug of emr's: it goes on to whoever logs it, and the client is told so.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from emr.front.exchange import Exchange, Stage
from emr.front.faults import internal_error
from emr.front.refusals import render


@contextmanager
def sure_answer(exchange: Exchange) -> Iterator[None]:
    """What is done inside ends the exchange."""
    try:
        yield
    finally:
        _end(exchange)


@contextmanager
def answered_if_it_fails(exchange: Exchange) -> Iterator[None]:
    """What is done inside may leave the answer to a later turn, unless it raises."""
    failed = True
    try:
        yield
        failed = False
    finally:
        if failed:
            _end(exchange)


def _end(exchange: Exchange) -> None:
    if exchange.stage is Stage.WAITING:
        exchange.reply(*render(exchange.path, internal_error()))
    elif exchange.stage is Stage.REPLYING:
        exchange.abort()
