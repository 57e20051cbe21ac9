"""What the bridge answers when it refuses."""

from __future__ import annotations

from werkzeug.test import TestResponse


def refusal(answer: TestResponse) -> tuple[int, str]:
    """The status and the one word of an answer that tells nothing else but its number in the log."""
    told = answer.get_json()
    assert set(told) == {"error", "id"}
    assert told["id"] == answer.headers["X-Request-Id"]
    return answer.status_code, told["error"]
