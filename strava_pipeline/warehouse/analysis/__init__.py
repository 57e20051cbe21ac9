"""Stores the figures that the analysis computes from samples, and reads its inputs."""
