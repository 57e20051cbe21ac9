"""The link to the bridge's page of an athlete's month, which draws from the tables when it is looked at."""

import dagster as dg

from strava_pipeline.months import Span, month_text
from strava_pipeline.settings import Settings

LINK = "route and elevation"


def month_link(settings: Settings, span: Span) -> dict[str, dg.MetadataValue]:
    """Metadata with the address of a month's page.

    Dagster keeps metadata for long, and copies them. So they hold no picture and no name, which would outlive the
    activities that they show.
    """
    base = settings.bridge_public_url or f"http://127.0.0.1:{settings.bridge_port}"
    return {LINK: dg.MetadataValue.url(f"{base}/months/{span.athlete_id}/{month_text(span.start)}")}
