"""Maps Strava's answers to rows of our tables."""
