"""Keeps what is to be imported of each athlete, which months were imported, and which failed."""
