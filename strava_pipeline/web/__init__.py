"""Parts of the checks of requests that the bridge and the guard of Dagster's UI share."""
