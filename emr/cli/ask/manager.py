"""What management commands ask for, whoever does it; and the one that asks a running server."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Protocol
from urllib.parse import urlencode

from emr.cli.ask.api import Api, message_of, part, value_of
from emr.cli.trouble import Trouble

CALL_S = 60.0  # the longest that a call of a test or a probe takes (emr.control.trials)
SPARE_S = 10.0
TEST_FAILED = 502

Fields = Mapping[str, object]
Told = dict[str, Any]


class Manager(Protocol):
    """Changes keys and providers. Every method raises Trouble with why it was refused."""

    @property
    def where(self) -> str:
        """What it changes, for messages."""

    def create_key(self, fields: Fields) -> Told:
        """Make a key; the answer has it as `key`, this once."""

    def keys(self) -> list[Told]:
        """Every key, the oldest first, without the key itself."""

    def change_key(self, key_id: str, fields: Fields) -> Told:
        """Change the name or limits of a key."""

    def revoke_key(self, key_id: str) -> None:
        """Refuse a key from now on."""

    def rotate_key(self, key_id: str) -> Told:
        """A new key of the same name and limits; the old one is revoked."""

    def add_provider(self, fields: Fields) -> Told:
        """Register a provider."""

    def providers(self) -> list[Told]:
        """Every provider."""

    def change_provider(self, name: str, fields: Fields) -> Told:
        """Change a provider."""

    def remove_provider(self, name: str) -> None:
        """Take a provider away."""

    def test_provider(self, name: str, fields: Fields) -> Told:
        """Make one call; `status` of the answer is `ok` or `error`."""

    def probe_provider(self, name: str, sizes: Sequence[int], samples: int) -> Iterator[Told]:
        """Make calls of these sizes; a line a size, as each is done."""

    def usage(self, asked: Mapping[str, str]) -> Told:
        """What was used, by `by`, `since` and `until` of `GET /admin/usage`."""


class OverApi:
    """A Manager that asks the admin API of a server."""

    def __init__(self, api: Api, where: str) -> None:
        self._api = api
        self.where = where

    def create_key(self, fields: Fields) -> Told:
        """See Manager."""
        return _told(self._api.ask("POST", "/admin/keys", fields))

    def keys(self) -> list[Told]:
        """See Manager."""
        return _list(self._api.ask("GET", "/admin/keys"))

    def change_key(self, key_id: str, fields: Fields) -> Told:
        """See Manager."""
        return _told(self._api.ask("PATCH", f"/admin/keys/{part(key_id)}", fields))

    def revoke_key(self, key_id: str) -> None:
        """See Manager."""
        self._api.ask("DELETE", f"/admin/keys/{part(key_id)}")

    def rotate_key(self, key_id: str) -> Told:
        """See Manager."""
        return _told(self._api.ask("POST", f"/admin/keys/{part(key_id)}/rotate"))

    def add_provider(self, fields: Fields) -> Told:
        """See Manager."""
        return _told(self._api.ask("POST", "/admin/providers", fields))

    def providers(self) -> list[Told]:
        """See Manager."""
        return _list(self._api.ask("GET", "/admin/providers"))

    def change_provider(self, name: str, fields: Fields) -> Told:
        """See Manager."""
        return _told(self._api.ask("PATCH", f"/admin/providers/{part(name)}", fields))

    def remove_provider(self, name: str) -> None:
        """See Manager."""
        self._api.ask("DELETE", f"/admin/providers/{part(name)}")

    def test_provider(self, name: str, fields: Fields) -> Told:
        """See Manager."""
        path = f"/admin/providers/{part(name)}/test"
        answer = self._api.answer("POST", path, fields, CALL_S + SPARE_S)
        if answer.is_success:
            return _told(value_of(answer.content))
        # the body of a failed test has the provider's words where others have a type
        if answer.status_code == TEST_FAILED:
            return {"name": name, "status": "error", "error": message_of(answer.content)}
        raise Trouble(self._api.refusal(answer))

    def probe_provider(self, name: str, sizes: Sequence[int], samples: int) -> Iterator[Told]:
        """See Manager."""
        path = f"/admin/providers/{part(name)}/probe"
        fields = {"sizes": list(sizes), "samples": samples}
        return map(_told, self._api.lines(path, fields, samples * CALL_S + SPARE_S))

    def usage(self, asked: Mapping[str, str]) -> Told:
        """See Manager."""
        query = f"?{urlencode(asked)}" if asked else ""
        told = _told(self._api.ask("GET", f"/admin/usage{query}"))
        if not isinstance(told.get("usage"), list) or not isinstance(told.get("total"), dict):
            raise Trouble("the answer is not one of emr's: is this an emr?")
        return told


def _told(value: Any) -> Told:
    if not isinstance(value, dict):
        raise Trouble("the answer is not one of emr's: is this an emr?")
    return value


def _list(value: Any) -> list[Told]:
    if not isinstance(value, list):
        raise Trouble("the answer is not one of emr's: is this an emr?")
    return [_told(each) for each in value]
