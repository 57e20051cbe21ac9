"""Partitions: athlete x month. A month is a UTC month of ``start_date``."""

from collections.abc import Iterable, Iterator
from datetime import UTC, date, datetime
from itertools import groupby

import dagster as dg

from strava_pipeline.months import Span, month_span
from strava_pipeline.names import ATHLETE, MONTH, Names, athlete_of_key, month_key, month_of_key


def athlete_partitions(names: Names) -> dg.DynamicPartitionsDefinition:
    """One partition per connected athlete."""
    return dg.DynamicPartitionsDefinition(name=names.partition_set)


def grid_from(names: Names, start: date) -> dg.MultiPartitionsDefinition:
    """Athlete x month, from the month that holds ``start`` on."""
    # end_offset: the current month is a partition, too, since new activities fall into it.
    months = dg.MonthlyPartitionsDefinition(start_date=start.replace(day=1).isoformat(), end_offset=1)
    return dg.MultiPartitionsDefinition({ATHLETE: athlete_partitions(names), MONTH: months})


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
        parsed = _cell_of(str(key))
        cells[span_of(parsed)] = parsed
    ordered = sorted(cells, key=lambda span: (span.athlete_id, span.start), reverse=True)
    for athlete_id, spans in groupby(ordered, key=lambda span: span.athlete_id):
        yield athlete_id, {span: cells[span] for span in spans}


def _cell_of(key: str) -> dg.MultiPartitionKey:
    month = month_of_key(key)
    if month is None:
        raise ValueError(f"{key} is no partition of an athlete's month")
    return cell(int(athlete_of_key(key)), month)


def register_athlete(instance: dg.DagsterInstance, names: Names, athlete_id: int) -> None:
    """Create an athlete's partitions; does nothing if they exist."""
    instance.add_dynamic_partitions(names.partition_set, [str(athlete_id)])


def unregister_athlete(instance: dg.DagsterInstance, names: Names, athlete_id: int) -> None:
    """Delete an athlete's partitions; does nothing if there are none."""
    instance.delete_dynamic_partition(names.partition_set, str(athlete_id))
