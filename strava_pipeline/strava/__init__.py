"""Everything said to Strava: client, transport, quota arithmetic, OAuth, and the mapping of its answers."""
