"""Measures the token calls when many processes find an expired token, and the grants lost when processes are killed.

First, 16 processes find one expired token, with each kind of provider: token calls per expiry, and workers that got no
token. Then a process that refreshes again and again is killed with kill -9 at random moments, and the next one goes on.

With a provider that revokes a grant on reuse, the grant is lost if a process is killed after the provider has issued a
pair and before that pair is in the journal. The window of loss is the time from the answer, as sent by the provider or
as read by us, to the journal's commit, which reaches the disk as in operation. Takes about 2 minutes.
"""

from __future__ import annotations

import base64
import os
import random
import statistics
import time
from bisect import bisect_right
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from sqlalchemy import select

from benchmarks.database import migrated_database
from benchmarks.figure import show
from strava_pipeline.keyring import KEY_BYTES, AssociatedData, Keyring
from strava_pipeline.warehouse.engine import open_engine
from strava_pipeline.warehouse.schema.grant_tables import users
from strava_pipeline.warehouse.tokens import token_journal
from strava_pipeline.warehouse.tokens.token_store import REFRESH, PostgresTokenStore
from strava_pipeline_tests.strava.loopback import Asked, Loopback, Reply
from strava_pipeline_tests.warehouse.tokens.token_endpoint import Mode, TokenEndpoint
from strava_pipeline_tests.warehouse.tokens.token_processes import RIDER, TokenProcesses, gate_closed

WORKERS = 16
EXPIRIES = 5
KILLS = {Mode.REVOKING: 200, Mode.SAME: 100}
# How long the provider waits before it issues a pair, and how long a process lives after its first refresh at most.
THINK_SECONDS = 0.005
LIFE_SECONDS = 0.25
SEED = 20_261_103


@dataclass
class Provider:
    """A token endpoint that answers with a delay; ``at_work``: requests that it is answering."""

    endpoint: TokenEndpoint
    at_work: int = 0

    def answer(self, asked: Asked) -> Reply:
        self.at_work += 1
        try:
            time.sleep(THINK_SECONDS)
            return self.endpoint.answer(asked)
        finally:
            self.at_work -= 1


@dataclass
class Tally:
    """The results of the kills.

    ``at_provider``: killed while the provider was at work; ``in_window``: between its answer and the journal;
    ``forced``: times that the athlete had to connect again; ``avoidable``: of these, with the answer in the journal.
    """

    at_provider: int = 0
    in_window: int = 0
    forced: int = 0
    avoidable: int = 0
    # When each answer was read, and when it was committed (monotonic s).
    kept: list[tuple[float, float]] = field(default_factory=list)

    def report(self, said: str) -> None:
        _, read_at, committed_at = said.split()
        self.kept.append((float(read_at), float(committed_at)))


def main() -> None:
    """Run both parts, for each kind of provider."""
    key = base64.b64encode(os.urandom(KEY_BYTES)).decode()
    with migrated_database(durable=True) as url:
        engine = open_engine(url)
        store = PostgresTokenStore(engine, Keyring.parse(f"k:{key}"))
        os.environ |= {
            "STRAVA_DATABASE_URL": url.render_as_string(hide_password=False),
            "STRAVA_TOKEN_KEYS": f"k:{key}",
            "STRAVA_CLIENT_ID": "1",
            "STRAVA_CLIENT_SECRET": "benchmark",
        }
        for mode in Mode:
            _meet(store, mode)
        for mode, kills in KILLS.items():
            _kill(store, mode, kills)
        engine.dispose()


def _meet(store: PostgresTokenStore, mode: Mode) -> None:
    failed = 0
    with _served(store, mode) as (provider, processes):
        for _ in range(EXPIRIES):
            rejected = store.access_token(RIDER)
            with gate_closed(store.engine):
                crowd = [processes.fork(f"meet {rejected.reveal()}") for _ in range(WORKERS)]
            told = [processes.report(process) for process in crowd]
            failed += sum(said != f"token {provider.endpoint.access_token}" for said in told)
        calls = provider.endpoint.calls
    show(f"{WORKERS} processes, provider {mode}: token calls per expiry", calls / EXPIRIES, target="1")
    show(f"{WORKERS} processes, provider {mode}: failed workers", failed, target="0")


def _kill(store: PostgresTokenStore, mode: Mode, kills: int) -> None:
    chance, tally = random.Random(SEED), Tally()
    with _served(store, mode) as (provider, processes):
        killed, done = [], 0
        while done < kills:
            process = processes.fork("loop aloud")
            first = processes.report(process)
            if first.startswith("error"):
                tally.forced += 1
                tally.avoidable += provider.endpoint.refresh_token in _held(store)
                store.connect(provider.endpoint.grant(RIDER), ["read"])
                continue
            tally.report(first)
            time.sleep(chance.uniform(0, LIFE_SECONDS))
            at_work = provider.at_work
            processes.kill(process)
            done += 1
            killed.append(process)
            while provider.at_work:
                time.sleep(THINK_SECONDS)
            tally.at_provider += bool(at_work)
            tally.in_window += not at_work and provider.endpoint.refresh_token not in _held(store)
        for process in killed:
            for said in processes.said(process):
                tally.report(said)
        answered_at = sorted(provider.endpoint.answered_at.values())
    name = f"{kills} kill -9, provider {mode}"
    show(f"{name}: forced re-authorizations", tally.forced)
    show(f"{name}: of these, with the answer in the journal", tally.avoidable, target="0")
    show(f"{name}: killed while the provider was at work", tally.at_provider)
    show(f"{name}: killed between answer and journal", tally.in_window)
    show(f"{name}: refreshes", len(tally.kept))
    read = [(committed - read) * 1000 for read, committed in tally.kept]
    sent = [(committed - answered_at[bisect_right(answered_at, read) - 1]) * 1000 for read, committed in tally.kept]
    for window, times in (("answer read to commit", read), ("answer sent to commit", sent)):
        show(f"{name}: {window}, p50", statistics.median(times), "ms")
        show(f"{name}: {window}, max", max(times), "ms")


@contextmanager
def _served(store: PostgresTokenStore, mode: Mode) -> Iterator[tuple[Provider, TokenProcesses]]:
    """Yield a provider with one athlete connected, whose tokens expire at once, and a process that forks others."""
    provider = Provider(TokenEndpoint(mode, lifetime_s=0))
    store.connect(provider.endpoint.grant(RIDER), ["read"])
    with Loopback() as loopback:
        loopback.answer = provider.answer
        processes = TokenProcesses.begin(STRAVA_OAUTH_URL=loopback.url)
        try:
            yield provider, processes
        finally:
            processes.end()


def _held(store: PostgresTokenStore) -> set[str]:
    """All refresh tokens in the database, decrypted."""
    with store.engine.connect() as connection:
        stored = connection.execute(select(users)).all()
        answers = token_journal.answers(connection, RIDER)
    held = [(row.strava_refresh_token, row.generation) for row in stored]
    held += [(answer.envelopes.strava_refresh_token, answer.generation) for answer in answers]
    return {
        store.keyring.decrypt(envelope, AssociatedData(RIDER, REFRESH, generation)).reveal()
        for envelope, generation in held
    }


if __name__ == "__main__":
    main()
