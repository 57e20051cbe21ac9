"""A callback on loopback: answers the handshake, and keeps what is posted to it."""

from __future__ import annotations

import contextlib
import json
import queue
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qsl, urlsplit

from strava_pipeline_tests.eventually import PATIENCE_SECONDS


@dataclass
class Receiver:
    """What arrived, and what to answer: ``statuses`` for posts in turn (then 200), ``echo`` for the handshake.

    While ``held`` is there and not set, no answer is given.
    """

    url: str = ""
    echo: bool = True
    statuses: list[int] = field(default_factory=list)
    handshakes: list[dict[str, str]] = field(default_factory=list)
    held: threading.Event | None = None
    posts: queue.Queue[tuple[dict[str, str], bytes]] = field(default_factory=queue.Queue)


@contextmanager
def receiving() -> Iterator[Receiver]:
    """A running receiver."""
    receiver = Receiver()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            query = dict(parse_qsl(urlsplit(self.path).query))
            receiver.handshakes.append(query)
            challenge = query["hub.challenge"] if receiver.echo else "something else"
            self._answer(200, json.dumps({"hub.challenge": challenge}).encode())

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            receiver.posts.put((dict(self.headers.items()), body))
            self._answer(receiver.statuses.pop(0) if receiver.statuses else 200, b"{}")

        def _answer(self, status: int, body: bytes) -> None:
            if receiver.held is not None:
                receiver.held.wait(PATIENCE_SECONDS)
            # Whoever has waited too long is gone by now.
            with contextlib.suppress(ConnectionError):
                self.send_response(status)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        receiver.url = f"http://127.0.0.1:{server.server_address[1]}/callback"
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield receiver
        finally:
            server.shutdown()
            thread.join()
