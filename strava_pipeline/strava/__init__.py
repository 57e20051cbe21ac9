"""Strava's API: client, transport, quota arithmetic, OAuth, and the mapping of answers to rows."""
