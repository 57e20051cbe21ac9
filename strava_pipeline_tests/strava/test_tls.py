from __future__ import annotations

import ipaddress
import time
from datetime import UTC, datetime, timedelta
from itertools import repeat
from pathlib import Path

import pytest
import requests
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from strava_pipeline.errors import RetriableStravaError
from strava_pipeline.strava.http import send
from strava_pipeline_tests.strava.loopback import Loopback, Raw


@pytest.fixture
def certificate(strava: Loopback, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The file with the certificate under which the server now speaks TLS."""
    # To requests these go before what a session trusts.
    for variable in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):
        monkeypatch.delenv(variable, raising=False)
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.now(UTC)
    built = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    (tmp_path / "certificate.pem").write_bytes(built.public_bytes(serialization.Encoding.PEM))
    (tmp_path / "key.pem").write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    strava.speak_tls(str(tmp_path / "certificate.pem"), str(tmp_path / "key.pem"))
    return str(tmp_path / "certificate.pem")


def test_an_unknown_certificate_is_refused_before_anything_is_sent(
    strava: Loopback, session: requests.Session, certificate: str
) -> None:
    with pytest.raises(RetriableStravaError, match="the TLS certificate does not hold"):
        send(session, "GET", f"https://127.0.0.1:{strava.port}", what="GET", headers={"Authorization": "Bearer x"})
    assert strava.asked == []


def test_the_deadline_holds_over_tls(
    strava: Loopback, session: requests.Session, certificate: str, short_deadline: float
) -> None:
    session.verify = certificate
    url = f"https://127.0.0.1:{strava.port}"
    assert send(session, "GET", url, what="GET").status == 200
    head = b"HTTP/1.1 200 OK\r\nContent-Length: 65536\r\n\r\n"
    strava.answers(Raw(lambda: iter([head, *repeat(b"x", 1_000)])))
    started = time.monotonic()
    with pytest.raises(RetriableStravaError, match="no whole answer in time"):
        send(session, "GET", url, what="GET")
    assert time.monotonic() - started < short_deadline + 1
