"""Partitions: athlete x month. A month is a UTC month of ``start_date``."""

from collections.abc import Iterable, Iterator
from datetime import UTC, date, datetime
from itertools import groupby

import dagster as dg

from strava_pipeline.months import Span, month_span
from strava_pipeline.names import ATHLETE, MONTH, NAMES, month_key
from strava_pipeline.settings import Settings

athletes_partitions = dg.DynamicPartitionsDefinition(name=NAMES.partition_set)


def grid_from(start: date) -> dg.MultiPartitionsDefinition:
    """Athlete x month, from the month that holds ``start`` on."""
    # end_offset: the current month is a partition, too, since new activities fall into it.
    months = dg.MonthlyPartitionsDefinition(start_date=start.replace(day=1).isoformat(), end_offset=1)
    return dg.MultiPartitionsDefinition({ATHLETE: athletes_partitions, MONTH: months})


# Assets are declared with the default start, since settings are not read at import; build_strava_defs() replaces this
# grid by the one from STRAVA_HISTORY_START.
grid_partitions = grid_from(Settings.model_fields["history_start"].default)


def cell(athlete_id: int, moment: date) -> dg.MultiPartitionKey:
    """The partition of an athlete's month that holds ``moment`` (UTC)."""
    return dg.MultiPartitionKey({ATHLETE: str(athlete_id), MONTH: month_key(moment)})


def span_of(key: dg.MultiPartitionKey) -> Span:
    """The athlete and the time span of a partition."""
    month = datetime.fromisoformat(key.keys_by_dimension[MONTH]).replace(tzinfo=UTC)
    return month_span(int(key.keys_by_dimension[ATHLETE]), month)


def spans_by_athlete(keys: Iterable[str]) -> Iterator[tuple[int, dict[Span, dg.MultiPartitionKey]]]:
    """A run's partitions by athlete, each athlete's months newest first; a run's range may cross athletes."""
    cells = {}
    for key in keys:
        parsed = grid_partitions.get_partition_key_from_str(str(key))
        cells[span_of(parsed)] = parsed
    ordered = sorted(cells, key=lambda span: (span.athlete_id, span.start), reverse=True)
    for athlete_id, spans in groupby(ordered, key=lambda span: span.athlete_id):
        yield athlete_id, {span: cells[span] for span in spans}


def register_athlete(instance: dg.DagsterInstance, athlete_id: int) -> None:
    """Create an athlete's partitions; does nothing if they exist."""
    instance.add_dynamic_partitions(NAMES.partition_set, [str(athlete_id)])


def unregister_athlete(instance: dg.DagsterInstance, athlete_id: int) -> None:
    """Delete an athlete's partitions; does nothing if there are none."""
    instance.delete_dynamic_partition(NAMES.partition_set, str(athlete_id))
