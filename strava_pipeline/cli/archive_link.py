"""Makes a link by which an athlete uploads their archive, for ``strava-pipeline archive link``."""

from __future__ import annotations

from strava_pipeline.redaction import SecretPath
from strava_pipeline.settings import Settings


def new_upload_link(settings: Settings, athlete_id: int) -> str:
    """Make an address at which an athlete may upload files of theirs for a week, and do nothing else.

    ``ConfigurationError`` without ``STRAVA_OPERATOR_TOKEN``, with whose change the link ends, or without keys.
    """
    from strava_pipeline.keyring import Keyring
    from strava_pipeline.warehouse.access.operator_audit import Actor, note_action
    from strava_pipeline.warehouse.migrate import open_warehouse
    from strava_pipeline.warehouse.uploads.links import new_link
    from strava_pipeline.web.operator_door import invite_proof
    from strava_pipeline.web.upload_link import sign_upload_link

    settings.require("operator_token", "token_keys")
    keyring = Keyring.parse(settings.required("token_keys"))
    base = settings.bridge_public_url or f"http://127.0.0.1:{settings.bridge_port}"
    with open_warehouse(settings) as engine, engine.begin() as connection:
        secret = new_link(connection, athlete_id, invite_proof(settings))
        note_action(connection, Actor.COMMAND, "invite", f"athlete {athlete_id}", detail="to upload")
    return f"{base}{SecretPath.UPLOAD}/{sign_upload_link(keyring, secret)}"
