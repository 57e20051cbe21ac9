"""Deliveries as Strava sends them."""

from __future__ import annotations

import hashlib
import hmac
import json
import time
from typing import Any

RIDER = 1001
PATH = "/webhooks/strava"
# The one in the settings of every test.
SECRET = "signing-secret"


def delivery(**more: Any) -> bytes:
    event = {
        "object_type": "activity",
        "object_id": 2**62,
        "aspect_type": "create",
        "owner_id": RIDER,
        "subscription_id": 5,
        "event_time": 1750000000,
        "updates": {},
    }
    return json.dumps(event | more).encode()


def signed(body: bytes, secret: str = SECRET, age: int = 0) -> dict[str, str]:
    stamp = str(int(time.time()) - age)
    digest = hmac.new(secret.encode(), stamp.encode() + b"." + body, hashlib.sha256).hexdigest()
    return {"X-Strava-Signature": f"t={stamp},v1={digest}", "Content-Type": "application/json"}
