"""Stores the figures that the analysis computes."""
