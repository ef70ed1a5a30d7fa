"""Every cell of every type of provider, over emr's real socket, against what is written down."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from emr.fake.forms import FORMS
from emr.upstream.table import KINDS
from tests.table.run import read_found, run_cells, tables_of
from tests.table.subjects import SUBJECTS, Subject

FOUND = read_found()


@pytest.mark.parametrize("subject", SUBJECTS, ids=[subject.name for subject in SUBJECTS])
def test_cells(tmp_path: Path, subject: Subject) -> None:
    found = asyncio.run(run_cells(tmp_path, subject))
    assert found == FOUND[subject.name], "if that is right: scripts/provider-table"


def test_every_type_of_provider_is_tried_and_every_cell_written_down() -> None:
    assert {subject.kind_name for subject in SUBJECTS} == KINDS.keys()
    assert {form.name for form in FORMS.values()} | {"local"} == KINDS.keys()
    for subject in SUBJECTS:
        written = FOUND[subject.name]
        assert {table: [*columns] for table, columns in written.items()} == {
            table: [*columns] for table, columns in tables_of(subject).items()
        }
    assert len(FOUND) == len(SUBJECTS)
