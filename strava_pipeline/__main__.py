"""``python -m strava_pipeline`` is the command ``strava-pipeline``."""

from strava_pipeline.cli import main

main()
