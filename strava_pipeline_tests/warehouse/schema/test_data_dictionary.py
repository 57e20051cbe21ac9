"""The data dictionary is what the declarations say, and so does the database."""

from __future__ import annotations

from pathlib import Path

from sqlalchemy import Engine, text

from strava_pipeline.warehouse.schema.data_dictionary import data_dictionary
from strava_pipeline.warehouse.schema.views import VIEWS

PAGE = Path(__file__).parents[3] / "docs" / "data-dictionary.md"
COMMENTS = text(
    """
    SELECT c.relname, a.attname, d.description
    FROM pg_class AS c
    JOIN pg_attribute AS a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
    LEFT JOIN pg_description AS d ON d.objoid = c.oid AND d.classoid = 'pg_class'::regclass AND d.objsubid = a.attnum
    WHERE c.relnamespace = 'strava'::regnamespace AND c.relkind = 'v'
    ORDER BY c.relname, a.attnum
    """
)


def test_the_page_in_the_docs_is_the_one_of_these_tables() -> None:
    assert PAGE.read_text(encoding="utf-8") == data_dictionary(), "make docs writes it anew"


def test_the_views_of_the_database_have_the_declared_columns_and_comments(engine: Engine) -> None:
    declared = [
        (view.name, name, meaning)
        for view in sorted(VIEWS, key=lambda view: view.name)
        for name, meaning in view.columns.items()
    ]
    with engine.connect() as connection:
        assert [tuple(row) for row in connection.execute(COMMENTS)] == declared
