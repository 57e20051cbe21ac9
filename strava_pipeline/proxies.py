"""Which way a request leaves this machine: directly, or through a proxy that the environment names.

The variables are those of curl: ``HTTPS_PROXY``, ``HTTP_PROXY`` and ``ALL_PROXY`` name a proxy, ``NO_PROXY`` the hosts
that are reached directly; in small letters, too, which go first. Never through a proxy goes what is addressed to this
machine, to a private network or to a cluster: a proxy could not reach it, or would read plain http.
"""

from __future__ import annotations

from urllib.parse import SplitResult, unquote, urlsplit

from requests.utils import get_environ_proxies, select_proxy

from strava_pipeline.redaction import register_secret
from strava_pipeline.settings_values import is_private_host

_PORTS = {"http": 80, "https": 443}
# What is wrong with an address, in words.
UNUSABLE = "the address of a proxy has to be http://host:port or https://host:port"
_NAMELESS = "that the environment names"


def proxy_for(url: str) -> str | None:
    """Return the address of the proxy through which a request to ``url`` goes; ``None``: it goes directly.

    The proxy's password, which the address may hold, is masked from now on wherever it is logged.
    """
    if is_private_host(urlsplit(url).hostname or ""):
        return None
    found = (select_proxy(url, get_environ_proxies(url)) or "").strip()
    if not found:
        return None
    password = _parts(found).password or ""
    for text in {password, unquote(password)}:
        register_secret(text)
    return found


def is_usable(proxy: str) -> bool:
    """Whether requests can go through a proxy of this address."""
    parts = _parts(proxy)
    return parts.scheme in _PORTS and bool(parts.hostname) and _port(parts) is not None


def name_of(proxy: str) -> str:
    """Return the host and port of a proxy's address, for messages; never its login."""
    parts = _parts(proxy)
    if not parts.hostname:
        return _NAMELESS
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    port = _port(parts)
    return f"{host}:{port}" if port else host


def through(url: str) -> str:
    """Return the words by which an error names the proxy that a request to ``url`` goes through; '' without one."""
    proxy = proxy_for(url)
    return "" if proxy is None else f", through the proxy {name_of(proxy)}"


def _parts(proxy: str) -> SplitResult:
    """The parts of a proxy's address, which may lack its scheme; of an unreadable one none."""
    try:
        return urlsplit(proxy if "://" in proxy else f"http://{proxy}")
    except ValueError:
        return urlsplit("")


def _port(parts: SplitResult) -> int | None:
    try:
        return parts.port or _PORTS.get(parts.scheme)
    except ValueError:
        return None
