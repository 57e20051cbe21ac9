"""Tables of alerts, their silences and messages, and of the heartbeats of processes."""

from __future__ import annotations

from alembic import op

revision = "0036"
down_revision = "0035"

_STATEMENTS = """
CREATE TABLE ops.alerts (
    rule text NOT NULL,
    athlete_id bigint NOT NULL,
    state text NOT NULL,
    since TIMESTAMP WITH TIME ZONE NOT NULL,
    changed_at TIMESTAMP WITH TIME ZONE NOT NULL,
    fired_at TIMESTAMP WITH TIME ZONE,
    told_at TIMESTAMP WITH TIME ZONE,
    detail text NOT NULL,
    CONSTRAINT pk_alerts PRIMARY KEY (rule, athlete_id),
    CONSTRAINT ck_alerts_state CHECK (state IN ('pending', 'firing', 'clearing')),
    CONSTRAINT ck_alerts_fired CHECK ((state = 'pending') = (fired_at IS NULL))
);
COMMENT ON TABLE ops.alerts IS
    'alerts whose condition holds, or held until just now; a row goes when its alert is cleared';
COMMENT ON COLUMN ops.alerts.rule IS 'name of the rule, as docs/operations.md lists them';
COMMENT ON COLUMN ops.alerts.athlete_id IS 'whom it concerns; 0: nobody in particular';
COMMENT ON COLUMN ops.alerts.state IS 'pending, firing or clearing';
COMMENT ON COLUMN ops.alerts.since IS 'since when the rule''s condition holds (UTC)';
COMMENT ON COLUMN ops.alerts.changed_at IS 'when the state last changed (UTC)';
COMMENT ON COLUMN ops.alerts.fired_at IS 'when it fired (UTC); empty: not yet';
COMMENT ON COLUMN ops.alerts.told_at IS 'when a message about it was last made (UTC); empty: none was';
COMMENT ON COLUMN ops.alerts.detail IS 'what was found, in one line';
CREATE TABLE ops.alert_silences (
    rule text NOT NULL,
    until TIMESTAMP WITH TIME ZONE NOT NULL,
    silenced_by text NOT NULL,
    because text NOT NULL,
    CONSTRAINT pk_alert_silences PRIMARY KEY (rule)
);
COMMENT ON TABLE ops.alert_silences IS 'rules that tell nothing for a while; their alerts are shown all the same';
COMMENT ON COLUMN ops.alert_silences.rule IS 'name of the rule';
COMMENT ON COLUMN ops.alert_silences.until IS 'the silence ends here (UTC)';
COMMENT ON COLUMN ops.alert_silences.silenced_by IS 'on whose word: operator or command';
COMMENT ON COLUMN ops.alert_silences.because IS 'why';
CREATE TABLE ops.alert_messages (
    id BIGSERIAL NOT NULL,
    made_at TIMESTAMP WITH TIME ZONE DEFAULT ops.clock() NOT NULL,
    change text NOT NULL,
    rule TEXT,
    severity text NOT NULL,
    athlete_ids BIGINT[] NOT NULL,
    subject text NOT NULL,
    body text NOT NULL,
    mail_state text NOT NULL,
    mail_error TEXT,
    push_state text NOT NULL,
    push_error TEXT,
    attempts INTEGER DEFAULT 0 NOT NULL,
    next_try_at TIMESTAMP WITH TIME ZONE,
    finished_at TIMESTAMP WITH TIME ZONE,
    CONSTRAINT pk_alert_messages PRIMARY KEY (id),
    CONSTRAINT ck_alert_messages_change CHECK (change IN ('fired', 'cleared', 'again', 'test', 'run_failed')),
    CONSTRAINT ck_alert_messages_severity CHECK (severity IN ('critical', 'warning')),
    CONSTRAINT ck_alert_messages_mail_state CHECK (mail_state IN ('pending', 'sent', 'failed', 'skipped')),
    CONSTRAINT ck_alert_messages_push_state CHECK (push_state IN ('pending', 'sent', 'failed', 'skipped')),
    CONSTRAINT ck_alert_messages_finished
        CHECK ((finished_at IS NULL) = (mail_state = 'pending' OR push_state = 'pending'))
);
COMMENT ON TABLE ops.alert_messages IS
    'what is told about alerts and failed runs, one row for each change, and what became of it';
COMMENT ON COLUMN ops.alert_messages.id IS 'order of the messages';
COMMENT ON COLUMN ops.alert_messages.made_at IS 'when what it tells happened (UTC)';
COMMENT ON COLUMN ops.alert_messages.change IS 'fired, cleared, again (told once more), test or run_failed';
COMMENT ON COLUMN ops.alert_messages.rule IS 'name of the rule; empty: a test, or a failed run';
COMMENT ON COLUMN ops.alert_messages.severity IS 'critical or warning';
COMMENT ON COLUMN ops.alert_messages.athlete_ids IS 'whom it concerns; empty: nobody in particular';
COMMENT ON COLUMN ops.alert_messages.subject IS 'what happened, in one line';
COMMENT ON COLUMN ops.alert_messages.body IS 'what happened and what to do, with links';
COMMENT ON COLUMN ops.alert_messages.mail_state IS 'pending, sent, failed (given up) or skipped (no mail is set up)';
COMMENT ON COLUMN ops.alert_messages.mail_error IS 'why the last mail failed';
COMMENT ON COLUMN ops.alert_messages.push_state IS 'the same for Apprise: pending, sent, failed or skipped';
COMMENT ON COLUMN ops.alert_messages.push_error IS 'why the last push failed';
COMMENT ON COLUMN ops.alert_messages.attempts IS 'how often sending began';
COMMENT ON COLUMN ops.alert_messages.next_try_at IS
    'not to be sent before (UTC); while it is being sent, when that try counts as dead';
COMMENT ON COLUMN ops.alert_messages.finished_at IS 'when it was sent, given up or skipped on both ways (UTC)';
CREATE INDEX ix_alert_messages_open ON ops.alert_messages (id) WHERE finished_at IS NULL;
CREATE INDEX ix_alert_messages_finished_at ON ops.alert_messages (finished_at) WHERE finished_at IS NOT NULL;
CREATE TABLE ops.alert_checks (
    asset text NOT NULL,
    severity text NOT NULL,
    told text NOT NULL,
    told_at TIMESTAMP WITH TIME ZONE NOT NULL,
    CONSTRAINT pk_alert_checks PRIMARY KEY (asset, severity),
    CONSTRAINT ck_alert_checks_severity CHECK (severity IN ('critical', 'warning'))
);
COMMENT ON TABLE ops.alert_checks IS
    'the asset checks that show alerts in Dagster, and what they were last reported to say';
COMMENT ON COLUMN ops.alert_checks.asset IS 'asset that has the check';
COMMENT ON COLUMN ops.alert_checks.severity IS 'critical or warning: of the alerts that the check tells';
COMMENT ON COLUMN ops.alert_checks.told IS 'what Dagster was told last: the rules that are on; empty: none is';
COMMENT ON COLUMN ops.alert_checks.told_at IS 'when that was (UTC)';
CREATE TABLE ops.heartbeats (
    process text NOT NULL,
    role text NOT NULL,
    started_at TIMESTAMP WITH TIME ZONE NOT NULL,
    beat_at TIMESTAMP WITH TIME ZONE NOT NULL,
    findings jsonb NOT NULL,
    CONSTRAINT pk_heartbeats PRIMARY KEY (process)
);
COMMENT ON TABLE ops.heartbeats IS 'processes that have to be alive, and their last sign of life';
COMMENT ON COLUMN ops.heartbeats.process IS 'host, process id and role';
COMMENT ON COLUMN ops.heartbeats.role IS 'bridge or dispatcher';
COMMENT ON COLUMN ops.heartbeats.started_at IS 'when it began (UTC)';
COMMENT ON COLUMN ops.heartbeats.beat_at IS 'its last sign of life (UTC)';
COMMENT ON COLUMN ops.heartbeats.findings IS
    'what it finds wrong, on its machine or with its settings: rule and detail';
CREATE INDEX ix_heartbeats_beat_at ON ops.heartbeats (beat_at);
CREATE INDEX ix_users_needs_reauth ON ops.users (athlete_id) WHERE state = 'needs_reauth';
CREATE INDEX ix_imports_stuck ON ops.imports (id) WHERE attempts >= 3;
"""


def upgrade() -> None:
    op.execute(_STATEMENTS)
