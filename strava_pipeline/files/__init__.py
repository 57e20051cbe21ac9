"""What people hand in: recordings and the athlete's own archive, read into rows and streams in Strava's shape."""
