"""A flag that asks this process to stop; a backfill checks it at each request and wait."""

from __future__ import annotations

import threading

stop_wanted = threading.Event()
