"""Brings stored activities up to date with Strava, without Dagster."""
