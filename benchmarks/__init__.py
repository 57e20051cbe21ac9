"""Benchmarks, which measure the project's figures; each is a command: ``python -m benchmarks.<name>``."""
