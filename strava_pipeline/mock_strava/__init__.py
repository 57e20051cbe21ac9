"""A Strava look-alike for development, tests and the demo; strict where Strava is."""
