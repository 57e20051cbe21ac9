"""Prints the figures of benchmarks."""

from __future__ import annotations


def show(name: str, value: float | str, unit: str = "", target: str = "") -> None:
    """Print one figure on one line: name, value with unit, and the target."""
    text = value if isinstance(value, str) else f"{value:,.3f}".rstrip("0").rstrip(".")
    print(f"{name:58} {text:>12} {unit:4} {f'(target {target})' if target else ''}".rstrip(), flush=True)
