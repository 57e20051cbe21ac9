"""Jobs and their schedules; ``defs/code_location.py`` lists both."""
