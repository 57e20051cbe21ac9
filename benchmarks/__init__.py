"""The project's figures, each a command: ``python -m benchmarks.<name>``."""
