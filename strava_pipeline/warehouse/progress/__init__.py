"""Stores how far imports have come."""
