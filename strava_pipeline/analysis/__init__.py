"""Figures of a ride or run from its samples: pure numpy, no I/O, no Dagster, no SQL."""
