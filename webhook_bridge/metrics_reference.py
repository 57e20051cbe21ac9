"""Makes docs/metrics.md, which lists every metric of ``/metrics``, from the metrics' declarations.

``python -m webhook_bridge.metrics_reference > docs/metrics.md`` writes the page anew.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator

from prometheus_client import Metric

from strava_pipeline.watch.families import PREFIX, Family, Kind
from strava_pipeline.watch.table_families import QUICK, SLOW
from webhook_bridge.counters import Counters
from webhook_bridge.metrics import STATE

HEADER = """\
# Metrics

The bridge tells its metrics to Prometheus at `GET /metrics`: what it counted itself, and what the tables say of all
processes. Set one of these, or both; with neither there is no such page:

- `STRAVA_METRICS_TOKEN`, 16 characters or more: the bridge's own port serves `/metrics` to whoever sends it as a bearer
  token. The token opens nothing else.
- `STRAVA_METRICS_PORT`: a port of its own, which has nothing but `/metrics` and asks for no token. It listens on
  loopback, or on `STRAVA_METRICS_HOST`. On loopback it answers under this machine's names and `STRAVA_BRIDGE_HOSTS`
  only. On another address everybody who reaches the port can read it: let a firewall or the network of your containers
  decide who that is. With several bridges on one machine, give each its own port.

### Connect Prometheus

1. Make a token, such as by `openssl rand -hex 24`. Write it into `.env` under `STRAVA_HOME` as
   `STRAVA_METRICS_TOKEN=...`, and alone into `/etc/prometheus/strava-metrics-token`, a file that only Prometheus' user
   can read. Restart the bridge.
2. Copy [deploy/prometheus/alerts.yml](../deploy/prometheus/alerts.yml) to `/etc/prometheus/`, and add this to
   `/etc/prometheus/prometheus.yml` ([deploy/prometheus/prometheus.yml](../deploy/prometheus/prometheus.yml) is a whole
   one). Keep the name of the job, which some of the alerts ask for. List each bridge as a target:

   ```yaml
   rule_files:
     - alerts.yml
   scrape_configs:
     - job_name: strava-pipeline
       scrape_interval: 15s
       authorization:
         credentials_file: strava-metrics-token
       static_configs:
         - targets: ["127.0.0.1:8080"]
   ```

3. Check it by `promtool check config /etc/prometheus/prometheus.yml`, and reload Prometheus (send it SIGHUP). Its page
   *Targets* shows the job as up, *Alerts* the rules; `Watchdog` fires always. If the job is down, see
   [bridge-down](operations.md#bridge-down).
4. Name your Alertmanager below `alerting` in `prometheus.yml`: Prometheus itself tells nobody.
5. For Grafana go on with [dashboards.md](dashboards.md).

With `STRAVA_METRICS_PORT` leave the token and `authorization` out, and name that port in `targets`.

`alerts.yml` has one alert for each rule of ours, others for what no bridge can tell, such as that none answers, and a
`Watchdog` that always fires.

Do not let a proxy forward `/metrics`: it is for your network. Forward only the paths that Strava and athletes need
([first-app.md](first-app.md#5-let-strava-reach-the-bridge)).

### What the figures mean

A scrape asks neither the database nor Dagster. A thread of the bridge reads both every 15 s, and
`strava_pipeline_reading_timestamp_seconds` tells when it last did. While the database is away, `/metrics` answers 200
with `strava_pipeline_database_up 0`, and the metrics of the tables are left out: values that stand still would look
like a pipeline in which nothing happens. They are also left out when the last reading is older than a minute. No metric
is about a single athlete.

Counters of the tables never fall, also when retention deletes what they counted. There are no rates and no ages: use
`rate()`, and `time() - ..._timestamp_seconds`. Labels have few values, and all values of a counter are there from the
start. This page is made from the code (`make docs`).
"""
TABLES = """\
## From the tables

What runs, commands and bridges did, as the tables have it. Each bridge tells the same, so join several by `max`:

    max without (instance) (strava_pipeline_inbox_events)
    sum(max without (instance) (rate(strava_pipeline_api_calls_total[5m])))

A bridge reads them every 15 s, those marked *slow* less often. A time is left out where there is no such thing, such as
the oldest open event of an empty inbox. A row counts once it has ended; a call whose process died counts as one without
an answer, ten minutes later. What had ended before the upgrade to this version does not count.
"""
BRIDGE = """\
## What a bridge counts

Each bridge counts for itself, from 0 at its start. With several bridges take the `sum`; counters restart with the
process, which `rate()` and `increase()` know.

    sum without (instance) (rate(strava_pipeline_deliveries_accepted_total[5m]))
"""
REASONS = """\
The reasons of rejected deliveries:

| reason | the delivery |
| --- | --- |
| `path` | came without the secret part of the path |
| `too_large` | is larger than 16 KiB |
| `signature_missing` | is not signed |
| `signature_malformed` | has a signature in another form than Strava's |
| `signature_wrong` | is signed with another key |
| `signature_expired` | was signed more than five minutes ago, or this machine's clock is wrong |
| `malformed` | is not exactly one event |
| `subscription` | is of another subscription than `STRAVA_WEBHOOK_SUBSCRIPTION_ID`; the log has both ids |
| `database` | was not stored in time, and answered 503; Strava delivers it again |
| `fault` | met an error of this program, which the log has |

Requests that the server refuses before the app sees them, such as those that can be read in two ways, are not counted.

The same counts of deliveries, of all bridges together, stand in the table `ops.delivery_counts` in slots of five
minutes, for 35 days. Each bridge adds to it every 15 s, and when it stops. While the database is away it keeps its
counts and adds them later. A bridge that is killed (`kill -9`) loses those of its last 15 s, or since the database is
away.
"""
STATES = """\
## How a bridge is

Look at each `instance`. Several bridges ask the same Dagster, so take the `max` of `dagster_queued_runs`.
"""
UNITS = {"seconds": "s", "calls": "calls", "connections": "connections", "day": "calls a day"}


def metrics_reference() -> str:
    """Return the whole page, in Markdown."""
    tables, counted = _table((*QUICK, *SLOW)), _table(map(_counted, Counters().collect()))
    return "\n".join([HEADER, TABLES, *tables, "", BRIDGE, *counted, "", REASONS, STATES, *_table(STATE), ""])


def _counted(metric: Metric) -> Family:
    """The declaration of a metric that the library made."""
    labels = tuple(label for label in metric.samples[0].labels if label != "le")
    return Family(Kind(metric.type), metric.name.removeprefix(f"{PREFIX}_"), metric.documentation, labels)


def _table(families: Iterable[Family]) -> Iterator[str]:
    yield "| metric | type | labels | unit | meaning |"
    yield "| --- | --- | --- | --- | --- |"
    for family in families:
        labels = ", ".join(f"`{label}`" for label in family.labels)
        told = f"{family.told} *Slow.*" if family in SLOW else family.told
        yield f"| `{family.full_name}` | {family.kind} | {labels} | {_unit(family)} | {told} |"


def _unit(family: Family) -> str:
    if family.name.endswith("timestamp_seconds"):
        return "unix time, s"
    return UNITS.get(family.name.rpartition("_")[2], "")


if __name__ == "__main__":
    sys.stdout.write(metrics_reference())
