"""Keeps which months of an athlete were imported, and which failed."""
