"""Sessions for HTTP requests to others: they take the way of :mod:`.proxies`, and trust the right certificates.

Trusted are the authorities that come with certifi, or those in the file that ``REQUESTS_CA_BUNDLE`` names, and in both
cases those of ``STRAVA_CA_BUNDLE``.
"""

from __future__ import annotations

import ssl
from http.cookiejar import DefaultCookiePolicy
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import requests
from requests.adapters import HTTPAdapter
from requests.utils import DEFAULT_CA_BUNDLE_PATH
from urllib3.util.ssl_ import create_urllib3_context

from strava_pipeline.proxies import UNUSABLE, is_usable, proxy_for


class TrustingAdapter(HTTPAdapter):
    """Trusts the authorities in the file ``ca_bundle`` as well, with and without a proxy, and the proxy itself."""

    def __init__(self, ca_bundle: Path | None = None) -> None:
        self._contexts: dict[str, Any] = {}
        if ca_bundle is not None:
            self._contexts["ssl_context"] = _context(ca_bundle)
        super().__init__()

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, **(kwargs | self._contexts))

    def proxy_manager_for(self, proxy: str, **kwargs: Any) -> Any:
        own = {f"proxy_{name}": context for name, context in self._contexts.items()}
        return super().proxy_manager_for(proxy, **kwargs, **self._contexts, **own)


class HttpSession(requests.Session):
    """Decides by :func:`.proxy_for` alone which way a request goes; keeps no cookies.

    It ignores credentials in ``.netrc``, which would replace our ``Authorization`` header.
    """

    def __init__(self, adapter: HTTPAdapter) -> None:
        super().__init__()
        self.headers["User-Agent"] = "strava-pipeline"
        self.auth = _keep_headers
        self.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))
        for scheme in ("http://", "https://"):
            self.mount(scheme, adapter)

    def merge_environment_settings(self, url: Any, proxies: Any, stream: Any, verify: Any, cert: Any) -> Any:
        """Return what requests reads from the environment, with our choice of a proxy.

        ``InvalidProxyURL`` for a proxy of another kind: with SOCKS, connections would have no deadline.
        """
        merged = super().merge_environment_settings(url, proxies, stream, verify, cert)
        merged["proxies"] = _proxies(url)
        return merged


def new_http_session(ca_bundle: Path | None) -> HttpSession:
    """Return a session for a few requests; ``ca_bundle``: a file of authorities that are trusted as well."""
    return HttpSession(TrustingAdapter(ca_bundle))


def _proxies(url: str) -> dict[str, str]:
    proxy = proxy_for(url)
    if proxy is None:
        return {}
    if not is_usable(proxy):
        raise requests.exceptions.InvalidProxyURL(UNUSABLE)
    return {urlsplit(url).scheme: proxy}


def _context(ca_bundle: Path) -> ssl.SSLContext:
    context = create_urllib3_context()
    # For a proxy that speaks TLS itself, requests adds none.
    context.load_verify_locations(DEFAULT_CA_BUNDLE_PATH)
    context.load_verify_locations(ca_bundle)
    return context


def _keep_headers(request: requests.PreparedRequest) -> requests.PreparedRequest:
    return request
