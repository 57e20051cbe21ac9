"""Keeps what is compared with Strava again and again, and when it is due."""
