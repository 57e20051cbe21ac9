"""What goes wrong for each alert, caused for real in a running stack, and put right again.

Each fault is a context manager: within its block the fault is there; afterwards it is gone, and what it held up goes
on. Where a fault would take hours or days to come or to go, rows are dated back instead; its function says so.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from datetime import timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from urllib.parse import urlsplit

from sqlalchemy import text

from strava_pipeline.errors import DatabaseUnavailable, StravaPipelineError
from strava_pipeline.keyring import generate_key
from strava_pipeline.local.postgres import Server
from strava_pipeline.local.postgres_logins import as_superuser
from strava_pipeline.strava.client import StravaClient
from strava_pipeline.strava.new_host import OLD_HOST, SPELLINGS
from strava_pipeline.strava.quota.windows import Lane
from strava_pipeline.sync.access import open_client
from strava_pipeline.warehouse.schema.upkeep_tables import upkeep
from strava_pipeline.warehouse.schema.wish_tables import STUCK_AFTER
from strava_pipeline.warehouse.states import UpkeepKind
from strava_pipeline_tests.certificates import make_certificate
from strava_pipeline_tests.connect_proxy import connect_proxy
from strava_pipeline_tests.eventually import eventually
from strava_pipeline_tests.integration.running_stack import FIRST, SECOND, Rider, RunningStack
from strava_pipeline_tests.strava.loopback import UNAUTHORIZED, Loopback
from strava_pipeline_tests.upkeeping import make_due
from strava_pipeline_tests.wishes import hurried, is_whole, wish_for

UPKEEP = "upkeep"
ANY_CALL, LISTING = "/api/v3/*", "/api/v3/athlete/activities"
LEAVING = (Rider.LEAVING_1, Rider.LEAVING_2, Rider.LEAVING_3)
REFRESHED = (Rider.REFRESHED_1, Rider.REFRESHED_2, Rider.REFRESHED_3)
# Large writes fill the log's files soon, small ones to their ends.
WRITTEN_BYTES = (1_000_000, 10_000, 100)
# A share of all calls, or events, that changes what the alerts look at.
FEW, MANY_EVENTS, MANY_CALLS = 10, 60, 300


@contextmanager
def calls_to_strava_fail(stack: RunningStack) -> Iterator[None]:
    """Every other call ends with a 500; afterwards many are answered."""
    with stack.failing("/api/v3/athlete", "status", status=500, probability=0.5, seed=1):
        # Several at once, since each is repeated, after pauses.
        with ThreadPoolExecutor(3) as pool:
            list(pool.map(_is_answered, [stack] * FEW))
        yield
    client = _client(stack)
    for _ in range(MANY_CALLS):
        client.get_athlete(Rider.BUSY)


@contextmanager
def strava_answers_nobody(stack: RunningStack) -> Iterator[None]:
    """Every call ends with a 503."""
    with stack.failing(ANY_CALL, "status", status=503), _again_and_again(lambda: _is_answered(stack)):
        yield
    eventually(lambda: _is_answered(stack), "an answer of Strava's")


@contextmanager
def strava_switches_the_app_off(stack: RunningStack) -> Iterator[None]:
    """Every call is refused since the app is inactive. The next try, which is due in an hour, is made due at once."""
    with stack.failing(ANY_CALL, "app_inactive"):
        assert not _is_answered(stack)
        yield
    stack.change("UPDATE ops.app_status SET probe_at = ops.clock()")
    assert _is_answered(stack)


@contextmanager
def a_database_was_restored(stack: RunningStack) -> Iterator[None]:
    """The tables belong to another server, as after a restore. Afterwards they never did: a check would end mails."""
    stack.change("UPDATE ops.database_identity SET system_identifier = system_identifier + 1")
    assert not _is_answered(stack)
    yield
    stack.change("UPDATE ops.database_identity SET system_identifier = system_identifier - 1")
    assert _is_answered(stack)


@contextmanager
def strava_refuses_our_secret(stack: RunningStack) -> Iterator[None]:
    """Access tokens expire, and Strava refuses the app's secret when they are to be refreshed."""
    secret = {"resource": "Application", "field": "client_secret", "code": "invalid"}
    body = {"message": "Unauthorized", "errors": [secret]}
    with stack.failing("/oauth/token", "status", status=401, body=body):
        for rider in REFRESHED:
            stack.control("tokens/expire", {"athlete_id": rider})
            assert not _is_answered(stack, rider)
        yield
    stack.control("tokens/expire", {"athlete_id": Rider.BUSY})
    assert _is_answered(stack)


@contextmanager
def athletes_end_their_grants(stack: RunningStack) -> Iterator[None]:
    """Three athletes end the grant at Strava, which no webhook tells but the next call; they connect again."""
    for rider in LEAVING:
        stack.control("deauthorize", {"athlete_id": rider})
        assert not _is_answered(stack, rider)
    yield
    for rider in LEAVING:
        stack.connect(rider)


@contextmanager
def the_quota_is_used_up(stack: RunningStack) -> Iterator[None]:
    """Strava refuses calls for the rest of the day, whose end is written into the tables; an event waits."""
    with stack.failing(ANY_CALL, "status", status=429, limit="read_day"):
        assert stack.delivers(stack.ride(Rider.BUSY))
        yield
    stack.change("UPDATE ops.quota_windows SET blocked_until = NULL, read_foreign = 0, overall_foreign = 0")
    stack.change("UPDATE ops.webhook_events SET not_before = ops.clock() WHERE waiting_for = 'quota'")
    stack.await_empty_inbox()


@contextmanager
def a_ride_cannot_be_fetched(stack: RunningStack) -> Iterator[None]:
    """Strava calls the request for a ride a bad one; the operator discards the dead letter."""
    ride = stack.ride(Rider.BUSY)
    with stack.failing(f"/api/v3/activities/{ride.activity_id}*", "status", status=400):
        assert stack.delivers(ride)
        yield
    stack.installation.output("dead-letters", "discard", "--all", "--because", "a test", "--yes")


@contextmanager
def an_import_gets_nowhere(stack: RunningStack) -> Iterator[None]:
    """Strava calls each listing a bad request. The pauses between the import's runs are left out."""
    with stack.failing(LISTING, "status", status=400):
        asked = wish_for(stack.engine, athlete_id=Rider.IMPORTED)
        eventually(lambda: hurried(stack.engine, asked).attempts >= STUCK_AFTER, "runs without progress")
        yield
    eventually(lambda: is_whole(stack.engine, asked), "a whole import")


@contextmanager
def tokens_have_another_key(stack: RunningStack) -> Iterator[None]:
    """A command encrypts the tokens with a new key that bridges and runs do not have."""
    old, new = stack.installation.environment["STRAVA_TOKEN_KEYS"], generate_key()
    stack.installation.output("keys", "rotate", STRAVA_TOKEN_KEYS=f"{new},{old}")
    yield
    stack.installation.output("keys", "rotate", STRAVA_TOKEN_KEYS=f"{old},{new}")


@contextmanager
def the_daemon_stands_still(stack: RunningStack) -> Iterator[None]:
    """Dagster's daemon is stopped while events are delivered, and goes on when these have waited for a minute."""
    stack.freeze("daemon")
    _deliver_many(stack)
    yield
    youngest = "SELECT 1 FROM ops.webhook_events WHERE received_at > ops.clock() - interval '61 s'"
    eventually(lambda: stack.rows(youngest) == [], "events that are late")
    stack.thaw("daemon")
    stack.await_empty_inbox()


@contextmanager
def events_came_late(stack: RunningStack) -> Iterator[None]:
    """The last events waited for a minute, while the daemon stood still; further ones take effect soon."""
    yield
    _deliver_many(stack)
    stack.await_empty_inbox()


@contextmanager
def somebody_locks_the_inbox(stack: RunningStack) -> Iterator[None]:
    """Somebody holds a lock on the table of events, and the dispatchers of all bridges wait for it."""
    with stack.engine.begin() as connection:
        connection.execute(text("LOCK TABLE ops.webhook_events IN SHARE ROW EXCLUSIVE MODE"))
        yield


@contextmanager
def strava_delivers_nothing(stack: RunningStack) -> Iterator[None]:
    """An athlete rides, and only upkeep finds it; afterwards many events are delivered."""
    for _ in range(FEW):
        stack.ride(Rider.IMPORTED)
    make_due(stack.engine, upkeep.c.kind == UpkeepKind.RECENT, upkeep.c.athlete_id == Rider.IMPORTED)
    stack.launch(UPKEEP)
    yield
    _deliver_many(stack)
    stack.await_empty_inbox()


@contextmanager
def deliveries_are_forged(stack: RunningStack) -> Iterator[None]:
    """Somebody sends events that are signed with a guessed secret; afterwards many come from Strava."""
    ride = stack.ride(Rider.BUSY)
    assert not any(stack.delivers(ride, secret=b"guessed", number=number) for number in range(FEW))
    yield
    _deliver_many(stack)
    stack.await_empty_inbox()


@contextmanager
def another_subscription_delivers(stack: RunningStack) -> Iterator[None]:
    """An event comes that Strava signed for another subscription. The hour without a further one is left out."""
    assert not stack.delivers(stack.ride(Rider.BUSY), subscription_id=2)
    yield
    stack.change("UPDATE ops.delivery_counts SET slot = slot - interval '1 hour' WHERE reason LIKE 'subscription%'")


@contextmanager
def an_athlete_falls_silent(stack: RunningStack) -> Iterator[None]:
    """An athlete who rode each day has not ridden for weeks; then comes an event."""
    for days in range(20, 28):
        stack.ride(Rider.SILENT, days_ago=days)
    asked = wish_for(stack.engine, athlete_id=Rider.SILENT)
    eventually(lambda: is_whole(stack.engine, asked), "a whole import")
    yield
    assert stack.delivers(stack.ride(Rider.SILENT))


@contextmanager
def upkeep_stands_still(stack: RunningStack) -> Iterator[None]:
    """The schedule of upkeep does not run, and the time when a task was due is dated back by more than a day."""
    late = upkeep.c.kind == UpkeepKind.PROFILE, upkeep.c.athlete_id == Rider.SILENT
    make_due(stack.engine, *late)
    yield
    stack.launch(UPKEEP)
    eventually(lambda: not stack.rows("SELECT 1 FROM ops.upkeep WHERE due_at < ops.clock()"), "tasks that are done")


@contextmanager
def the_api_is_about_to_move(stack: RunningStack) -> Iterator[None]:
    """A bridge is started with Strava's real address, and the new one answers, through a proxy on this machine."""
    host = urlsplit(SPELLINGS[0]).hostname or ""
    with TemporaryDirectory() as folder, Loopback() as strava:
        certificate, key = make_certificate(Path(folder), host)
        strava.speak_tls(certificate, key)
        strava.answers(UNAUTHORIZED)
        with connect_proxy([host], strava.port) as proxy:
            url = f"https://{OLD_HOST}/api/v3"
            stack.restart_bridge(SECOND, STRAVA_API_URL=url, HTTPS_PROXY=proxy.url, STRAVA_CA_BUNDLE=certificate)
            yield
    stack.restart_bridge(SECOND)


@contextmanager
def bridges_are_killed(stack: RunningStack) -> Iterator[None]:
    """Both bridges are killed in the midst of their work, one after the other, and started again."""
    yield
    for name in (FIRST, SECOND):
        stack.restart_bridge(name, signal.SIGKILL)


@contextmanager
def the_mail_server_is_away(stack: RunningStack) -> Iterator[None]:
    """Nobody listens at the mail server's port while alerts are told. The pause before the next try is left out."""
    stack.mails.stop()
    yield
    stack.mails.start()
    stack.change(
        "UPDATE ops.alert_messages SET next_try_at = ops.clock() WHERE mail_state = 'pending' AND attempts > 2"
    )


@contextmanager
def the_database_stops(stack: RunningStack) -> Iterator[None]:
    """The Postgres with our tables is stopped."""
    stack.database.on.stop()
    yield
    stack.database.on.start()


@contextmanager
def the_disk_is_full(stack: RunningStack) -> Iterator[None]:
    """Not one byte is left on the disk of ``STRAVA_HOME`` and our Postgres, nor in the files that Postgres has."""

    def use_up() -> None:
        # Postgres frees some room when it meets the full disk.
        stack.disk.fill()
        for size in WRITTEN_BYTES:
            _write_until_refused(stack.database.on.server, size)

    with _again_and_again(use_up):
        yield
    stack.disk.empty()
    stack.database.on.start()


def _write_until_refused(server: Server, size: int) -> None:
    """Write so many bytes to Postgres' log, again and again; it may end by that."""
    with suppress(DatabaseUnavailable), as_superuser(server.socket_dir, server.port) as connection:
        while True:
            connection.execute("SELECT pg_logical_emit_message(true, 'written', repeat('x', %s))", [size])


def _deliver_many(stack: RunningStack) -> None:
    """Deliver many events about one ride, which one run works off."""
    ride = stack.ride(Rider.BUSY)
    assert all(stack.delivers(ride, "update", number=number) for number in range(MANY_EVENTS))


@contextmanager
def _again_and_again(work: Callable[[], object]) -> Iterator[None]:
    """Do something again and again during the block, as other processes do."""
    ended = threading.Event()

    def go_on() -> None:
        while not ended.wait(0.5):
            work()

    thread = threading.Thread(target=go_on)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def _is_answered(stack: RunningStack, rider: Rider = Rider.BUSY) -> bool:
    """Whether a call for an athlete succeeds."""
    try:
        _client(stack).get_athlete(rider)
    except StravaPipelineError:
        return False
    return True


def _client(stack: RunningStack) -> StravaClient:
    return open_client(stack.settings, stack.engine, Lane.LIVE, timedelta(0))
