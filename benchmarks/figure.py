"""How a benchmark prints what it measured."""

from __future__ import annotations


def show(name: str, value: float | str, unit: str = "", target: str = "") -> None:
    """One figure on one line: name, value with unit, and the target it is held against."""
    text = value if isinstance(value, str) else f"{value:,.3f}".rstrip("0").rstrip(".")
    print(f"{name:58} {text:>12} {unit:4} {f'(target {target})' if target else ''}".rstrip(), flush=True)
