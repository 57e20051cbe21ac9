"""The Flask app Strava talks to: verifies webhooks, stores them, and asks Dagster for runs."""
