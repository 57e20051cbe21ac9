"""Analysis of one activity from its samples, in pure numpy: no I/O, no Dagster, no SQL."""
