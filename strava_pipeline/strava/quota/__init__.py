"""Computes rate windows and the share of each lane."""
