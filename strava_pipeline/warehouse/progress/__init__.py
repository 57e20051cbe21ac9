"""Stores and computes the progress of imports and backfills."""
