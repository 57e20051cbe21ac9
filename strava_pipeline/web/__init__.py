"""Checks shared by the bridge and the guard of Dagster's UI."""
