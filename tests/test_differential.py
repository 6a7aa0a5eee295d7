"""What this library refuses that others accept or stumble over, row by row, and the page that says so."""

from __future__ import annotations

import pytest

from tests.differential import CONTROLS, LIBRARIES, ROWS, TABLE, Row, outcome, outcomes, table

OURS = LIBRARIES.index("graphql-authkit")


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_an_odd_token_is_refused_with_an_error_of_ours(row: Row) -> None:
    word, _, name = outcomes(row.name)[OURS].partition(": ")
    assert (word, name) == ("refused at set-up", "ConfigurationError") or word == "refused", name


def test_a_good_token_is_accepted_by_all() -> None:
    assert [outcome(library, CONTROLS[0]) for library in LIBRARIES] == ["accepted"] * 4


@pytest.mark.parametrize("row", CONTROLS, ids=lambda row: row.name)
def test_a_good_token_is_accepted_by_ours_whatever_stands_beside_its_key(row: Row) -> None:
    assert outcome("graphql-authkit", row) == "accepted"


def test_every_row_has_a_name_of_its_own_and_says_what_is_wrong() -> None:
    rows = [*CONTROLS, *ROWS]
    assert len({row.name for row in rows}) == len(rows)
    assert all(row.description and "\n" not in row.description for row in rows)


def test_the_committed_page_is_what_a_run_gives_now() -> None:
    """`python -m tests.differential` writes it anew. With other versions of the others only our column must agree."""
    committed, now = TABLE.read_text(encoding="utf-8"), table()
    if versions(committed) == versions(now):
        assert committed == now
    assert ours(committed) == ours(now)


def versions(page: str) -> list[str]:
    return [line for line in page.splitlines() if line.startswith("Versions: ")]


def ours(page: str) -> list[list[str]]:
    """Name, description and our outcome of each row."""
    rows = [line.split(" | ") for line in page.splitlines() if line.startswith("| ")]
    return [row[:3] for row in rows if len(row) == 2 + len(LIBRARIES)]
