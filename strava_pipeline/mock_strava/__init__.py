"""A mock of Strava for development, tests and the demo; as strict as Strava's API."""
