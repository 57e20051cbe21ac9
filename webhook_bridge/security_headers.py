"""Security headers of every answer. A page that sets one of these headers itself, such as the policy, keeps its own."""

from __future__ import annotations

from flask import Flask, Response, request

HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}
OVER_TLS = "max-age=31536000"


def install_security_headers(app: Flask) -> None:
    """Add the security headers to every answer of the app."""
    app.after_request(_harden)


def _harden(response: Response) -> Response:
    own = {name for name, _ in response.headers}
    response.headers.extend([(name, value) for name, value in HEADERS.items() if name not in own])
    if request.is_secure:
        response.headers["Strict-Transport-Security"] = OVER_TLS
    return response
