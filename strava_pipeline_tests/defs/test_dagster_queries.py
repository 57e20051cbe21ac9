"""What the bridge asks Dagster is valid in the GraphQL of the Dagster that is installed."""

from __future__ import annotations

import pytest
from dagster_graphql.schema import create_schema
from graphql import GraphQLSchema, parse, validate

from webhook_bridge import dagster_api, dagster_place, failed_run_queries, standing_still

QUERIES = {
    name: text
    for module in (dagster_api, dagster_place, failed_run_queries, standing_still)
    for name, text in vars(module).items()
    if isinstance(text, str) and text.lstrip().startswith(("query ", "mutation "))
}


@pytest.fixture(scope="module")
def schema() -> GraphQLSchema:
    schema: GraphQLSchema = create_schema().graphql_schema
    return schema


@pytest.mark.parametrize("name", QUERIES)
def test_each_query_is_valid(schema: GraphQLSchema, name: str) -> None:
    assert validate(schema, parse(QUERIES[name])) == []


def test_queries_were_found() -> None:
    assert {"_LAUNCH_RUN", "_JOBS", "_FAILED", "_AUTOMATION"} <= set(QUERIES)
