"""What is handed in for athletes: Strava's archive and files of devices, merged with what Strava's API tells."""
