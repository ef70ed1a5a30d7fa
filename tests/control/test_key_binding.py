"""A key goes only to the host it was given for, whatever is edited in whatever order."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import Future
from typing import Any
from urllib.parse import urlsplit

from hypothesis import given, settings
from hypothesis import strategies as st

from emr.control.rows import BadRow, Row, Source
from emr.control.settings import Settings
from emr.control.store import Store
from emr.lane.refusal import Refused
from tests.control.parts import KINDS, PATIENCE_S, RULES, FakeLoop, make_providers

GOOD = ("A_API_KEY", "B_API_KEY", "C_API_KEY")
BAD = ("EMR_X_API_KEY", "OTHER")
ENDPOINTS = (
    "https://a.test/e", "https://a.test/f", "https://b.test", "http://127.0.0.1:1/e",
    "https://api.voyage.test/v1/embeddings", "https://api.cohere.test/v2/embed", "http://c.test/e",
)  # fmt: skip
NAMES = st.sampled_from(["one", "two"])
KIND_NAMES = st.sampled_from(["voyage", "cohere", "openai-compatible", "tei"])

variables = st.sampled_from([*GOOD, *GOOD, *BAD])
keys = st.one_of(
    st.just({}),
    st.fixed_dictionaries({"api_key_env_var": st.sampled_from([*GOOD, "", None])}),
    st.fixed_dictionaries(
        {"api_key_env_vars": st.lists(variables, min_size=1, max_size=2, unique=True)}
    ),
    st.fixed_dictionaries({"api_key_env_var": variables}),
)
endpoints = st.just({}) | st.fixed_dictionaries(
    {"endpoint": st.sampled_from([*ENDPOINTS, "", None])}
)
others = st.sampled_from([{}, {}, {"model": "m"}, {"enabled": False}, {"allow_http": True}])
changes = st.tuples(keys, endpoints, others).map(lambda parts: {**parts[0], **parts[1], **parts[2]})
edits = st.one_of(
    st.tuples(st.just("patch"), NAMES, changes),
    st.tuples(st.just("patch"), NAMES, changes),
    st.tuples(st.just("replace"), NAMES, st.tuples(KIND_NAMES, changes)),
    st.tuples(st.just("write_file"), NAMES, st.tuples(KIND_NAMES, changes)),
    st.tuples(st.just("take_from_file"), NAMES, st.none()),
    st.tuples(st.just("restart"), NAMES, st.none()),
)


def host(row: Row) -> str:
    return urlsplit(row.endpoint).netloc


class World:
    """The providers, and the pairs of variable and host that somebody stated together."""

    def __init__(self) -> None:
        self.store = Store(None)
        self.loop = FakeLoop()
        self.file: dict[str, Row] = {}
        self.providers = make_providers(self.store, self.loop)
        self.stated = {
            (kind.key_variable, urlsplit(kind.endpoint).netloc) for kind in KINDS.values()
        }
        for name in ("one", "two"):
            self.replace(name, ("voyage", {"api_key_env_var": "VOYAGE_API_KEY"}))

    def _done(self, told: Mapping[str, Any], act: Callable[[], Any]) -> Any:
        try:
            outcome = act()
            if isinstance(outcome, Future):
                outcome = outcome.result(timeout=PATIENCE_S)
        except (Refused, BadRow):
            return None
        named = [told.get("api_key_env_var"), *(told.get("api_key_env_vars") or ())]
        self.stated |= {(variable, host(outcome)) for variable in named if variable}
        return outcome

    def patch(self, name: str, told: dict[str, Any]) -> None:
        self._done(told, lambda: self.providers.patch(name, told))

    def replace(self, name: str, made: tuple[str, dict[str, Any]]) -> None:
        told = {"name": name, "provider_type": made[0], "model": "m", **made[1]}
        self._done({}, lambda: self.providers.delete(name))
        self._done(told, lambda: self.providers.add(told))

    def write_file(self, name: str, made: tuple[str, dict[str, Any]]) -> None:
        told = {"name": name, "provider_type": made[0], "model": "m", **made[1]}
        row = self._done(told, lambda: RULES.make(told, Source.FILE))
        if row is not None:
            self.file[name] = row
            self.providers.reload(self._settings())

    def take_from_file(self, name: str, _: None) -> None:
        self.file.pop(name, None)
        self.providers.reload(self._settings())

    def restart(self, _: str, __: None) -> None:
        self.providers = make_providers(self.store, self.loop, self._settings())

    def _settings(self) -> Settings:
        return Settings(providers=tuple(self.file.values()))

    def check(self) -> None:
        for row in self.providers.rows():
            for variable in row.key_variables:
                assert (variable, host(row)) in self.stated, row
            if row.source is Source.DATABASE:
                assert not set(BAD) & set(row.key_variables), row
                assert not row.allow_http


@settings(max_examples=300, deadline=None)
@given(st.lists(edits, min_size=1, max_size=12))
def test_a_key_goes_only_where_it_was_given_for(steps: list[tuple[str, str, Any]]) -> None:
    world = World()
    try:
        for act, name, told in steps:
            getattr(world, act)(name, told)
            world.check()
    finally:
        world.store.close()
