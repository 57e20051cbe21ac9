"""Components, and the project's own definitions."""
