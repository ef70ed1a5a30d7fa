"""Microseconds a vector of 1,024 floats: cut and checked, against what orjson takes for less.

    python -m tests.bench.cut

A reply of 100 vectors in OpenAI's shape, as numbers of nine digits and as base64; the best of
several runs, because other processes share the machine.
"""

from __future__ import annotations

import base64
import random
import struct
import timeit
from collections.abc import Callable
from typing import Any

import orjson

from emr.lane.ticket import Params
from emr.upstream.cut import read_whole
from emr.upstream.reply import OPENAI_SHAPE, read_reply
from emr.upstream.vector import DTYPES

VECTORS = 100
NUMBERS = 1024
RUNS = 15


def _reply(vectors: list[str]) -> bytes:
    entries = [
        f'{{"object":"embedding","index":{i},"embedding":{vector}}}'
        for i, vector in enumerate(vectors)
    ]
    return f'{{"object":"list","data":[{",".join(entries)}],"model":"m","usage":{{}}}}'.encode()


def _whole(body: bytes) -> list[Any]:
    dtype = DTYPES["float"]
    return [read_whole(entry["embedding"], dtype) for entry in orjson.loads(body)["data"]]


def _print(name: str, what: Callable[[], Any]) -> None:
    seconds = min(timeit.repeat(what, number=3, repeat=RUNS)) / 3
    print(f"{name:44} {seconds / VECTORS * 1e6:6.1f} us a vector")


def main() -> None:
    rng = random.Random(1)
    values = [[rng.gauss(0.0, 0.03) for _ in range(NUMBERS)] for _ in range(VECTORS)]
    floats = _reply(["[" + ",".join([f"{v:.9f}" for v in vector]) + "]" for vector in values])
    shortest = _reply([orjson.dumps(vector).decode() for vector in values])
    pretty = orjson.dumps(orjson.loads(floats), option=orjson.OPT_INDENT_2)
    encoded = _reply(
        [f'"{base64.b64encode(struct.pack(f"<{NUMBERS}f", *v)).decode()}"' for v in values]
    )
    params = Params("m")
    for name, body in (
        ("numbers of 9 digits", floats),
        ("numbers of 17 digits, some with exponents", shortest),
        ("numbers, one a line", pretty),
        ("base64", encoded),
    ):
        print(f"\n{name}: {len(body) / VECTORS / 1024:.1f} KiB a vector")
        _print("  cut and checked", lambda b=body: read_reply(b, OPENAI_SHAPE, params, VECTORS))
        _print("  orjson.loads alone, nothing checked", lambda b=body: orjson.loads(b))
        _print("  read whole, checked and written again", lambda b=body: _whole(b))


if __name__ == "__main__":
    main()
