"""Jobs that are not assets."""
