"""Stores tokens, encrypted, and every change to them."""
