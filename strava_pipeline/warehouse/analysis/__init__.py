"""Stores what the analysis computes from samples, and reads what it needs."""
