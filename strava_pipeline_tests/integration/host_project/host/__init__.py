"""Somebody's Dagster project, with the names that come to mind first."""
