"""Stores made-up summaries with dlt's Postgres destination: started by ``store_summaries``, in dlt's environment.

Takes a file with one summary on each line, and the address of the database; prints the seconds of wall time and of
processor time.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dlt  # type: ignore[import-not-found]  # in an environment of the benchmark's own

PAGE = 1000


def pages(bodies: list[dict[str, Any]]) -> Iterator[list[dict[str, Any]]]:
    """Yield the summaries in pages, as a paged API does."""
    for first in range(0, len(bodies), PAGE):
        yield bodies[first : first + PAGE]


def main() -> None:
    """Load all summaries into an empty table, with dlt's merge, which updates existing rows as our way does."""
    bodies = [json.loads(line) for line in Path(sys.argv[1]).read_text(encoding="utf-8").splitlines()]
    with tempfile.TemporaryDirectory() as folder:
        pipeline = dlt.pipeline(
            pipeline_name="summaries",
            pipelines_dir=folder,
            destination=dlt.destinations.postgres(sys.argv[2]),
            dataset_name="dlt_summaries",
        )
        resource = dlt.resource(pages(bodies), name="activities", write_disposition="merge", primary_key="id")
        began, before = time.perf_counter(), time.process_time()
        pipeline.run(resource).raise_on_failed_jobs()
        print(f"seconds {time.perf_counter() - began} {time.process_time() - before}")


if __name__ == "__main__":
    main()
