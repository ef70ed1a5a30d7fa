"""The APIs that the fake speaks: a row for each."""

from __future__ import annotations

from collections.abc import Mapping

from emr.fake.forms.cohere import Cohere
from emr.fake.forms.form import Form
from emr.fake.forms.openai import OpenAI
from emr.fake.forms.voyage import Voyage

FORMS: Mapping[str, Form] = {form.name: form for form in (Voyage(), OpenAI(), Cohere())}


def route_table(default: str) -> dict[str, tuple[Form, str]]:
    """Every path with its form and route: prefixed by the form's name, and bare.

    A bare path that several forms have belongs to `default`.
    """
    table: dict[str, tuple[Form, str]] = {}
    first = FORMS[default]
    for form in (first, *FORMS.values()):
        for path, route in form.routes.items():
            table[f"/{form.name}{path}"] = (form, route)
            table.setdefault(path, (form, route))
    return table
