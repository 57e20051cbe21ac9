"""Declares every table and view with the comments of their columns."""
