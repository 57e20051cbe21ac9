"""The assets, one file per group. ``defs/code_location.py`` puts them together; ``names.py`` has their names."""
