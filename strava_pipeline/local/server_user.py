"""The user of this machine that runs the embedded Postgres, which refuses to run as root.

As root, the pipeline creates a user ``pgserver`` and runs Postgres as that user. Where folders above the data or the
binaries are closed to this user, an entry in their access list lets it traverse them.
"""

from __future__ import annotations

import fcntl
import os
import pwd
import subprocess
from contextlib import suppress
from pathlib import Path

from strava_pipeline.errors import ConfigurationError
from strava_pipeline.local import acl

SERVER_USER = "pgserver"
PASSWD = Path("/etc/passwd")


def server_user() -> str | None:
    """Return the name of the user that runs the server where this process is root; ``None`` where it is not."""
    return SERVER_USER if os.geteuid() == 0 else None


def server_ids() -> tuple[int, int]:
    """Return the ids of the user and the group that run the server; as root, create the user if it is missing."""
    if server_user() is None:
        return os.geteuid(), os.getegid()
    try:
        entry = pwd.getpwnam(SERVER_USER)
    except KeyError:
        entry = _createserver_user()
    return entry.pw_uid, entry.pw_gid


def _createserver_user() -> pwd.struct_passwd:
    """Create the user that runs the server, unless another process has done so meanwhile; return its entry.

    One process at a time: of two useradd at once, the later one may replace what the earlier one wrote.
    """
    with PASSWD.open() as passwd:
        fcntl.flock(passwd, fcntl.LOCK_EX)
        with suppress(KeyError):
            return pwd.getpwnam(SERVER_USER)
        subprocess.run(  # noqa: S603  fixed arguments
            ["useradd", "--system", "--no-create-home", "--shell", "/usr/sbin/nologin", SERVER_USER],  # noqa: S607  found on PATH
            check=True,
            capture_output=True,
        )
        return pwd.getpwnam(SERVER_USER)


def administrators() -> tuple[str, ...]:
    """Return the users of the system who may log in as superuser: the server's user, and root if root started it."""
    names = [pwd.getpwuid(server_ids()[0]).pw_name]
    if os.geteuid() == 0:
        names.append(pwd.getpwuid(0).pw_name)
    return tuple(names)


def let_server_user_traverse(path: Path) -> None:
    """Let the server's user alone traverse, not read, the folders above ``path``."""
    server_user = acl.user_principal(*server_ids())
    for folder in path.parents:
        try:
            acl.allow_traversal(folder, server_user)
        except OSError as error:
            raise ConfigurationError(
                f"{folder}: cannot give access to the user {SERVER_USER} alone, who runs Postgres ({error.strerror}):"
                f" move {path} below a folder that this user may traverse, such as /var/lib or /opt"
            ) from None
