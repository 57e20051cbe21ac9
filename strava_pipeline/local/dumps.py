"""Runs ``pg_dump`` and ``pg_restore`` on one database: those of the embedded Postgres, or those of the machine."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from psycopg.conninfo import make_conninfo

from strava_pipeline.errors import ConfigurationError, WarehouseError
from strava_pipeline.local.postgres import MAJOR_VERSION, programs_folder

# Rights and owners are given anew by whoever restores: the logins may have other names there.
_NO_RIGHTS = ("--no-owner", "--no-acl")
_VERSION = re.compile(r"\(PostgreSQL\) (\d+)")
# Of the environment they get the search path, the language, and what libpq finds files by; our secrets they need not.
_KNOWN = ("PATH", "HOME", "LANG", "LC_ALL", "TZ", "TMPDIR")


@dataclass(frozen=True)
class Address:
    """A database as libpq names it, by its parameters without the password."""

    parameters: Mapping[str, str]
    password: str | None = None

    @classmethod
    def of(cls, parameters: Mapping[str, str]) -> Address:
        """Return the address of these parameters, among which the password may be."""
        rest = {name: str(value) for name, value in parameters.items() if name != "password"}
        return cls(rest, parameters.get("password"))

    @property
    def conninfo(self) -> str:
        """What goes on the command line, where others of the machine can read it: no password."""
        return make_conninfo("", **self.parameters)


def dump(address: Address, server_major: int, path: Path) -> None:
    """Write a whole database into a new file, as of one moment; others go on reading and writing meanwhile."""
    _run("pg_dump", server_major, address, "--format=custom", f"--file={path}", *_NO_RIGHTS)


def load(address: Address, server_major: int, path: Path) -> None:
    """Load a dump into an empty database, in one transaction: all of it or nothing."""
    _run("pg_restore", server_major, address, "--single-transaction", "--exit-on-error", *_NO_RIGHTS, str(path))


def _run(name: str, server_major: int, address: Address, *arguments: str) -> None:
    known = {key: os.environ[key] for key in (*_KNOWN, *_libpqs_own()) if key in os.environ}
    secret = {} if address.password is None else {"PGPASSWORD": address.password}
    done = subprocess.run(  # noqa: S603  a program of Postgres'
        [str(_program(name, server_major)), "--no-password", f"--dbname={address.conninfo}", *arguments],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        env=known | secret,
        check=False,
    )
    if done.returncode:
        raise WarehouseError(f"{name} failed: {_first_error(done.stderr, done.returncode)}")


def _libpqs_own() -> list[str]:
    """The variables by which libpq finds service files, certificates and the like."""
    return [name for name in os.environ if name.startswith("PG")]


def _program(name: str, server_major: int) -> Path:
    """Return a program that knows servers of this version: the machine's, else the embedded Postgres'."""
    found = shutil.which(name)
    if found is not None and _version(Path(found)) >= server_major:
        return Path(found)
    folder = programs_folder()
    if folder is not None and int(MAJOR_VERSION) >= server_major:
        return folder / name
    raise ConfigurationError(
        f"{name} of version {server_major} or newer is needed for this server, and is not on PATH: install"
        f" postgresql-client-{server_major}"
    )


def _version(program: Path) -> int:
    told = subprocess.run([str(program), "--version"], capture_output=True, text=True, check=False)  # noqa: S603  as above
    found = _VERSION.search(told.stdout)
    return int(found[1]) if found else 0


def _first_error(output: bytes, code: int) -> str:
    lines = output.decode("utf-8", "replace").strip().splitlines()
    return next((line for line in lines if "error:" in line), lines[-1] if lines else f"exit code {code}")
