"""Keeps a SQL copy of athletes' Strava activities complete, correct and fresh, inside Dagster."""
