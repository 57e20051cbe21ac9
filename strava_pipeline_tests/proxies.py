"""nginx and Caddy, as they are on this machine, with the configurations of ``deploy/proxies``."""

from __future__ import annotations

import os
import pwd
import re
import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from strava_pipeline_tests.certificates import make_certificate
from strava_pipeline_tests.eventually import PATIENCE_SECONDS, eventually
from strava_pipeline_tests.proxied import DAGSTER_NAME, OPERATOR, PUBLIC_NAME, Ports, Proxy

CONFIGURATIONS = Path(__file__).parents[1] / "deploy" / "proxies"
NGINX_CONF, CADDYFILE = CONFIGURATIONS / "nginx.conf", CONFIGURATIONS / "Caddyfile"
DEBIANS_NGINX = Path("/etc/nginx/nginx.conf")
NAMES = ("nginx", "caddy")
# Arguments of a program, and its environment.
Command = tuple[list[str], dict[str, str]]


@contextmanager
def running_proxy(name: str, folder: Path, ports: Ports) -> Iterator[Proxy]:
    """Start ``nginx`` or ``caddy`` with our configuration, the operator's network being one address of this machine."""
    certificate, key = make_certificate(folder, PUBLIC_NAME, DAGSTER_NAME)
    proxy = Proxy(name, ports, certificate, folder / f"{name}.log")
    arguments, variables = {"nginx": _nginx, "caddy": _caddy}[name](folder, ports, certificate, key)
    command = [program(name), *arguments]
    with (
        proxy.log.open("ab") as log,
        subprocess.Popen(command, env=variables, stdout=log, stderr=log) as process,
    ):

        def listens() -> bool:
            assert process.poll() is None, proxy.log.read_text(encoding="utf-8")
            with suppress(OSError), socket.create_connection(("127.0.0.1", ports.https), PATIENCE_SECONDS):
                return True
            return False

        try:
            eventually(listens, f"{name} that listens")
            yield proxy
        finally:
            process.terminate()
            process.wait(PATIENCE_SECONDS)


def program(name: str) -> str:
    """The path of a program; ``AssertionError`` if this machine has none."""
    path = shutil.which(name, path=f"{os.environ['PATH']}:/usr/sbin")
    assert path is not None, f"no {name} on PATH: install it from Debian's packages"
    return path


def nginx_files(folder: Path, ports: Ports, certificate: str, key: str) -> Path:
    """Write Debian's configuration of nginx with ours in it, all its files in ``folder``; returns its path."""
    ours = folder / "strava-pipeline.conf"
    ours.write_text(_our_nginx(folder, ports, certificate, key), encoding="utf-8")
    temporary = "".join(
        f"{kind}_temp_path {folder}/{kind};\n" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    whole = DEBIANS_NGINX.read_text(encoding="utf-8")
    # Who runs the test owns its folder.
    whole = _replaced(whole, r"(?m)^user .*;", f"user {pwd.getpwuid(os.geteuid()).pw_name};")
    whole = _replaced(whole, r"(?m)^pid .*;", f"pid {folder}/nginx.pid;")
    whole = _replaced(whole, r"(?m)^(\s*error_log ).*;", rf"\g<1>{folder}/nginx.log;")
    whole = _replaced(whole, r"(?m)^(\s*access_log ).*;", rf"\g<1>{folder}/nginx.log;")
    whole = _replaced(whole, r"include /etc/nginx/conf\.d/\*\.conf;", f"include {ours};")
    whole = _replaced(whole, r"include /etc/nginx/sites-enabled/\*;", "")
    whole = _replaced(whole, r"(?m)^http \{", f"http {{\n{temporary}")
    path = folder / "nginx.conf"
    path.write_text(whole, encoding="utf-8")
    return path


def _our_nginx(folder: Path, ports: Ports, certificate: str, key: str) -> str:
    text = NGINX_CONF.read_text(encoding="utf-8")
    # On loopback alone.
    text = _replaced(text, r"(?m)^ *listen \[::\].*\n", "")
    text = _replaced(text, r"listen 80\b", f"listen 127.0.0.1:{ports.http}")
    text = _replaced(text, r"listen 443\b", f"listen 127.0.0.1:{ports.https}")
    text = _replaced(text, r"127\.0\.0\.0/8 0;", f"{OPERATOR}/32 0;")
    text = _replaced(text, r"127\.0\.0\.1:8080", f"127.0.0.1:{ports.bridge}")
    text = _replaced(text, r"127\.0\.0\.1:3000", f"127.0.0.1:{ports.dagster}")
    text = _replaced(text, r"ssl_certificate .*;", f"ssl_certificate {certificate};")
    text = _replaced(text, r"ssl_certificate_key .*;", f"ssl_certificate_key {key};")
    return _replaced(text, r"access_log \S+", f"access_log {folder}/nginx.log")


def _replaced(text: str, pattern: str, replacement: str) -> str:
    """The text with each place replaced; ``AssertionError`` if there is none: the file has changed."""
    changed, count = re.subn(pattern, replacement, text)
    assert count, pattern
    return changed


def _nginx(folder: Path, ports: Ports, certificate: str, key: str) -> Command:
    path = nginx_files(folder, ports, certificate, key)
    return ["-c", str(path), "-g", "daemon off;"], {"PATH": os.environ["PATH"]}


def _caddy(folder: Path, ports: Ports, certificate: str, key: str) -> Command:
    path = folder / "Caddyfile"
    # On loopback alone.
    text = _replaced(
        CADDYFILE.read_text(encoding="utf-8"), r"(?m)^\tadmin off$", "\tadmin off\n\tdefault_bind 127.0.0.1"
    )
    path.write_text(text, encoding="utf-8")
    return (
        ["run", "--config", str(path), "--adapter", "caddyfile"],
        caddy_variables(folder, ports, certificate, key),
    )


def caddy_variables(folder: Path, ports: Ports, certificate: str, key: str) -> dict[str, str]:
    """The variables of our ``Caddyfile``, and of Caddy's own files."""
    return {
        "PATH": os.environ["PATH"],
        "HOME": str(folder),
        "PUBLIC_HOST": PUBLIC_NAME,
        "DAGSTER_HOST": DAGSTER_NAME,
        "OPERATOR_NETWORKS": f"{OPERATOR}/32 ::1/128",
        "BRIDGE_ADDRESS": f"127.0.0.1:{ports.bridge}",
        "DAGSTER_ADDRESS": f"127.0.0.1:{ports.dagster}",
        "PROXY_TLS": f"tls {certificate} {key}",
        "HTTP_PORT": str(ports.http),
        "HTTPS_PORT": str(ports.https),
    }
