"""Keeps the ledger of calls to Strava."""
