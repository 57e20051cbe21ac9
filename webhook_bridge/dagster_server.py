"""Requests to Dagster's webserver: signed, sent as plain HTTP, and answered within a time limit."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from http import HTTPStatus
from pathlib import Path
from typing import Any, Self, TypeVar

import requests

from strava_pipeline.errors import StravaPipelineError
from strava_pipeline.http_session import new_http_session
from strava_pipeline.proxies import through
from strava_pipeline.request_header import RequestHeader
from strava_pipeline.secret import Secret
from strava_pipeline.settings import Settings
from strava_pipeline.web.operator_door import dagster_signing_key
from strava_pipeline.web.request_signature import HEADER, PATH, Signature
from webhook_bridge.place import KeptPlace

Found = TypeVar("Found")

TIMEOUT_SECONDS = 10
# Time limit of a query for a page, for which a person waits.
GLANCE_SECONDS = 3
# With these a guard in front of Dagster, ours or another, refuses a request.
_KEPT_OUT = {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN, HTTPStatus.MISDIRECTED_REQUEST}


class DagsterUnavailable(StravaPipelineError):
    """Dagster did not answer, or refused the request; as far as we know it changed nothing."""


class DagsterRefused(DagsterUnavailable):
    """Dagster answered, and refused."""


def _count_nothing(_job: str, _is_launched: bool) -> None:
    """Whoever launches a run by a command counts nothing."""


@dataclass(frozen=True)
class Wanted:
    """What the settings say of where our definitions are; ``None``: Dagster is asked. ``key_prefix``: ``a/b``.

    ``app``: the id of our Strava app; definitions that tell another one are not ours.
    """

    location: str | None = None
    repository: str | None = None
    key_prefix: str | None = None
    app: str | None = None


@dataclass(frozen=True)
class DagsterServer:
    """Dagster's URL, and the key that signs requests for the guard in front of it; Dagster alone ignores signatures.

    ``count_launch`` is called with the plain name of the job of each launch, and whether Dagster took it. ``header``
    goes with each request, for a login proxy of others in front of Dagster. ``ca_bundle``: a file of authorities whose
    certificates are trusted as well. ``kept`` is where our definitions were found.
    """

    url: str
    key: Secret
    count_launch: Callable[[str, bool], None] = _count_nothing
    header: RequestHeader | None = None
    wanted: Wanted = Wanted()
    ca_bundle: Path | None = None
    kept: KeptPlace = field(default_factory=KeptPlace, init=False, repr=False, compare=False)

    @classmethod
    def from_settings(cls, settings: Settings, count_launch: Callable[[str, bool], None] = _count_nothing) -> Self:
        """The server that the settings name.

        ``ConfigurationError`` without ``STRAVA_TOKEN_KEYS``, and for a header that others could read on its way.
        """
        header = settings.header_for_dagster()
        wanted = Wanted(
            settings.dagster_location, settings.dagster_repository, settings.dagster_key_prefix, settings.client_id
        )
        url, key = settings.dagster_webserver_url, dagster_signing_key(settings)
        return cls(url, key, count_launch, header, wanted, settings.ca_bundle)


def ask(
    dagster: DagsterServer,
    query: str,
    params: Mapping[str, Any] | list[str] | str | None,
    successes: set[str],
    found_in: Callable[[Any], Found],
    timeout_s: float | None = None,
    *,
    more: Mapping[str, Any] | None = None,
) -> Found:
    """Send a query; returns what ``found_in`` finds in a successful answer. ``DagsterRefused`` for another one.

    ``DagsterUnavailable`` without one. The query's variables are ``$params`` and, by name, those in ``more``. After
    a refusal our place in Dagster is looked for anew: a location may have been renamed, or have another prefix.
    """
    variables = ({} if params is None else {"params": params}) | dict(more or {})
    try:
        response = post(dagster, PATH, {"query": query, "variables": variables}, timeout_s)
        answer = response.json()["data"]["answer"]
        if answer["__typename"] in successes:
            return found_in(answer)
        reason = answer.get("message") or answer["__typename"]
    except (requests.RequestException, AttributeError, KeyError, TypeError, ValueError) as error:
        told = f"{type(error).__name__}{through(dagster.url)}"
        raise DagsterUnavailable(f"Dagster at {dagster.url} gave no usable answer: {told}") from None
    dagster.kept.doubt()
    raise DagsterRefused(f"Dagster refused: {reason}")


def post(
    dagster: DagsterServer, path: str, body: Mapping[str, Any], timeout_s: float | None = None
) -> requests.Response:
    """Send a signed request; returns a successful answer.

    ``DagsterUnavailable`` if somebody in front refuses it, ``requests.RequestException`` for any other failure.
    """
    with new_http_session(dagster.ca_bundle) as session:
        response = session.post(
            f"{dagster.url}{path}",
            json=body,
            auth=partial(_sign, dagster, path),
            timeout=TIMEOUT_SECONDS if timeout_s is None else timeout_s,
            # A signed request is for Dagster alone, and for one use.
            allow_redirects=False,
        )
    if response.status_code in _KEPT_OUT or response.is_redirect:
        raise DagsterUnavailable(_kept_out(dagster, response))
    response.raise_for_status()
    return response


def _sign(dagster: DagsterServer, path: str, request: requests.PreparedRequest) -> requests.PreparedRequest:
    body = request.body or b""
    content = body if isinstance(body, bytes) else body.encode()
    if dagster.header is not None:
        request.headers[dagster.header.name] = dagster.header.value.reveal()
    request.headers[HEADER] = str(Signature.of(content, dagster.key, path))
    return request


def _kept_out(dagster: DagsterServer, answer: requests.Response) -> str:
    if answer.is_redirect:
        why = "it sends us elsewhere, as login proxies do: set STRAVA_DAGSTER_HEADER to what that proxy lets in"
    else:
        why = (
            "both need the same STRAVA_TOKEN_KEYS and the right time, and the host of DAGSTER_WEBSERVER_URL must be"
            " among STRAVA_DAGSTER_HOSTS if it is not this machine's; a login proxy needs STRAVA_DAGSTER_HEADER"
        )
    return f"Dagster at {dagster.url} does not let us in ({answer.status_code}): {why}"
