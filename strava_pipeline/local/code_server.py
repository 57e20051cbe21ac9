"""Where the code server of an installation listens, and the workspace file by which Dagster finds it.

Dagster's webserver and daemon share this one: from a workspace that names our module, each would start a server of its
own, and the daemon a new one every minute. Its protocol knows no login, so it listens on a socket in a private folder.

A code server removes the socket under its name when it ends, which may be hours after ``up`` was killed: its runs go on
till then. So each start of ``up`` has a socket of its own. A link leads to it, under the name that Dagster keeps.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from secrets import token_hex

from strava_pipeline.home import HomeEntry
from strava_pipeline.local import private_files
from strava_pipeline.local.listeners import is_listening
from strava_pipeline.local.work_folder import make_temporary_folder

LOCATION = "strava_pipeline"
MODULE = "strava_pipeline.definitions"
# Redacts what is logged in its process, which serves nothing else.
ATTRIBUTE = "own_process_defs"
# With the folder's path, both are short enough for a socket (:data:`.work_folder.LONGEST_TEMPORARY`).
_LINK = "code.socket"
_SOCKETS = "code-*"
_WORKSPACE = """\
# Written anew by each start: Dagster finds here the code server that it shares.
load_from:
  - grpc_server: {{socket: {socket}, location_name: {location}}}
"""


@dataclass(frozen=True)
class CodeServer:
    """A code server to start: its socket, the link to it, and the workspace file that names the link."""

    socket: Path
    link: Path
    workspace: Path


def new_code_server(home: Path) -> CodeServer:
    """Name the socket of the code server that is started next, and write the workspace file.

    Sockets on which nobody listens any more are removed.
    """
    folder = make_temporary_folder(home)
    for old in folder.glob(_SOCKETS):
        if not is_listening(old):
            old.unlink(missing_ok=True)
    made = CodeServer(folder / f"code-{token_hex(4)}", folder / _LINK, home / HomeEntry.WORKSPACE)
    fresh = folder / f".{_LINK}.{token_hex(8)}"
    fresh.symlink_to(made.socket.name)
    fresh.replace(made.link)
    text = _WORKSPACE.format(socket=json.dumps(str(made.link), ensure_ascii=False), location=LOCATION)
    private_files.write_atomically(made.workspace, text.encode())
    return made
