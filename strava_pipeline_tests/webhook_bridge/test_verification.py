from __future__ import annotations

import hashlib
import hmac

import pytest
from hypothesis import given
from hypothesis import strategies as st

from strava_pipeline.errors import WebhookRejected
from webhook_bridge.verification import verify_signature

NOW = 1_793_702_430
SECRET, OTHER = b"signing-secret", b"another-secret"
BODY = b'{"object_type":"activity","object_id":16123456789,"aspect_type":"create"}'


def mac(timestamp: str, body: bytes = BODY, secret: bytes = SECRET) -> str:
    return hmac.new(secret, timestamp.encode() + b"." + body, hashlib.sha256).hexdigest()


def signed(timestamp: str = str(NOW), body: bytes = BODY, secret: bytes = SECRET) -> str:
    return f"t={timestamp},v1={mac(timestamp, body, secret)}"


def reason_for(header: str | None, body: bytes = BODY, now: float = NOW, secrets: tuple[bytes, ...] = (SECRET,)) -> str:
    with pytest.raises(WebhookRejected) as caught:
        verify_signature(header, body, secrets, now)
    assert caught.value.status == 401
    return caught.value.reason


def test_what_strava_signed_passes() -> None:
    verify_signature(signed(), BODY, [SECRET], NOW)


@pytest.mark.parametrize("secrets", [(SECRET, OTHER), (OTHER, SECRET), (OTHER, OTHER, SECRET)])
def test_any_of_several_secrets_will_do(secrets: tuple[bytes, ...]) -> None:
    verify_signature(signed(), BODY, secrets, NOW)


@pytest.mark.parametrize("secrets", [(), (OTHER,), (b"",)])
def test_no_other_secret_will_do(secrets: tuple[bytes, ...]) -> None:
    assert reason_for(signed(), secrets=secrets) == "signature_wrong"


@pytest.mark.parametrize("offset_s", [-300, -299, 0, 299, 300])
def test_five_minutes_either_way_pass(offset_s: int) -> None:
    verify_signature(signed(str(NOW + offset_s)), BODY, [SECRET], NOW)


@pytest.mark.parametrize("offset_s", [-86_400, -301, 301, 86_400])
def test_more_than_five_minutes_do_not(offset_s: int) -> None:
    assert reason_for(signed(str(NOW + offset_s))) == "signature_expired"


def test_a_fraction_of_a_second_over_is_over() -> None:
    assert reason_for(signed(), now=NOW + 300.001) == "signature_expired"


@pytest.mark.parametrize(
    "timestamp",
    [
        "nan",
        "inf",
        "1e9",
        f" {NOW}",
        f"{NOW} ",
        f"+{NOW}",
        f"-{NOW}",
        "1_793_702_430",
        "\uff11\uff17\uff19\uff13\uff17\uff10\uff12\uff14\uff13\uff10",
        "\u0661\u0667",
        f"{NOW}.0",
        f"0x{NOW:x}",
        "9" * 12,
        "9" * 20,
        "",
    ],
)
def test_only_ascii_digits_are_a_time(timestamp: str) -> None:
    assert reason_for(signed(timestamp)) == "signature_malformed"


@pytest.mark.parametrize("timestamp", ["0", "99999999999"])
def test_a_time_far_off_is_expired(timestamp: str) -> None:
    assert reason_for(signed(timestamp)) == "signature_expired"


def test_the_text_of_the_time_is_signed_as_it_stands() -> None:
    verify_signature(signed(f"0{NOW}"), BODY, [SECRET], NOW)
    assert reason_for(f"t=0{NOW},v1={mac(str(NOW))}") == "signature_wrong"


GOOD = mac(str(NOW))


@pytest.mark.parametrize(
    "header",
    [
        "",
        " ",
        "t=",
        f"t={NOW}",
        f"v1={GOOD}",
        f"v1={GOOD},t={NOW}",
        f"t={NOW},v1=",
        f"t={NOW},v1={GOOD.upper()}",
        f"t={NOW},v1={GOOD[:-1]}",
        f"t={NOW},v1={GOOD}0",
        f"t={NOW},v1={GOOD[:-1]}g",
        f"t={NOW},v1={GOOD},v1={GOOD}",
        f"t={NOW},v1={'0' * 64},v1={GOOD}",
        f"t={NOW},t={NOW},v1={GOOD}",
        f"t={NOW},v1={GOOD},v0={GOOD}",
        f"t={NOW}, v1={GOOD}",
        f"t={NOW},v1={GOOD}, t={NOW},v1={GOOD}",
        f"T={NOW},V1={GOOD}",
        f"t={NOW};v1={GOOD}",
        f"t={NOW},v1={GOOD}\n",
        f"\nt={NOW},v1={GOOD}",
        f"t={NOW},v1={GOOD}\x00",
        f"t={NOW},v1=\xe9{GOOD[1:]}",
        f"t={NOW},v1=\ud800{GOOD[1:]}",
        f"t={NOW},v1=" + "\uff41" * 64,
        "x" * 100_000,
    ],
)
def test_any_other_form_of_header_is_malformed(header: str) -> None:
    assert reason_for(header) == "signature_malformed"


def test_a_missing_header_is_told_apart_in_our_log() -> None:
    assert reason_for(None) == "signature_missing"


@pytest.mark.parametrize(
    "body",
    [
        b"",
        BODY + b"\n",
        BODY.replace(b":", b": "),
        BODY.replace(b'"object_type":"activity",', b"") + b"",
        b"\xef\xbb\xbf" + BODY,
    ],
)
def test_a_body_that_was_written_anew_is_rejected(body: bytes) -> None:
    assert reason_for(signed(), body=body) == "signature_wrong"


@given(st.binary(min_size=1, max_size=300), st.data())
def test_any_flipped_bit_of_the_body_is_rejected(body: bytes, data: st.DataObject) -> None:
    bit = data.draw(st.integers(0, len(body) * 8 - 1))
    changed = bytearray(body)
    changed[bit // 8] ^= 1 << bit % 8
    verify_signature(signed(body=body), body, [SECRET], NOW)
    assert reason_for(signed(body=body), body=bytes(changed)) == "signature_wrong"


@given(st.integers(0, len(signed()) * 7 - 1))
def test_any_flipped_bit_of_the_header_is_rejected(bit: int) -> None:
    changed = bytearray(signed().encode())
    changed[bit // 7] ^= 1 << bit % 7
    assert reason_for(changed.decode()) in {"signature_malformed", "signature_wrong"}


@given(st.text() | st.from_regex(r"t=[0-9]{1,11},v1=[0-9a-f]{64}", fullmatch=True), st.binary())
def test_nothing_unsigned_passes(header: str, body: bytes) -> None:
    assert reason_for(header, body=body).startswith("signature_")
