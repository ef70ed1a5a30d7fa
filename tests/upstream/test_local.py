"""The embedded model: held against the package that it comes from, and what it refuses."""

from __future__ import annotations

import asyncio
import importlib.util
import logging
import subprocess
import sys
import threading
from base64 import b64decode
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest

from emr.lane.ticket import Params
from emr.lane.verdict import Ending
from emr.upstream.call import Call, Outcome
from emr.upstream.local import model as model_module
from emr.upstream.local.caller import LocalCaller
from emr.upstream.local.model import LocalModel, NotInstalled, is_installed
from emr.upstream.self_hosted import LOCAL, LOCAL_MODEL
from tests.support.aio import run

TEXTS = ["hello world", "Parse a date from a string.", "é 😀 \x00 <s> §", " ", "x" * 3000, "\n\n"]
LONG = " ".join(f"word{i}" for i in range(9000))  # more tokens than are in memory at once


@pytest.fixture(scope="module")
def model() -> LocalModel:
    return LocalModel()


def as_json(texts: list[str]) -> list[bytes]:
    return [orjson.dumps(text) for text in texts]


def outcome_of(call: Call) -> Outcome:
    async def main() -> Outcome:
        caller = LocalCaller()
        outcome = await caller.call(call)
        caller.close()
        return outcome

    return run(main())


@pytest.fixture(scope="module")
def theirs() -> Any:
    """The package's own way to embed, whose import configures the root logger: undone here."""
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    import wordllama

    root.handlers[:] = handlers
    root.setLevel(level)
    folder = Path(wordllama.__file__).parent
    return wordllama.WordLlama.load(cache_dir=folder, disable_download=True)


@pytest.mark.parametrize("dimensions", [64, 128, 256])
def test_vectors_are_those_of_the_package(model: LocalModel, theirs: Any, dimensions: int) -> None:
    texts = [*TEXTS, LONG]
    vectors, tokens = model.embed(as_json(texts), dimensions, True)
    assert tokens == sum(sum(e.attention_mask) for text in texts for e in theirs.tokenize([text]))
    for text, vector in zip(texts, vectors, strict=True):
        wanted = theirs.embed([text], norm=False)[0][:dimensions]
        wanted /= np.linalg.norm(wanted)
        # the package sums a long text in float32 from end to end, which costs it some digits
        np.testing.assert_allclose(
            orjson.loads(vector), wanted, atol=1e-4 if text is LONG else 2e-6
        )


@pytest.mark.parametrize("dimensions", [64, 128, 256])
def test_vectors_have_the_length_one(model: LocalModel, dimensions: int) -> None:
    vectors, _ = model.embed(as_json(TEXTS), dimensions, True)
    for vector in vectors:
        numbers = orjson.loads(vector)
        assert len(numbers) == dimensions
        assert abs(sum(v * v for v in numbers) - 1.0) < 1e-5


def test_numbers_and_base64_are_the_same_vector(model: LocalModel) -> None:
    texts = as_json(TEXTS)
    numbers, _ = model.embed(texts, 256, True)
    encoded, _ = model.embed(texts, 256, False)
    for one, other in zip(numbers, encoded, strict=True):
        raw = np.frombuffer(b64decode(orjson.loads(other), validate=True), "<f4")
        assert np.array_equal(np.array(orjson.loads(one), dtype="<f4"), raw)


def test_a_text_has_the_same_vector_in_any_company(model: LocalModel) -> None:
    alone = [model.embed([text], 256, True)[0][0] for text in as_json(TEXTS)]
    assert model.embed(as_json(TEXTS), 256, True)[0] == alone


def test_what_is_alike_is_near(model: LocalModel) -> None:
    texts = ["how to parse a date", "reading a date from a string", "a recipe for apple pie"]
    vectors, _ = model.embed(as_json(texts), 256, True)
    one, two, other = (np.array(orjson.loads(v)) for v in vectors)
    assert one @ two > one @ other + 0.2


def test_a_call() -> None:
    outcome = outcome_of(Call(Params(LOCAL_MODEL), as_json(["a", "b"])))
    assert outcome.verdict.ending is Ending.OK
    reply = outcome.reply
    assert reply is not None
    assert (len(reply.vectors), reply.dimensions, reply.tokens) == (2, 256, 2)
    assert reply.model == LOCAL_MODEL
    assert outcome.first_byte_s is not None
    assert outcome.first_byte_s > 0.0


@pytest.mark.parametrize("truncate", [None, *LOCAL.truncations])
def test_no_text_is_too_long(truncate: str | None) -> None:
    outcome = outcome_of(Call(Params(LOCAL_MODEL, truncate=truncate), as_json([LONG])))
    assert outcome.verdict.ending is Ending.OK


def test_dimensions_of_a_call() -> None:
    for dimensions in LOCAL.models[LOCAL_MODEL].dimensions:
        outcome = outcome_of(Call(Params(LOCAL_MODEL, dimensions=dimensions), [b'"a"']))
        assert outcome.reply is not None
        assert outcome.reply.dimensions == dimensions


@pytest.mark.parametrize(
    ("params", "why"),
    [
        (Params(LOCAL_MODEL, dimensions=100), "64, 128 or 256"),
        (Params(LOCAL_MODEL, dimensions=0), "64, 128 or 256"),
        (Params(LOCAL_MODEL, dtype="int8"), "floats"),
        (Params(LOCAL_MODEL, token_ids=True), "check_embedding_ctx_length=False"),
        (Params(LOCAL_MODEL, whole=b"{}"), "only takes requests for embeddings"),
    ],
)
def test_what_the_model_cannot_be_asked(params: Params, why: str) -> None:
    outcome = outcome_of(Call(params, [b'"a"']))
    assert outcome.verdict.ending is Ending.BAD_REQUEST
    assert why in outcome.verdict.message


@pytest.mark.parametrize("text", [b'""', b'"\\ud83d"', b"[1,2]", b"5", b"null", b"junk", b""])
def test_a_text_without_a_vector(text: bytes) -> None:
    outcome = outcome_of(Call(Params(LOCAL_MODEL), [b'"a"', text, b'"b"']))
    assert outcome.verdict.ending is Ending.BAD_TEXT
    assert outcome.verdict.index == 1
    assert outcome.verdict.message
    assert outcome.reply is None


def test_the_work_is_done_in_one_thread_and_not_on_the_loop(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    threads: set[int] = set()
    embed = LocalModel.embed

    def spy(self: LocalModel, *args: Any) -> Any:
        threads.add(threading.get_ident())
        return embed(self, *args)

    monkeypatch.setattr(LocalModel, "embed", spy)

    async def main() -> None:
        caller = LocalCaller()
        calls = [caller.call(Call(Params(LOCAL_MODEL), as_json([f"{i}"]))) for i in range(20)]
        outcomes = await asyncio.gather(*calls)
        assert all(outcome.reply is not None for outcome in outcomes)
        caller.close()

    run(main())
    assert len(threads) == 1
    assert threading.get_ident() not in threads


def test_it_is_loaded_once(monkeypatch: pytest.MonkeyPatch) -> None:
    loaded: list[LocalModel] = []
    make = LocalModel.__init__

    def spy(self: LocalModel) -> None:
        loaded.append(self)
        make(self)

    monkeypatch.setattr(LocalModel, "__init__", spy)

    async def main() -> None:
        caller = LocalCaller()
        assert loaded == []
        await caller.warm()
        await caller.warm()
        await caller.call(Call(Params(LOCAL_MODEL), [b'"a"']))
        caller.close()

    run(main())
    assert len(loaded) == 1


def test_a_call_that_takes_too_long(monkeypatch: pytest.MonkeyPatch) -> None:
    proceed = threading.Event()

    def slow(self: LocalModel, *args: Any) -> Any:
        proceed.wait(20.0)
        return [], 0

    monkeypatch.setattr(LocalModel, "embed", slow)

    async def main() -> None:
        caller = LocalCaller()
        await caller.warm()
        outcome = await caller.call(Call(Params(LOCAL_MODEL), [b'"a"'], whole_s=0.05))
        proceed.set()
        assert outcome.verdict.ending is Ending.TRANSIENT
        assert outcome.verdict.timed_out
        caller.close()

    run(main())


def test_a_closed_caller_answers() -> None:
    async def main() -> None:
        caller = LocalCaller()
        caller.close()
        outcome = await caller.call(Call(Params(LOCAL_MODEL), [b'"a"']))
        assert outcome.verdict.ending is Ending.TRANSIENT
        assert repr(caller) == "<LocalCaller>"

    run(main())


@pytest.mark.parametrize("missing", ["wordllama", "numpy", "tokenizers", "safetensors"])
def test_what_to_do_when_it_is_not_installed(missing: str, monkeypatch: pytest.MonkeyPatch) -> None:
    find = importlib.util.find_spec

    def without(name: str, package: str | None = None) -> Any:
        return None if name == missing else find(name, package)

    monkeypatch.setattr(model_module, "find_spec", without)
    assert not is_installed()
    outcome = outcome_of(Call(Params(LOCAL_MODEL), [b'"a"']))
    assert outcome.verdict.ending is Ending.BAD_REQUEST
    assert "emr[local]" in outcome.verdict.message
    assert "emr-local.pyz" in outcome.verdict.message

    async def main() -> None:
        with pytest.raises(NotInstalled):
            await LocalCaller().warm()

    run(main())


def test_a_package_without_the_files_is_not_installed(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    find = importlib.util.find_spec

    def elsewhere(name: str, package: str | None = None) -> Any:
        spec = find(name, package)
        if name == "wordllama" and spec is not None:
            spec.submodule_search_locations = [str(tmp_path)]
        return spec

    monkeypatch.setattr(model_module, "find_spec", elsewhere)
    with pytest.raises(NotInstalled, match="has not the files"):
        LocalModel()


def test_it_is_installed() -> None:
    assert is_installed()


def test_nothing_heavy_is_imported_before_it_is_used() -> None:
    code = (
        "import sys, emr.upstream.local.caller as c; c.LocalCaller();"
        "print([m for m in ('numpy', 'tokenizers', 'safetensors', 'wordllama', 'requests')"
        " if m in sys.modules])"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"


def test_loading_it_touches_no_logger_and_no_http_library() -> None:
    code = (
        "import sys, logging; from emr.upstream.local.model import LocalModel; m = LocalModel();"
        "print(m.embed([b'\"a\"'], 64, True)[1], logging.getLogger().handlers,"
        " 'wordllama' in sys.modules, 'requests' in sys.modules)"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "1 [] False False"
