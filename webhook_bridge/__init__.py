"""The Flask app that Strava talks to: verifies webhooks, stores them, and launches Dagster runs."""
