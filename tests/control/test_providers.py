"""Providers: which row is in use, who may change what, and who is told."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from emr.control.providers import SHADOWED, Environs, Providers
from emr.control.rows import LOCAL, BadRow, Leeway, Row, RowRules, Source
from emr.control.settings import Server, Settings
from emr.control.store import StorageError, Store
from tests.control.parts import (
    KINDS,
    PATIENCE_S,
    RULES,
    FakeLoop,
    check_endpoint,
    make_providers,
    refusal_of,
)

VOYAGE = {"name": "v", "provider_type": "voyage", "api_key_env_var": "VOYAGE_API_KEY"}


@pytest.fixture
def loop() -> FakeLoop:
    return FakeLoop()


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    store = Store(tmp_path / "emr.db")
    yield store
    store.close()


@pytest.fixture
def providers(store: Store, loop: FakeLoop) -> Providers:
    return make_providers(store, loop)


def add(providers: Providers, **given: Any) -> Row:
    return providers.add({**VOYAGE, **given}).result(timeout=PATIENCE_S)


def patch(providers: Providers, who: str, **given: Any) -> Row:
    return providers.patch(who, given).result(timeout=PATIENCE_S)


def file_row(**given: Any) -> Row:
    return RULES.make({**VOYAGE, **given}, Source.FILE)


def settings_of(*rows: Row, **more: Any) -> Settings:
    return Settings(providers=rows, **more)


# adding, changing, removing


def test_an_added_provider_is_in_use_at_once(providers: Providers) -> None:
    row = add(providers)
    assert row == providers.get("v")
    assert row.endpoint == "https://api.voyage.test/v1/embeddings"
    assert (row.model, row.created_at) == ("voyage-code-3", "2027-01-15T08:00:00Z")
    assert providers.rows() == providers.enabled() == [row]
    assert providers.only() == row


def test_a_bare_base_gets_the_path_of_its_type(providers: Providers) -> None:
    row = add(providers, endpoint="https://other.test")
    assert row.endpoint == "https://other.test/v1/embeddings"
    same = add(providers, name="w", endpoint="https://api.voyage.test/v1/embeddings")
    assert same.key_variables == ("VOYAGE_API_KEY",)


def test_rows_outlive_the_process(providers: Providers, store: Store, loop: FakeLoop) -> None:
    add(
        providers, models=["a", "b"], dimensions=[256, 512], requests_per_minute=0.5, family="f",
        weight=3, price_per_million_tokens=0.12, on_drift="sinbin", api_version="2024-10-21",
        max_texts_per_request=7, tokens_per_minute=9, items_per_minute=8, max_concurrency=2,
    )  # fmt: skip
    patch(providers, "v", enabled=False)
    again = make_providers(store, loop)
    assert again.rows() == providers.rows()
    (row,) = again.rows()
    assert (row.models, row.dimensions, row.weight) == (("a", "b"), (256, 512), (3.0,))
    assert (row.enabled, row.on_drift, row.requests_per_minute) == (False, "sinbin", 0.5)


def test_patch(providers: Providers) -> None:
    add(providers, max_concurrency=3)
    row = patch(providers, "v", model="voyage-4", requests_per_minute=100, max_concurrency=None)
    assert (row.model, row.requests_per_minute, row.max_concurrency) == ("voyage-4", 100.0, None)
    assert providers.get("v") == row
    assert patch(providers, "v", model=None).model == "voyage-code-3"
    assert patch(providers, "v", name="v", provider_type="voyage") == providers.get("v")
    assert patch(providers, "v") == providers.get("v")


def test_enable_and_disable(providers: Providers) -> None:
    add(providers)
    assert not providers.disable("v").result(timeout=PATIENCE_S).enabled
    assert (providers.enabled(), providers.only()) == ([], None)
    assert providers.get("v") is not None
    providers.enable("v").result(timeout=PATIENCE_S)
    assert len(providers.enabled()) == 1


def test_delete(providers: Providers, store: Store, loop: FakeLoop) -> None:
    add(providers)
    assert providers.delete("v").result(timeout=PATIENCE_S).name == "v"
    assert providers.get("v") is None
    assert make_providers(store, loop).rows() == []
    for act in (lambda: providers.delete("v"), lambda: providers.patch("v", {"enabled": False})):
        refusal = refusal_of(act)
        assert (refusal.type, refusal.message) == ("not_found", "there is no provider v")
    add(providers)
    assert providers.get("v") is not None


def test_a_taken_name(providers: Providers) -> None:
    add(providers)
    refusal = refusal_of(lambda: providers.add({**VOYAGE, "model": "x"}))
    assert (refusal.type, refusal.status) == ("conflict", 409)
    assert "there is a provider v already" in refusal.message
    row = providers.get("v")
    assert row is not None
    assert row.model == "voyage-code-3"


def test_the_only_provider(providers: Providers) -> None:
    assert providers.only() is None
    add(providers)
    add(providers, name="w")
    assert providers.only() is None
    patch(providers, "v", enabled=False)
    only = providers.only()
    assert only is not None
    assert only.name == "w"


def test_a_database_that_refuses_changes_nothing(providers: Providers, store: Store) -> None:
    row = add(providers)
    store.run(lambda c: c.execute("PRAGMA query_only = ON"))
    for act in (
        lambda: providers.add({**VOYAGE, "name": "w"}),
        lambda: providers.patch("v", {"enabled": False}),
        lambda: providers.delete("v"),
    ):
        with pytest.raises(StorageError, match="read-only"):
            act().result(timeout=PATIENCE_S)
    assert providers.rows() == [row]


# bad fields


@pytest.mark.parametrize(
    ("given", "field", "reason"),
    [
        ({"name": None}, "name", "empty"), ({"name": ""}, "name", "empty"),
        ({"name": "a b"}, "name", "1 to 64"), ({"name": "x" * 65}, "name", "1 to 64"),
        ({"name": "a/b"}, "name", "1 to 64"), ({"name": "é"}, "name", "1 to 64"),
        ({"name": 3}, "name", "1 to 64"), ({"name": "a\n"}, "name", "1 to 64"),
        ({"name": "local"}, "name", "built-in"),
        ({"provider_type": "voyag"}, "provider_type", "did you mean voyage?"),
        ({"provider_type": None}, "provider_type", "empty"),
        ({"provider_type": "openai-compatible"}, "model", "required"),
        ({"provider_type": "openai-compatible", "model": "m"}, "endpoint", "required"),
        ({"endpoint": "ftp://x"}, "endpoint", "https"),
        ({"endpoint": "http://x.test/e"}, "endpoint", "https"),
        ({"endpoint": "https://user:pw@x.test/e"}, "endpoint", "https"),
        ({"endpoint": 3}, "endpoint", "URL"), ({"model": 3}, "model", "model id"),
        ({"enabled": 1}, "enabled", "true or false"), ({"enabled": "yes"}, "enabled", "true"),
        ({"requests_per_minute": 0}, "requests_per_minute", "from 0.001"),
        ({"tokens_per_minute": 0}, "tokens_per_minute", "from 1"),
        ({"tokens_per_minute": 1.5}, "tokens_per_minute", "whole"),
        ({"items_per_minute": -1}, "items_per_minute", "number"),
        ({"max_concurrency": 0}, "max_concurrency", "from 1"),
        ({"max_concurrency": 1001}, "max_concurrency", "to 1000"),
        ({"max_texts_per_request": 0}, "max_texts_per_request", "from 1"),
        ({"price_per_million_tokens": -0.1}, "price_per_million_tokens", "number"),
        ({"models": "a\nb"}, "models", "control"), ({"models": [""]}, "models", "empty"),
        ({"dimensions": [0]}, "dimensions", "from 1"), ({"family": "a b"}, "family", "1 to 64"),
        ({"weight": [1, 2]}, "weight", "one value for each"), ({"weight": 0}, "weight", "number"),
        ({"on_drift": "panic"}, "on_drift", "warn"), ({"api_version": 3}, "api_version", "version"),
        ({"api_version": "2024 02"}, "api_version", "letters, digits"),
        ({"api_version": "2024-02-01#"}, "api_version", "letters, digits"),
        ({"api_version": "1" * 65}, "api_version", "1 to 64"),
        ({"max_tokens_per_text": 11, "tokens_per_minute": 10}, "max_tokens_per_text", "11 tokens"),
        ({"api_key_env_var": "B_API_KEY", "api_key_env_vars": ["A_API_KEY"]}, "api_key_env_vars",
         "beside"),
        ({"allow_http": True}, "allow_http", "configuration file"),
        ({"allow_private": True}, "allow_private", "configuration file"),
        ({"modell": "x"}, "modell", "did you mean model?"),
        ({"created_at": "x"}, "created_at", "is not a field"),
        ({"adopted": True}, "adopted", "is not a field"), ({"source": "file"}, "source", "not"),
        ({"note": "x"}, "note", "is not a field"),
    ],
)  # fmt: skip
def test_bad_fields(providers: Providers, given: dict[str, Any], field: str, reason: str) -> None:
    refusal = refusal_of(lambda: providers.add({**VOYAGE, **given}))
    assert (refusal.type, refusal.param) == ("validation_error", field)
    assert reason in refusal.message
    assert refusal.message.startswith(field)
    assert providers.rows() == []
    if field in ("name", "provider_type") or given.get("provider_type"):
        return
    before = add(providers)
    refusal = refusal_of(lambda: providers.patch("v", given))
    assert (refusal.type, refusal.param) == ("validation_error", field)
    assert providers.rows() == [before]


@pytest.mark.parametrize(
    "given",
    [
        {"name": "x" * 64}, {"name": "._-0Az"}, {"max_concurrency": 1000}, {"weight": 1},
        {"max_tokens_per_text": 10, "tokens_per_minute": 10}, {"requests_per_minute": 0.001},
        {"allow_http": False}, {"allow_private": None}, {"endpoint": "http://127.0.0.1:9/e"},
        {"api_key_env_var": "", "api_key_env_vars": ["A_API_KEY", "B_API_KEY"], "weight": [1, 1]},
    ],
)  # fmt: skip
def test_good_fields(providers: Providers, given: dict[str, Any]) -> None:
    add(providers, **given)


def test_missing_fields(providers: Providers) -> None:
    for given, field in (({}, "name"), ({"name": "v"}, "provider_type")):
        refusal = refusal_of(lambda given=given: providers.add(given))
        assert (refusal.param, refusal.message) == (field, f"{field} is required")


@pytest.mark.parametrize("field", ["name", "provider_type"])
def test_what_cannot_be_changed(providers: Providers, field: str) -> None:
    add(providers)
    value = "cohere" if field == "provider_type" else "w"
    refusal = refusal_of(lambda: providers.patch("v", {field: value}))
    assert (refusal.param, "cannot be changed" in refusal.message) == (field, True)


# variables


@pytest.mark.parametrize(
    ("variable", "allowed"),
    [
        ("X_API_KEY", True), ("LISTED", True), ("AWS_SECRET_ACCESS_KEY", False), ("PATH", False),
        ("API_KEY", False), ("X_API_KEY_2", False), ("x_api_key", False),
        ("EMR_ADMIN_SECRET", False), ("EMR_API_KEY", False), ("EMR_X_API_KEY", False),
        ("EMR_LISTED", False),
    ],
)  # fmt: skip
def test_variables_that_the_api_may_name(
    store: Store, loop: FakeLoop, variable: str, allowed: bool
) -> None:
    server = Server(key_variables=("LISTED", "EMR_LISTED"))
    providers = make_providers(store, loop, Settings(server=server))
    given = [
        {**VOYAGE, "api_key_env_var": variable},
        {"name": "v", "provider_type": "voyage", "api_key_env_vars": ["A_API_KEY", variable]},
    ]
    if allowed:
        for one in given:
            providers.add(one).result(timeout=PATIENCE_S)
            providers.delete("v").result(timeout=PATIENCE_S)
        return
    for one in given:
        refusal = refusal_of(lambda one=one: providers.add(one))
        assert refusal.param == "api_key_env_var"
    add(providers)
    for change in ({"api_key_env_var": variable}, {"api_key_env_vars": [variable]}):
        refusal_of(lambda change=change: providers.patch("v", change))
    row = providers.get("v")
    assert row is not None
    assert row.key_variables == ("VOYAGE_API_KEY",)


def test_the_file_may_name_any_variable(store: Store, loop: FakeLoop) -> None:
    row = file_row(api_key_env_var="MY_SECRET", allow_http=True, endpoint="http://x.test/e")
    providers = make_providers(store, loop, settings_of(row))
    assert providers.get("v") == row


def test_a_new_endpoint_needs_its_key_named(providers: Providers) -> None:
    add(providers)
    for given in (
        {"endpoint": "https://evil.test/e"},
        {"endpoint": "https://api.voyage.test/v2/embeddings"},
        {"endpoint": "https://evil.test/e", "model": "x", "enabled": True},
    ):
        refusal = refusal_of(lambda given=given: providers.patch("v", given))
        assert refusal.param == "api_key_env_var"
        assert "a key goes only to the host it was given for" in refusal.message
    same = patch(providers, "v", endpoint="https://api.voyage.test/v1/embeddings")
    assert same == providers.get("v")
    row = patch(providers, "v", endpoint="https://new.test/e", api_key_env_var="NEW_API_KEY")
    assert (row.endpoint, row.key_variables) == ("https://new.test/e", ("NEW_API_KEY",))
    back = refusal_of(lambda: providers.patch("v", {"endpoint": None}))
    assert back.param == "api_key_env_var"
    none = patch(providers, "v", endpoint="https://open.test/e", api_key_env_var="")
    assert none.key_variables == ()
    assert patch(providers, "v", endpoint="https://open.test/f").key_variables == ()


def test_naming_one_key_drops_the_others(providers: Providers) -> None:
    given = {"name": "v", "provider_type": "voyage", "api_key_env_vars": ["A_API_KEY", "B_API_KEY"]}
    providers.add(given).result(timeout=PATIENCE_S)
    row = patch(providers, "v", endpoint="https://new.test/e", api_key_env_var="C_API_KEY")
    assert row.key_variables == ("C_API_KEY",)
    row = patch(providers, "v", api_key_env_vars=["D_API_KEY"])
    assert (row.api_key_env_var, row.key_variables) == ("", ("D_API_KEY",))


def test_the_type_has_its_own_key_for_its_own_endpoint_only(providers: Providers) -> None:
    given = {"name": "v", "provider_type": "voyage"}
    for absent in ({}, {"api_key_env_var": None}):
        row = providers.add({**given, **absent}).result(timeout=PATIENCE_S)
        assert row.key_variables == ("VOYAGE_API_KEY",)
        providers.delete("v").result(timeout=PATIENCE_S)
    row = providers.add({**given, "api_key_env_var": ""}).result(timeout=PATIENCE_S)
    assert row.key_variables == ()
    evil = {"name": "w", "provider_type": "voyage", "endpoint": "https://evil.test/e"}
    refusal = refusal_of(lambda: providers.add(evil))
    assert refusal.param == "api_key_env_var"
    assert "VOYAGE_API_KEY" in refusal.message
    free = {"name": "t", "provider_type": "tei", "endpoint": "http://127.0.0.1:81/e"}
    assert providers.add(free).result(timeout=PATIENCE_S).key_variables == ()


# the file and the database


def test_the_file_wins(store: Store, loop: FakeLoop) -> None:
    hidden = add(make_providers(store, loop), model="of the database")
    row = file_row(model="of the file")
    providers = make_providers(store, loop, settings_of(row))
    assert providers.rows() == [row]
    first, second = providers.listing()
    assert (first["source"], first["model"], first["enabled"]) == ("file", "of the file", True)
    assert (second["source"], second["model"], second["enabled"], second["note"]) == (
        "database", "of the database", False, SHADOWED,
    )  # fmt: skip
    for act in (
        lambda: providers.add(VOYAGE),
        lambda: providers.patch("v", {"enabled": False}),
        lambda: providers.delete("v"),
        lambda: providers.disable("v"),
    ):
        refusal = refusal_of(act)
        assert (refusal.type, refusal.status) == ("conflict", 409)
        assert "configuration file" in refusal.message
    providers.reload(settings_of())
    assert providers.rows() == [hidden]


def test_reload_tells_what_changed(store: Store, loop: FakeLoop) -> None:
    first, second = file_row(), file_row(name="w")
    providers = make_providers(store, loop, settings_of(first, second))
    told: list[frozenset[str]] = []
    providers.on_change.append(told.append)
    changed = replace(second, model="other")
    third = file_row(name="x")
    assert providers.reload(settings_of(changed, third)) == {"v", "w", "x"}
    assert told == []
    loop.turn()
    assert told == [frozenset({"v", "w", "x"})]
    assert providers.rows() == [changed, third]
    assert providers.reload(settings_of(changed, third)) == frozenset()
    assert loop.is_idle()


def test_aliases(store: Store, loop: FakeLoop) -> None:
    settings = settings_of(models={"small": "v/a/b", "m": "v/m"})
    providers = make_providers(store, loop, settings)
    assert providers.target("small") == ("v", "a/b")
    assert providers.target("m") == ("v", "m")
    assert providers.target("Small") is None
    providers.reload(settings_of(models={"n": "v/n"}))
    assert providers.target("small") is None
    assert providers.target("n") == ("v", "n")


def test_a_reload_takes_the_key_variables(store: Store, loop: FakeLoop) -> None:
    providers = make_providers(store, loop)
    given = {**VOYAGE, "api_key_env_var": "LISTED"}
    refusal_of(lambda: providers.add(given))
    providers.reload(Settings(server=Server(key_variables=("LISTED",))))
    providers.add(given).result(timeout=PATIENCE_S)


def test_listeners_are_told_before_the_answer_is_taken(
    providers: Providers, loop: FakeLoop
) -> None:
    told: list[object] = []
    providers.on_change += [told.append, lambda names: told.append(sorted(names))]
    future = providers.add(VOYAGE)
    future.add_done_callback(lambda _: loop.post(lambda: told.append("answer")))
    future.result(timeout=PATIENCE_S)
    for _ in range(3):
        loop.turn()
    assert told == [frozenset({"v"}), ["v"], "answer"]
    patch(providers, "v")
    assert loop.is_idle()
    patch(providers, "v", model="other")
    providers.delete("v").result(timeout=PATIENCE_S)
    for _ in range(4):
        loop.turn()
    assert told[3:] == [frozenset({"v"}), ["v"], frozenset({"v"}), ["v"]]


def test_a_row_that_a_rule_refuses_now_is_shown_and_not_used(store: Store, loop: FakeLoop) -> None:
    add(make_providers(store, loop), endpoint="https://once.test/e")
    add(make_providers(store, loop), name="w", provider_type="cohere")

    def stricter(endpoint: str, kind: Any, leeway: Leeway) -> str:
        if "once" in endpoint:
            raise ValueError("is not allowed any more")
        return check_endpoint(endpoint, kind, leeway)

    kinds = {name: kind for name, kind in KINDS.items() if name != "cohere"}
    environs = Environs(RowRules(kinds, stricter), lambda: False, loop.post)
    providers = Providers(store, environs, Settings())
    assert providers.enabled() == []
    notes = {one["name"]: one["note"] for one in providers.listing()}
    assert notes["v"] == "endpoint: is not allowed any more"
    assert notes["w"].startswith("provider_type: is not a type of provider")
    providers.delete("w").result(timeout=PATIENCE_S)
    row = patch(providers, "v", endpoint="https://now.test/e", api_key_env_var="X_API_KEY")
    assert row.enabled
    assert providers.enabled() == [row]


def test_an_adopted_row_keeps_its_leeway_until_its_endpoint_changes(
    store: Store, loop: FakeLoop
) -> None:
    store.run(lambda c: c.execute(
        "INSERT INTO providers VALUES ('old one', 'voyage', 'MY_SECRET', 'http://10.0.0.7/e', 'm',"
        " 1, '2025-01-01T00:00:00Z', 1, '{}')"
    ))  # fmt: skip
    providers = make_providers(store, loop)
    (row,) = providers.enabled()
    assert (row.name, row.leeway, row.endpoint) == ("old one", Leeway.ADOPTED, "http://10.0.0.7/e")
    assert patch(providers, "old one", model="n", requests_per_minute=5).adopted
    for given in (
        {"endpoint": "http://10.0.0.8/e", "api_key_env_var": "X_API_KEY"},
        {"endpoint": "https://x.test/e", "api_key_env_var": "MY_SECRET"},
        {"api_key_env_var": "MY_SECRET"},
        {"endpoint": "https://x.test/e"},
    ):
        refusal_of(lambda given=given: providers.patch("old one", given))
    moved = patch(providers, "old one", endpoint="https://x.test/e", api_key_env_var="X_API_KEY")
    assert not moved.adopted
    assert providers.get("old one") == moved


@pytest.mark.parametrize("options", ["x", "[]", ""])
def test_options_that_cannot_be_read(
    providers: Providers, store: Store, loop: FakeLoop, options: str
) -> None:
    add(providers)
    store.run(lambda c: c.execute("UPDATE providers SET options = ?", (options,)))
    with pytest.raises(StorageError, match="options"):
        make_providers(store, loop)


def test_options_of_a_later_version_are_left_out(
    providers: Providers, store: Store, loop: FakeLoop
) -> None:
    add(providers)
    store.run(
        lambda c: c.execute('UPDATE providers SET options = \'{"later": 1, "models": ["m"]}\'')
    )
    (row,) = make_providers(store, loop).rows()
    assert row.models == ("m",)


# the built-in


def test_the_built_in_is_there_while_nothing_else_is(store: Store, loop: FakeLoop) -> None:
    providers = make_providers(store, loop, has_local=True)
    local = providers.get(LOCAL)
    assert local is not None
    assert (local.source, local.provider_type, local.model) == (
        Source.BUILT_IN, "local", "wordllama",
    )  # fmt: skip
    assert providers.only() is local
    assert [one["source"] for one in providers.listing()] == ["built-in"]
    told: list[frozenset[str]] = []
    providers.on_change.append(told.append)
    row = add(providers)
    loop.turn()
    assert told == [frozenset({"v", LOCAL})]
    assert providers.only() == row
    assert providers.get(LOCAL) is local
    patch(providers, "v", enabled=False)
    assert providers.enabled() == []
    providers.delete("v").result(timeout=PATIENCE_S)
    assert providers.only() is local


def test_without_the_model_there_is_no_built_in(providers: Providers) -> None:
    assert providers.get(LOCAL) is None
    assert providers.rows() == []
    assert refusal_of(lambda: providers.delete(LOCAL)).type == "not_found"


def test_the_built_in_is_changed_by_a_row_of_its_name(store: Store, loop: FakeLoop) -> None:
    providers = make_providers(store, loop, has_local=True)
    for act in (lambda: providers.disable(LOCAL), lambda: providers.delete(LOCAL)):
        refusal = refusal_of(act)
        assert (refusal.type, "providers add" in refusal.message) == ("conflict", True)
    row = providers.add({"name": LOCAL, "provider_type": LOCAL}).result(timeout=PATIENCE_S)
    assert row.source is Source.DATABASE
    assert providers.only() == row
    providers.disable(LOCAL).result(timeout=PATIENCE_S)
    got = providers.get(LOCAL)
    assert got is not None
    assert not got.enabled
    providers.delete(LOCAL).result(timeout=PATIENCE_S)
    assert [one.source for one in providers.rows()] == [Source.BUILT_IN]


def test_the_built_in_stands_behind_the_file_too(store: Store, loop: FakeLoop) -> None:
    row = file_row()
    providers = make_providers(store, loop, settings_of(row), has_local=True)
    assert providers.only() == row
    assert providers.get(LOCAL) is not None
    providers.reload(settings_of())
    only = providers.only()
    assert only is not None
    assert only.name == LOCAL


# what is shown


def test_the_listing(providers: Providers) -> None:
    add(providers, models=["m"], weight=2)
    (told,) = providers.listing()
    assert {name: told[name] for name in (
        "name", "provider_type", "api_key_env_var", "endpoint", "model", "enabled", "created_at",
        "max_texts_per_request", "source", "models", "weight", "dimensions", "note", "adopted",
    )} == {
        "name": "v", "provider_type": "voyage", "api_key_env_var": "VOYAGE_API_KEY",
        "endpoint": "https://api.voyage.test/v1/embeddings", "model": "voyage-code-3",
        "enabled": True, "created_at": "2027-01-15T08:00:00Z", "max_texts_per_request": 128,
        "source": "database", "models": ["m"], "weight": [2.0], "dimensions": [], "note": None,
        "adopted": False,
    }  # fmt: skip
    assert json.loads(json.dumps(told)) == told
    patch(providers, "v", max_texts_per_request=7)
    assert providers.listing()[0]["max_texts_per_request"] == 7


def test_a_key_of_the_environment_is_in_no_file(
    providers: Providers, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(os.environ, "VOYAGE_API_KEY", "pa-CANARY")
    add(providers)
    told = json.dumps(providers.listing())
    content = b"".join(path.read_bytes() for path in tmp_path.iterdir())
    assert "VOYAGE_API_KEY" in told
    assert b"VOYAGE_API_KEY" in content
    assert "CANARY" not in told
    assert b"CANARY" not in content


def test_rules_carry_every_fault() -> None:
    with pytest.raises(BadRow) as caught:
        RULES.make({**VOYAGE, "endpoint": "ftp://x", "weight": [1, 2]}, Source.FILE)
    assert [fault.field for fault in caught.value.faults] == ["weight", "endpoint"]
    with pytest.raises(BadRow) as caught:
        RULES.make({**VOYAGE, "model": 3, "enabled": 3}, Source.FILE)
    assert [fault.field for fault in caught.value.faults] == ["model", "enabled"]
