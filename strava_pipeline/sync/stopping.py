"""Whether this process was asked to stop: whoever works through a long list looks here before each request."""

from __future__ import annotations

import threading

stop_wanted = threading.Event()
