"""Keeps webhook events from receipt to their end."""
