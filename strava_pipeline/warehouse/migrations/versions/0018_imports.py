"""Keep imports as wishes, and how far back athletes' histories go."""

from __future__ import annotations

from alembic import op

revision = "0018"
down_revision = "0017"

_STATEMENTS = """
CREATE TABLE ops.imports (
    id bigserial NOT NULL,
    athlete_id bigint NOT NULL,
    first_month date,
    last_month date,
    steps text[] NOT NULL,
    profile boolean NOT NULL,
    made_at timestamp with time zone DEFAULT ops.clock() NOT NULL,
    made_by text NOT NULL,
    state text NOT NULL,
    next_at timestamp with time zone NOT NULL,
    launch_no integer DEFAULT 0 NOT NULL,
    launched_at timestamp with time zone,
    run_id text,
    lease_until timestamp with time zone,
    doing text,
    doing_first date,
    doing_last date,
    attempts integer DEFAULT 0 NOT NULL,
    runs integer DEFAULT 0 NOT NULL,
    error text,
    paused_at timestamp with time zone,
    paused_by text,
    newest_at timestamp with time zone,
    next_month date,
    whole_at timestamp with time zone,
    CONSTRAINT pk_imports PRIMARY KEY (id),
    CONSTRAINT uq_imports_athlete_id_first_month_last_month
        UNIQUE NULLS NOT DISTINCT (athlete_id, first_month, last_month),
    CONSTRAINT ck_imports_made_by CHECK (made_by IN ('connect', 'command', 'run', 'upkeep')),
    CONSTRAINT ck_imports_state CHECK (state IN ('due', 'launched', 'running')),
    CONSTRAINT ck_imports_doing CHECK (doing IN ('newest_month', 'listing', 'months', 'profile')),
    CONSTRAINT ck_imports_paused_by CHECK (paused_by IN ('operator', 'command', 'cancel'))
);
CREATE INDEX ix_imports_due ON ops.imports (next_at) WHERE state = 'due';
COMMENT ON TABLE ops.imports IS 'wishes: months of an athlete that are imported until nothing lacks';
COMMENT ON COLUMN ops.imports.id IS 'order in which they were made first';
COMMENT ON COLUMN ops.imports.athlete_id IS 'whose history';
COMMENT ON COLUMN ops.imports.first_month IS 'first day of the first month (UTC); empty: from the beginning';
COMMENT ON COLUMN ops.imports.last_month IS 'first day of the last month (UTC); empty: the import goes on';
COMMENT ON COLUMN ops.imports.steps IS 'what is wanted of each month: steps of an import';
COMMENT ON COLUMN ops.imports.profile IS 'whether profile, totals, zones and gear are wanted, too';
COMMENT ON COLUMN ops.imports.made_at IS 'when it was last asked for (UTC): what was listed before is listed again';
COMMENT ON COLUMN ops.imports.made_by IS 'connect, command, run (months of a run failed) or upkeep';
COMMENT ON COLUMN ops.imports.state IS 'due, launched or running';
COMMENT ON COLUMN ops.imports.next_at IS 'when due: not to be launched before (UTC)';
COMMENT ON COLUMN ops.imports.launch_no IS 'number of the last launch; a run of an earlier one does nothing';
COMMENT ON COLUMN ops.imports.launched_at IS 'when that was (UTC)';
COMMENT ON COLUMN ops.imports.run_id IS 'Dagster run that has it, or had it last; empty: none began';
COMMENT ON COLUMN ops.imports.lease_until IS
    'when launched or running: the run is taken to be lost from here on (UTC)';
COMMENT ON COLUMN ops.imports.doing IS 'what the run does, or did last: newest_month, listing, months or profile';
COMMENT ON COLUMN ops.imports.doing_first IS 'first day of the first month that it does';
COMMENT ON COLUMN ops.imports.doing_last IS 'first day of the last one';
COMMENT ON COLUMN ops.imports.attempts IS 'how many runs in a row ended without progress';
COMMENT ON COLUMN ops.imports.runs IS 'how many runs ended in all';
COMMENT ON COLUMN ops.imports.error IS 'why the last run ended early; empty: it did not';
COMMENT ON COLUMN ops.imports.paused_at IS 'since when nothing is launched (UTC); empty: it is not paused';
COMMENT ON COLUMN ops.imports.paused_by IS 'operator, command or cancel (of a run in Dagster)';
COMMENT ON COLUMN ops.imports.newest_at IS
    'when the newest month was complete (UTC); empty: an open import does it first';
COMMENT ON COLUMN ops.imports.next_month IS 'newest month that lacked something at the last look';
COMMENT ON COLUMN ops.imports.whole_at IS 'when nothing lacked at the last look (UTC); empty: something did';

CREATE TABLE ops.histories (
    athlete_id bigint NOT NULL,
    listed_at timestamp with time zone,
    begins_on date,
    scopes text[],
    profile_at timestamp with time zone,
    held text,
    CONSTRAINT pk_histories PRIMARY KEY (athlete_id)
);
COMMENT ON TABLE ops.histories IS 'how far back athletes'' histories go, and when they were listed';
COMMENT ON COLUMN ops.histories.athlete_id IS 'whose history';
COMMENT ON COLUMN ops.histories.listed_at IS
    'when Strava was last asked for the whole of it, from the earliest month on (UTC)';
COMMENT ON COLUMN ops.histories.begins_on IS
    'first day of the month of its first activity (UTC); empty: there is none';
COMMENT ON COLUMN ops.histories.scopes IS 'permissions with which it was listed then';
COMMENT ON COLUMN ops.histories.profile_at IS 'when Strava was last asked for profile, totals and zones (UTC)';
COMMENT ON COLUMN ops.histories.held IS 'why the last comparison deleted nothing; empty: it was not held back';
"""


def upgrade() -> None:
    op.execute(_STATEMENTS)
