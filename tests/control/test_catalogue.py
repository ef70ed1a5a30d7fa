"""The catalogue: who serves which model, how long its vectors are, and who is a twin of whom."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import orjson
import pytest

from emr.control import catalogue as module
from emr.control.catalogue import Catalogue
from emr.control.rows import Row
from tests.control.routed import Routed, row_of, server
from tests.support.aio import run

CODE = "voyage-code-3"  # its length is in the table
NEW = "voyage-of-tomorrow"  # it is not in the table


def family(routed: Routed, row: Row, model: str) -> list[str]:
    return [twin.name for twin in routed.catalogue.family(row, model)]


def looked_up(*rows: Row) -> Any:
    """Run a test over a catalogue of these rows."""

    def wrap(test: Any) -> Any:
        def run_it() -> None:
            async def main() -> None:
                async with Routed(*rows) as routed:
                    test(routed)

            run(main())

        run_it.__name__ = test.__name__
        return run_it

    return wrap


# who serves


@looked_up(
    row_of("voyage", "voyage"), row_of("cohere", "cohere"), server("own", models=["n", CODE])
)
def test_who_serves_a_model(routed: Routed) -> None:
    def names(model: str) -> list[str]:
        return [row.name for row in routed.catalogue.serving(model)]

    assert names(CODE) == ["voyage", "own"]
    assert names("embed-v4.0") == ["cohere"]
    assert names("m") == names("n") == ["own"]
    assert names("nothing") == []
    assert names("voyage") == []


@looked_up(row_of("voyage", "voyage", model="voyage-4", models=["mine", "voyage-4"]))
def test_the_models_of_a_provider_begin_with_its_default(routed: Routed) -> None:
    (row,) = routed.providers.enabled()
    models = routed.catalogue.models_of(row)
    assert models[:3] == ("voyage-4", "mine", CODE)
    assert len(models) == len(set(models))
    assert routed.catalogue.models_of(row) is models, "kept"


def test_what_is_kept_goes_when_a_row_changes() -> None:
    async def main() -> None:
        row = server("own")
        async with Routed(row) as routed:
            assert routed.catalogue.serving("m") == [row]
            assert routed.catalogue.serving("n") == []
            changed = server("own", models=["n"])
            assert "n" in routed.catalogue.models_of(changed), "asked of the row, not of its name"
            await routed.reload(changed)
            assert routed.catalogue.serving("n") == [changed]
            await routed.reload()
            assert routed.catalogue.serving("m") == []

    run(main())


def test_disabled_rows_serve_nothing() -> None:
    async def main() -> None:
        async with Routed(replace(server("own"), enabled=False)) as routed:
            assert routed.catalogue.serving("m") == []
            assert routed.catalogue.listing() == []

    run(main())


def test_names_that_nobody_serves_are_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        async with Routed(server("own", models=[f"n{i}" for i in range(5)])) as routed:
            for i in range(100):
                routed.catalogue.serving(f"made-up-{i}")
            assert routed.catalogue._serving == {}
            monkeypatch.setattr(module, "REMEMBERED", 3)
            for i in range(5):
                assert len(routed.catalogue.serving(f"n{i}")) == 1
                routed.catalogue.family(routed.catalogue.serving(f"n{i}")[0], f"n{i}")
            assert len(routed.catalogue._serving) == 3
            assert len(routed.catalogue._families) == 3

    run(main())


# lengths


@looked_up(row_of("voyage", "voyage", model="voyage-4", dimensions=[256, 512], models=[NEW]))
def test_a_row_tells_the_lengths_of_its_model_and_the_table_those_of_others(
    routed: Routed,
) -> None:
    (row,) = routed.providers.enabled()
    assert routed.catalogue.dimensions(row, "voyage-4") == (256, 512)
    assert routed.catalogue.dimensions(row, CODE) == (1024, 256, 512, 2048)
    assert routed.catalogue.dimensions(row, NEW) == ()
    assert routed.catalogue.dimensions(row, "nothing") == ()


# families


@looked_up(row_of("a", "voyage"), row_of("b", "voyage"), row_of("c", "cohere"), server("own", CODE))
def test_one_type_and_one_known_length_are_a_family(routed: Routed) -> None:
    a, b, _, own = routed.providers.enabled()
    assert family(routed, a, CODE) == ["b"]
    assert family(routed, b, CODE) == ["a"]
    assert family(routed, own, CODE) == [], "another type, and no family in the rows"


@looked_up(
    row_of("a", "voyage", family="f"),
    server("b", CODE, family="f", dimensions=[1024]),
    server("c", CODE, family="g", dimensions=[1024]),
    row_of("d", "voyage"),
    row_of("e", "voyage", family="g"),
)
def test_an_equal_family_joins_types_and_another_parts_them(routed: Routed) -> None:
    a, b, c, d, e = routed.providers.enabled()
    assert family(routed, a, CODE) == ["b"]
    assert family(routed, b, CODE) == ["a"]
    assert family(routed, c, CODE) == ["e"]
    assert family(routed, d, CODE) == [], "the operator parted the others from it"
    assert family(routed, e, CODE) == ["c"]


@looked_up(server("a", family="f", dimensions=[8]), server("b", family="f", dimensions=[16, 8]))
def test_other_lengths_are_no_family(routed: Routed) -> None:
    a, b = routed.providers.enabled()
    assert family(routed, a, "m") == []
    assert family(routed, b, "m") == []


@looked_up(server("a"), server("b"))
def test_unknown_lengths_are_a_family_once_both_have_answered_alike(routed: Routed) -> None:
    a, b = routed.providers.enabled()
    seen = routed.catalogue.seen
    assert family(routed, a, "m") == []
    seen("a", "m", 8)
    assert family(routed, a, "m") == family(routed, b, "m") == []
    seen("b", "m", 16)
    assert family(routed, a, "m") == []
    seen("b", "m", 8)
    assert family(routed, a, "m") == ["b"]
    assert family(routed, b, "m") == ["a"]
    seen("b", "other", 16)
    assert family(routed, a, "m") == ["b"], "another model says nothing"
    seen("b", "m", 16)
    assert family(routed, a, "m") == [], "the model behind the name was exchanged"


@looked_up(row_of("a", "voyage", models=[NEW]), row_of("b", "voyage", models=[NEW]))
def test_a_model_without_a_known_length_in_the_table_is_seen_too(routed: Routed) -> None:
    a, _ = routed.providers.enabled()
    assert family(routed, a, NEW) == []
    routed.catalogue.seen("a", NEW, 1024)
    routed.catalogue.seen("b", NEW, 1024)
    assert family(routed, a, NEW) == ["b"]


@looked_up(server("a", dimensions=[8]), server("b"))
def test_one_that_is_told_and_one_that_was_seen(routed: Routed) -> None:
    a, _ = routed.providers.enabled()
    assert family(routed, a, "m") == []
    routed.catalogue.seen("b", "m", 8)
    assert family(routed, a, "m") == ["b"]


def test_a_changed_provider_must_answer_anew() -> None:
    async def main() -> None:
        async with Routed(server("a"), server("b")) as routed:
            routed.catalogue.seen("a", "m", 8)
            routed.catalogue.seen("b", "m", 8)
            a, _ = routed.providers.enabled()
            assert family(routed, a, "m") == ["b"]
            elsewhere = server("b", endpoint="http://127.0.0.1:10/v1")
            await routed.reload(a, elsewhere)
            assert family(routed, a, "m") == []
            assert family(routed, elsewhere, "m") == []
            routed.catalogue.seen("b", "m", 8)
            assert family(routed, a, "m") == ["b"]

    run(main())


# the list of models


def test_the_list_has_aliases_first_and_every_model_once() -> None:
    async def main() -> None:
        rows = (
            row_of("voyage", "voyage", models=[NEW]), server("own", models=[CODE]),
            replace(server("off", "hidden"), enabled=False),
        )  # fmt: skip
        models = {
            "small": f"voyage/{CODE}", "of-nobody": "gone/x", "of-one-disabled": "off/hidden",
            "not-served": "voyage/unheard-of", CODE: f"own/{CODE}",
        }  # fmt: skip
        async with Routed(*rows, models=models) as routed:
            routed.catalogue.seen("own", "m", 8)
            listed = routed.catalogue.listing()
            assert [each["id"] for each in listed[:4]] == ["small", CODE, NEW, "voyage-4"]
            assert len({each["id"] for each in listed}) == len(listed)
            by_id = {each["id"]: each for each in listed}
            assert by_id["small"] == {
                "id": "small", "object": "model", "created": by_id[CODE]["created"],
                "owned_by": "voyage", "dimensions": 1024, "max_texts": 2048,
            }  # fmt: skip
            assert type(by_id["small"]["created"]) is int
            assert by_id[CODE]["owned_by"] == "own", "as a request by that name is answered"
            assert by_id["m"]["dimensions"] == 8, "as it was seen"
            assert by_id[NEW]["dimensions"] is None
            for missing in ("of-nobody", "of-one-disabled", "not-served", "hidden"):
                assert missing not in by_id

    run(main())


def test_the_list_of_a_key_has_what_it_may_use() -> None:
    async def main() -> None:
        rows = (row_of("voyage", "voyage"), server("own", models=[CODE]))
        models = {"a": f"voyage/{CODE}", "b": "own/m", "voyage-4": f"voyage/{CODE}"}
        async with Routed(*rows, models=models) as routed:
            listed = routed.catalogue.listing(frozenset({"own"}))
            assert [(each["id"], each["owned_by"]) for each in listed] == [
                ("b", "own"), ("m", "own"), (CODE, "own"),
            ]  # fmt: skip
            hidden = {"a": "gone/x", CODE: f"voyage/{CODE}", "m": "own/unheard-of"}
            routed.catalogue.settings = replace(routed.catalogue.settings, models=hidden)
            assert routed.catalogue.listing(frozenset({"own"})) == []
            assert routed.catalogue.listing()[0]["owned_by"] == "voyage"
            assert routed.catalogue.listing(frozenset({"nobody"})) == []
            assert routed.desk.models(frozenset({"own"})) == []

    run(main())


# bodies that are passed on whole


@pytest.mark.parametrize(
    ("whole", "same"),
    [
        (b'{"model":"m","x":1}', True),
        (b'{ "x" : 1.0, "model": "m" }', True),
        (b'{"model":"alias","x":1}', False),
        (b'{"x":1}', False),
        (b'{"model":null}', False),
    ],
)
def test_a_body_that_is_passed_on_names_the_providers_model(whole: bytes, same: bool) -> None:
    got = Catalogue.with_model(whole, "m")
    assert (got is whole) is same
    assert orjson.loads(got) == orjson.loads(whole) | {"model": "m"}


# spaces of vectors


def space(routed: Routed, name: str, model: str) -> str:
    row = routed.providers.get(name)
    assert row is not None
    return routed.catalogue.space(row, model)


@looked_up(
    row_of("voyage", "voyage", models=[NEW]),
    row_of("again", "voyage", api_key_env_var="ANOTHER_KEY", models=[NEW]),
    row_of("like", "voyage", endpoint="https://elsewhere.test/v1"), row_of("cohere", "cohere"),
)  # fmt: skip
def test_one_type_with_one_length_at_its_own_address_is_one_space(routed: Routed) -> None:
    assert space(routed, "voyage", CODE) == space(routed, "again", CODE)
    assert space(routed, "voyage", CODE) != space(routed, "like", CODE)
    assert space(routed, "voyage", CODE) != space(routed, "cohere", CODE)
    # of the new model no length is known: nobody has said that both give the same
    assert space(routed, "voyage", NEW) != space(routed, "again", NEW)


@looked_up(
    server("one", dimensions=8, endpoint="http://127.0.0.1:1/v1"),
    server("two", dimensions=8, endpoint="http://127.0.0.1:2/v1"),
    server("same", dimensions=8, endpoint="http://127.0.0.1:1/v1?key=secret"),
)
def test_servers_of_the_operators_own_are_spaces_of_their_own(routed: Routed) -> None:
    assert space(routed, "one", "m") != space(routed, "two", "m")
    assert space(routed, "one", "m") == space(routed, "same", "m")
    assert "secret" not in space(routed, "same", "m")


@looked_up(
    server("one", dimensions=8, family="f", endpoint="http://127.0.0.1:1/v1"),
    server("two", dimensions=8, family="f", endpoint="http://127.0.0.1:2/v1"),
    server("short", dimensions=4, family="f"), server("other", dimensions=8, family="g"),
    row_of("voyage", "voyage", family="f", dimensions=8, model="m"),
)  # fmt: skip
def test_a_family_of_one_type_and_length_is_one_space(routed: Routed) -> None:
    assert space(routed, "one", "m") == space(routed, "two", "m")
    others = {space(routed, name, "m") for name in ("one", "short", "other", "voyage")}
    assert len(others) == 4


def test_a_row_that_changes_has_the_space_of_now() -> None:
    async def main() -> None:
        async with Routed(server("s", endpoint="http://127.0.0.1:1/v1")) as routed:
            before = space(routed, "s", "m")
            assert space(routed, "s", "m") is before, "it is kept"
            await routed.reload(server("s", endpoint="http://127.0.0.1:2/v1"))
            assert space(routed, "s", "m") != before

    run(main())


@looked_up(row_of("voyage", "voyage"))
def test_as_many_spaces_are_kept_as_there_is_room(routed: Routed) -> None:
    for number in range(module.REMEMBERED + 10):
        assert space(routed, "voyage", f"model {number}")
    assert len(routed.catalogue._spaces) == module.REMEMBERED
