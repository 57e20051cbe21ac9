"""Stores activities, their details and streams."""
