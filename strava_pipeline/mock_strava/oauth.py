"""Flask blueprint of OAuth: consent, codes, tokens, end of a grant. Its calls are not counted by the rate limits."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import urlencode, urlsplit, urlunsplit

from flask import Blueprint, Response, g, jsonify, redirect, render_template, request
from werkzeug.datastructures import CombinedMultiDict, MultiDict
from werkzeug.wrappers import Response as BaseResponse

from strava_pipeline.mock_strava.bearer import bearer_grant
from strava_pipeline.mock_strava.config import Form
from strava_pipeline.mock_strava.credentials import check_client, check_client_id, check_client_in_request
from strava_pipeline.mock_strava.grants import SCOPES, Grant
from strava_pipeline.mock_strava.refusals import bad_request, no_such_path, secret_invalid
from strava_pipeline.mock_strava.shapes import JsonObject, summary_athlete
from strava_pipeline.mock_strava.state import current_mock

Fields = CombinedMultiDict[str, str] | MultiDict[str, str]

oauth = Blueprint("oauth", __name__, template_folder="templates")


@dataclass(frozen=True)
class ConsentRequest:
    """An app's request for an athlete's consent."""

    client_id: str
    redirect_uri: str
    scopes: tuple[str, ...]
    state: str | None

    def redirect_with(self, answer: dict[str, str]) -> BaseResponse:
        """Return a redirect to the app with ``answer`` and the state of the request."""
        state = {} if self.state is None else {"state": self.state}
        parts = urlsplit(self.redirect_uri)
        query = "&".join(filter(None, (parts.query, urlencode(state | answer))))
        return redirect(urlunsplit(parts._replace(query=query)))

    def redirect_with_code(self, athlete_id: int, scopes: tuple[str, ...]) -> BaseResponse:
        """Create a code for these scopes, and return a redirect to the app with the code."""
        code = current_mock().grants.new_code(athlete_id, scopes)
        return self.redirect_with({"code": code, "scope": ",".join(scopes)})


@oauth.get("/authorize")
def authorize() -> BaseResponse | str:
    """Return the consent page for browsers; other clients get all scopes at once."""
    ask = _parse_consent_request(request.args)
    if "text/html" in request.headers.get("Accept", ""):
        return render_template("consent.html", ask=ask, people=list(current_mock().world))
    return ask.redirect_with_code(_athlete(request.args), ask.scopes)


@oauth.post("/authorize")
def decide() -> BaseResponse:
    """Redirect to the app with the athlete's choice on the consent page."""
    ask = _parse_consent_request(request.form)
    if request.form.get("decision") != "authorize":
        return ask.redirect_with({"error": "access_denied"})
    allowed = tuple(scope for scope in ask.scopes if scope in request.form.getlist("allow"))
    return ask.redirect_with_code(_athlete(request.form), allowed)


@oauth.post("/token")
def token() -> Response:
    """Return tokens for a code or a refresh token."""
    check_client_in_request()
    grants, fields = current_mock().grants, request.values
    match fields.get("grant_type"):
        case "authorization_code":
            grant = grants.exchange(fields.get("code", ""))
            body = {"token_type": "Bearer", **_expiry(grant), **_tokens(grant), "athlete": _athlete_body(grant)}
        case "refresh_token":
            grant = grants.refresh(fields.get("refresh_token", ""))
            body = {"token_type": "Bearer", **_tokens(grant), **_expiry(grant)}
        case _:
            raise bad_request("Application", "grant_type", "invalid")
    g.athlete_id = grant.athlete_id
    return jsonify(body)


@oauth.post("/deauthorize")
def deauthorize() -> Response:
    """End the grant of the access token in form, query or header. The API of 2027 does not have this."""
    if current_mock().config.form is Form.API_OF_2027:
        raise no_such_path()
    given = request.values.get("access_token")
    grant = current_mock().grants.find_by_access_token(given) if given else bearer_grant()
    g.athlete_id = grant.athlete_id
    current_mock().grants.revoke(grant.athlete_id)
    return jsonify(access_token=grant.access_token)


@oauth.post("/revoke")
def revoke() -> Response:
    """End the grant of a token, with the app's credentials by HTTP Basic; succeeds also for an unknown token.

    It replaces ``/oauth/deauthorize``.
    """
    basic = request.authorization
    if basic is None or basic.type != "basic":
        raise secret_invalid()
    check_client(basic.username or "", basic.password or "")
    grants = current_mock().grants
    grant = grants.find_by_any_token(request.form.get("token", ""))
    if grant is not None:
        g.athlete_id = grant.athlete_id
        grants.revoke(grant.athlete_id)
    return jsonify({})


def _parse_consent_request(fields: Fields) -> ConsentRequest:
    check_client_id(fields.get("client_id", ""))
    redirect_uri = fields.get("redirect_uri", "")
    parts = urlsplit(redirect_uri)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise bad_request("Application", "redirect_uri", "invalid")
    if fields.get("response_type") != "code":
        raise bad_request("Authorize", "response_type", "invalid")
    scopes = tuple(filter(None, fields.get("scope", "").split(",")))
    if not scopes or not set(scopes) <= set(SCOPES):
        raise bad_request("Authorize", "scope", "invalid")
    return ConsentRequest(fields["client_id"], redirect_uri, scopes, fields.get("state"))


def _athlete(fields: Fields) -> int:
    """Return the id of the chosen athlete, else of the first one."""
    people = current_mock().world.people
    chosen = fields.get("athlete") or str(next(iter(people)))
    found = next((number for number in people if str(number) == chosen), None)
    if found is None:
        raise bad_request("Athlete", "id", "invalid")
    return found


def _tokens(grant: Grant) -> JsonObject:
    return {"refresh_token": grant.refresh_token, "access_token": grant.access_token}


def _expiry(grant: Grant) -> JsonObject:
    left = grant.expires_at - current_mock().clock()
    return {"expires_at": int(grant.expires_at), "expires_in": max(int(left), 0)}


def _athlete_body(grant: Grant) -> JsonObject:
    return summary_athlete(current_mock().world.people[grant.athlete_id].athlete)
