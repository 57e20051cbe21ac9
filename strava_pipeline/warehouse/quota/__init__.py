"""Keeps the ledger of requests to Strava."""
