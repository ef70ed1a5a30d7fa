"""Which provider a request goes to: every rule, in their order, and what is said of none."""

from __future__ import annotations

from dataclasses import replace

import pytest

from emr.front.desk import Principal
from tests.control.routed import ask_of, members, no_plan_of, plan_of, row_of, server, told

CODE = "voyage-code-3"
VOYAGE, COHERE = row_of("voyage", "voyage"), row_of("cohere", "cohere")
SECOND = row_of("second", "voyage")
OPENAI = row_of("openai", "openai")
BGE = server("tei", "BAAI/bge-m3")


# which provider


def test_the_provider_that_is_named() -> None:
    rows = (VOYAGE, COHERE)
    assert told(plan_of(ask_of(provider="cohere"), *rows)) == ("cohere", "embed-v4.0", True)
    plan = plan_of(ask_of("embed-english-v3.0", "cohere"), *rows)
    assert told(plan) == ("cohere", "embed-english-v3.0", True)
    refusal = no_plan_of(ask_of(CODE, "cohere"), *rows)
    assert (refusal.type, refusal.param) == ("model_not_found", "model")
    assert "embed-v4.0" in refusal.message


def test_the_provider_wins_over_what_the_model_says() -> None:
    two = row_of("second", "voyage")
    assert plan_of(ask_of(CODE, "second"), VOYAGE, two).provider == "second"


@pytest.mark.parametrize("model", ["small", f"voyage/{CODE}", CODE])
def test_a_model_beside_its_provider_may_be_written_in_every_way(model: str) -> None:
    models = {"small": f"voyage/{CODE}", "other": "cohere/embed-v4.0"}
    plan = plan_of(ask_of(model, "voyage"), VOYAGE, COHERE, models=models)
    assert told(plan) == ("voyage", CODE, True)
    for wrong in ("other", "cohere/embed-v4.0", "voyage/", "voyage/x"):
        refusal = no_plan_of(ask_of(wrong, "voyage"), VOYAGE, COHERE, models=models)
        assert refusal.type == "model_not_found"


def test_an_alias_comes_before_everything() -> None:
    models = {
        "small": f"voyage/{CODE}", CODE: "cohere/embed-v4.0", "cohere": f"voyage/{CODE}",
        "cohere/x": f"voyage/{CODE}",
    }  # fmt: skip
    rows = (VOYAGE, COHERE)
    assert told(plan_of(ask_of("small"), *rows, models=models)) == ("voyage", CODE, True)
    assert told(plan_of(ask_of(CODE), *rows, models=models)) == ("cohere", "embed-v4.0", True)
    assert told(plan_of(ask_of("cohere"), *rows, models=models)) == ("voyage", CODE, True)
    assert told(plan_of(ask_of("cohere/x"), *rows, models=models)) == ("voyage", CODE, True)


def test_an_alias_of_a_model_with_slashes() -> None:
    plan = plan_of(ask_of("bge"), BGE, models={"bge": "tei/BAAI/bge-m3"})
    assert told(plan) == ("tei", "BAAI/bge-m3", True)


def test_an_alias_that_leads_nowhere_says_so() -> None:
    off = replace(COHERE, enabled=False)
    for target, kind in (("gone/x", "unknown_provider"), ("cohere/x", "unknown_provider"),
                         ("voyage/x", "model_not_found")):  # fmt: skip
        refusal = no_plan_of(ask_of("a"), VOYAGE, off, models={"a": target})
        assert (refusal.type, refusal.param) == (kind, "model")


def test_a_model_id_comes_before_a_providers_name() -> None:
    assert told(plan_of(ask_of("cohere"), COHERE, server("own", "cohere"))) == (
        "own", "cohere", False,
    )  # fmt: skip
    assert told(plan_of(ask_of("cohere"), COHERE, VOYAGE)) == ("cohere", "embed-v4.0", True)


def test_a_model_id_with_a_slash_and_a_provider_with_its_model() -> None:
    rows = (VOYAGE, BGE)
    assert told(plan_of(ask_of("BAAI/bge-m3"), *rows)) == ("tei", "BAAI/bge-m3", False)
    assert told(plan_of(ask_of(f"voyage/{CODE}"), *rows)) == ("voyage", CODE, True)
    assert told(plan_of(ask_of("tei/BAAI/bge-m3"), *rows)) == ("tei", "BAAI/bge-m3", True)
    # a model id that looks like a provider with its model is the model id
    plan = plan_of(ask_of("voyage/x"), VOYAGE, server("own", "voyage/x"))
    assert told(plan) == ("own", "voyage/x", False)
    assert no_plan_of(ask_of("BAAI/other"), *rows).type == "model_not_found"
    assert "does not serve x/y" in no_plan_of(ask_of("voyage/x/y"), *rows).message
    assert no_plan_of(ask_of("voyage/"), *rows).type == "model_not_found"


def test_what_an_enabled_provider_serves_and_no_other() -> None:
    off = replace(VOYAGE, enabled=False)
    assert no_plan_of(ask_of(CODE), off, COHERE).type == "model_not_found"
    refusal = no_plan_of(ask_of("voyage"), off, COHERE)
    assert (refusal.type, refusal.param) == ("unknown_provider", "model")
    assert "is disabled" in refusal.message
    assert no_plan_of(ask_of(f"voyage/{CODE}"), off, COHERE).type == "unknown_provider"
    refusal = no_plan_of(ask_of(provider="voyage"), off, COHERE)
    assert (refusal.type, refusal.param) == ("unknown_provider", "provider")
    assert "enabled are: cohere" in refusal.message


def test_a_name_that_is_not_registered() -> None:
    refusal = no_plan_of(ask_of(provider="x" * 5000), VOYAGE)
    assert (refusal.type, refusal.param) == ("unknown_provider", "provider")
    assert "is not registered; enabled are: voyage" in refusal.message
    assert len(refusal.message) < 300


def test_without_a_name_it_is_the_only_one_that_is_enabled() -> None:
    assert told(plan_of(ask_of(), VOYAGE)) == ("voyage", CODE, False)
    assert plan_of(ask_of(), VOYAGE, replace(COHERE, enabled=False)).provider == "voyage"
    refusal = no_plan_of(ask_of(), VOYAGE, COHERE)
    assert (refusal.type, refusal.param) == ("validation_error", "model")
    assert "enabled are: voyage, cohere" in refusal.message
    none = no_plan_of(ask_of(), replace(VOYAGE, enabled=False))
    assert none.type == "validation_error"
    assert "none is enabled" in none.message


def test_local_does_not_count_once_another_exists() -> None:
    assert plan_of(ask_of(), has_local=True).provider == "local"
    assert plan_of(ask_of(), VOYAGE, has_local=True).provider == "voyage"
    registered = row_of("local", "local")
    assert plan_of(ask_of(), registered, VOYAGE, has_local=True).provider == "voyage"
    assert plan_of(ask_of(), registered, has_local=True).provider == "local"
    # by its name it is always there
    assert plan_of(ask_of(provider="local"), VOYAGE, has_local=True).provider == "local"
    assert told(plan_of(ask_of("local"), VOYAGE, has_local=True))[0] == "local"
    assert no_plan_of(ask_of(provider="local"), VOYAGE).type == "unknown_provider"


def test_nothing_is_configured() -> None:
    for ask, kind in (
        (ask_of(), "validation_error"), (ask_of("m"), "model_not_found"),
        (ask_of("a/b"), "model_not_found"), (ask_of(provider="voyage"), "unknown_provider"),
    ):  # fmt: skip
        refusal = no_plan_of(ask)
        assert refusal.type == kind
        assert "emr-local.pyz" in refusal.message
        assert "providers add" in refusal.message


def test_an_unknown_model_lists_the_known_ones() -> None:
    refusal = no_plan_of(ask_of("gpt"), VOYAGE, COHERE, models={"alias": f"voyage/{CODE}"})
    assert (refusal.type, refusal.param) == ("model_not_found", "model")
    assert "known are: alias, voyage-code-3" in refusal.message
    assert " more" in refusal.message
    assert "emr-local.pyz" not in refusal.message
    assert len(no_plan_of(ask_of("x" * 10_000), VOYAGE).message) < 1000


def test_who_insists_on_another_name_is_told_of_aliases() -> None:
    said = no_plan_of(ask_of('text-embedding-3-"x"'), has_local=True).message
    assert said.endswith('[models] "text-embedding-3-\\"x\\"" = "local/wordllama-256"')
    assert "[models]" not in no_plan_of(ask_of("gpt"), VOYAGE, has_local=True).message


# who may


NARROW = Principal("key-2", "narrow", frozenset({"second"}))


def test_a_key_that_may_not_use_the_provider() -> None:
    for ask in (ask_of(provider="voyage"), ask_of("voyage"), ask_of("embed-v4.0")):
        refusal = no_plan_of(ask, VOYAGE, COHERE, who=NARROW)
        assert refusal.type == "forbidden"
        assert "it may use second" in refusal.message


def test_a_key_gets_a_model_from_the_provider_that_it_may_use() -> None:
    second = row_of("second", "voyage")
    plan = plan_of(ask_of(CODE), VOYAGE, second, who=NARROW)
    assert plan.provider == "second"
    assert members(plan) == ["second"], "and from no other of the family"


def test_a_key_is_not_told_of_models_that_it_may_not_use() -> None:
    refusal = no_plan_of(ask_of("x"), VOYAGE, server("second", "mine"), who=NARROW)
    assert "known are: mine" in refusal.message
    assert CODE not in refusal.message
