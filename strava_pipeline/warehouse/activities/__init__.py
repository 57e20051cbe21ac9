"""Stores activities, their details and samples."""
