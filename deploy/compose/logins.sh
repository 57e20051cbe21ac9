#!/bin/sh
# Creates the logins and databases of strava-pipeline where they are missing, and sets the logins' passwords; compose
# runs it at each start. Each login has the rights of its part, none is a superuser: see "Who may what" in
# docs/queries.md. Secrets go to psql by its standard input, so that no list of processes shows them.
set -eu

secret() {
    cat "${SECRETS:-/run/secrets}/$1"
}

# Of postgresql://login:PASSWORD@host/database.
password() {
    secret "$1" | sed -e 's|^[^:]*://[^:]*:||' -e 's|@.*||'
}

PGPASSWORD=$(secret postgres_password)
export PGPASSWORD
psql --set ON_ERROR_STOP=1 --no-psqlrc --quiet --username postgres --dbname postgres <<SQL
SET client_min_messages = 'warning';
-- Passwords stay out of the server's log.
SET log_statement = 'none';
SET log_min_duration_statement = -1;
SET log_min_error_statement = 'panic';
SELECT format('CREATE ROLE %I LOGIN', login) FROM unnest(ARRAY['strava_owner', 'strava_pipeline', 'strava_dagster'])
    AS login WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = login) \gexec
-- For migrate, which creates the logins of readers, and for analysts add.
ALTER ROLE strava_owner CREATEROLE PASSWORD '$(password strava_database_owner_url)';
ALTER ROLE strava_pipeline PASSWORD '$(password strava_database_url)';
ALTER ROLE strava_dagster PASSWORD '$(password dagster_postgres_url)';
-- However many connections analysts have open, these get theirs (reserved_connections).
GRANT pg_use_reserved_connections TO strava_owner, strava_pipeline, strava_dagster;
SELECT format('CREATE DATABASE %I OWNER %I', name, owner)
    FROM (VALUES ('strava', 'strava_owner'), ('strava_dagster', 'strava_dagster')) AS wanted (name, owner)
    WHERE NOT EXISTS (SELECT FROM pg_database WHERE datname = name) \gexec
REVOKE ALL ON DATABASE strava, strava_dagster, postgres, template1 FROM PUBLIC;
GRANT CONNECT ON DATABASE strava TO strava_pipeline;
-- Grafana's login is one of analysts: migrate gives their role its rights, and the login its limits.
SET SESSION AUTHORIZATION strava_owner;
SELECT format('CREATE ROLE %I %s', role, kind)
    FROM (VALUES ('strava_analyst', 'NOLOGIN'), ('grafana', 'LOGIN')) AS wanted (role, kind)
    WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = role) \gexec
GRANT strava_analyst TO grafana;
ALTER ROLE grafana PASSWORD '$(secret grafana_database_password)';
RESET SESSION AUTHORIZATION;
-- What only a superuser may limit, and close in this database: see "Limits of analysts" there.
ALTER ROLE grafana SET temp_file_limit = '1GB';
ALTER ROLE grafana SET log_min_messages = 'fatal';
ALTER ROLE grafana SET log_min_error_statement = 'panic';
\connect strava
DO \$do\$
DECLARE f regprocedure;
BEGIN
    FOR f IN SELECT oid FROM pg_proc WHERE pronamespace = 'pg_catalog'::regnamespace
        AND proname ~ '^(pg_(try_)?advisory_(xact_)?lock(_shared)?|pg_advisory_unlock(_shared)?|lo_.*|loread|lowrite'
            '|pg_notify|pg_logical_emit_message|pg_export_snapshot|txid_current|pg_current_xact_id)\$'
    LOOP
        EXECUTE format('REVOKE EXECUTE ON FUNCTION %s FROM PUBLIC', f);
        EXECUTE format('GRANT EXECUTE ON FUNCTION %s TO strava_owner, strava_pipeline', f);
    END LOOP;
    REVOKE USAGE ON LANGUAGE plpgsql FROM PUBLIC;
    -- Revisions of the tables use it.
    GRANT USAGE ON LANGUAGE plpgsql TO strava_owner;
END
\$do\$;
SQL
