"""A cycling club's Dagster project, which was there before Strava came."""
