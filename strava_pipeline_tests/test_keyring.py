from __future__ import annotations

import base64
import traceback
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from strava_pipeline.errors import ConfigurationError, TokenUnreadable
from strava_pipeline.keyring import KEY_BYTES, AssociatedData, Keyring, generate_key, key_id_of
from strava_pipeline.secret import Secret

PLACE = AssociatedData(athlete_id=4_000_000_101, column="strava_access_token", generation=3)
KEY = base64.b64encode(bytes(range(KEY_BYTES))).decode()
OTHER = base64.b64encode(bytes(range(1, KEY_BYTES + 1))).decode()
TOKEN = Secret("canary-token")


@pytest.fixture
def keyring() -> Keyring:
    return Keyring.parse(f"new:{KEY},old:{OTHER}")


def test_what_goes_in_comes_out(keyring: Keyring) -> None:
    assert keyring.decrypt(keyring.encrypt(TOKEN, PLACE), PLACE) == TOKEN


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_any_text_goes_in_and_comes_out(text: str) -> None:
    keyring = Keyring.parse(f"k:{KEY}")
    assert keyring.decrypt(keyring.encrypt(Secret(text), PLACE), PLACE).reveal() == text


def test_an_envelope_is_versioned_and_shows_nothing(keyring: Keyring) -> None:
    version, key_id, nonce, sealed = keyring.encrypt(TOKEN, PLACE).split(".")
    assert (version, key_id) == ("v1", "new")
    assert len(base64.urlsafe_b64decode(nonce + "==")) == 12
    # The tag is 16 bytes long.
    assert len(base64.urlsafe_b64decode(sealed + "==")) == len(TOKEN.reveal()) + 16
    assert TOKEN.reveal().encode() not in base64.urlsafe_b64decode(sealed + "==")


def test_no_two_envelopes_are_alike(keyring: Keyring) -> None:
    assert len({keyring.encrypt(TOKEN, PLACE) for _ in range(100)}) == 100


@pytest.mark.parametrize(
    "place",
    [
        replace(PLACE, column="strava_refresh_token"),
        replace(PLACE, athlete_id=4_000_000_102),
        replace(PLACE, generation=2),
        replace(PLACE, generation=4),
        AssociatedData(athlete_id=40, column=PLACE.column, generation=3),
    ],
)
def test_an_envelope_opens_nowhere_else(keyring: Keyring, place: AssociatedData) -> None:
    with pytest.raises(TokenUnreadable, match=f"{place.column} of athlete {place.athlete_id} cannot be decrypted"):
        keyring.decrypt(keyring.encrypt(TOKEN, PLACE), place)


def test_places_that_look_alike_are_told_apart() -> None:
    places = {
        AssociatedData(1, "c", 23),
        AssociatedData(12, "c", 3),
        AssociatedData(1, "c", 2),
        AssociatedData(12, "c", 33),
        AssociatedData(123, "c", 3),
    }
    assert len({place.additional_data("k") for place in places}) == len(places)
    assert PLACE.additional_data("a") != PLACE.additional_data("b")


def test_the_key_id_is_bound_too() -> None:
    both = Keyring.parse(f"a:{KEY},b:{KEY}")
    renamed = both.encrypt(TOKEN, PLACE).replace("v1.a.", "v1.b.")
    with pytest.raises(TokenUnreadable, match="cannot be decrypted with key b"):
        both.decrypt(renamed, PLACE)


def test_the_first_key_writes_and_all_of_them_read(keyring: Keyring) -> None:
    before = Keyring.parse(f"old:{OTHER}").encrypt(TOKEN, PLACE)
    assert keyring.writing_key_id == "new"
    assert keyring.decrypt(before, PLACE) == TOKEN


def test_a_key_that_is_gone_is_named(keyring: Keyring) -> None:
    envelope = keyring.encrypt(TOKEN, PLACE)
    with pytest.raises(TokenUnreadable, match="written with key new: add this key to STRAVA_TOKEN_KEYS"):
        Keyring.parse(f"old:{OTHER}").decrypt(envelope, PLACE)


def test_another_key_of_the_same_name_does_not_open(keyring: Keyring) -> None:
    envelope = keyring.encrypt(TOKEN, PLACE)
    with pytest.raises(TokenUnreadable, match="cannot be decrypted with key new"):
        Keyring.parse(f"new:{OTHER}").decrypt(envelope, PLACE)


@given(st.data())
def test_any_changed_character_closes_an_envelope(data: st.DataObject) -> None:
    keyring = Keyring.parse(f"k:{KEY}")
    envelope = keyring.encrypt(Secret("x" * 15), PLACE)
    # The last character of each base64 part holds bits that are thrown away; all others count.
    spare = {envelope.rindex(".") - 1, len(envelope) - 1}
    at = data.draw(st.integers(0, len(envelope) - 1).filter(lambda index: index not in spare))
    other = data.draw(st.characters(codec="utf-8").filter(lambda char: char != envelope[at]))
    with pytest.raises(TokenUnreadable):
        keyring.decrypt(envelope[:at] + other + envelope[at + 1 :], PLACE)


@pytest.mark.parametrize(
    "envelope",
    [
        "",
        TOKEN.reveal(),
        "v1",
        "v1.new",
        "v1.new..",
        "v1.new.AAAA.AAAA",
        "v1.new.AAAAAAAAAAAAAAAA.",
        "v1.new.AAAAAAAAAAAAAAAA.AAAA",
        "v1.new.AAAAAAAAAAAAAAAAAAAA." + "A" * 60,
        "v1.new.AAAAAAAAAAAAAAAA." + "é" * 60,
        "v1.new.AAAAAAAAAAAAAAAA." + "A" * 61,
        "v2.new.AAAAAAAAAAAAAAAA." + "A" * 60,
        "v1.new.AAAAAAAAAAAAAAAA." + "A" * 60 + ".x",
        "v1..AAAAAAAAAAAAAAAA." + "A" * 60,
    ],
)
def test_what_is_no_envelope_is_never_taken_for_a_token(keyring: Keyring, envelope: str) -> None:
    with pytest.raises(TokenUnreadable, match="strava_access_token of athlete 4000000101"):
        keyring.decrypt(envelope, PLACE)


@given(st.text())
def test_no_text_opens_by_chance(text: str) -> None:
    with pytest.raises(TokenUnreadable):
        Keyring.parse(f"k:{KEY}").decrypt(text, PLACE)


@pytest.mark.parametrize("length", [0, 1, 16, 24, 31, 33, 64])
def test_only_keys_of_32_bytes_are_taken(length: int) -> None:
    encoded = base64.b64encode(b"\x07" * length).decode()
    with pytest.raises(ConfigurationError, match=r"AES-256 needs 32|not of the form"):
        Keyring.parse(f"k:{encoded}")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "holds no key"),
        (" , ,", "holds no key"),
        (KEY, "entry 1 is not of the form id:base64"),
        (f"k:{KEY},{OTHER}", "entry 2 is not of the form id:base64"),
        (f":{KEY}", "entry 1 is not of the form"),
        ("k:", "entry 1 is not of the form"),
        (f"a.b:{KEY}", "entry 1 is not of the form"),
        (f"é:{KEY}", "entry 1 is not of the form"),
        (f"{'k' * 33}:{KEY}", "entry 1 is not of the form"),
        (f"k:{KEY},k:{OTHER}", "key id k is given twice"),
        (f"k:{KEY[:-1]}", "key k is not base64"),
        (f"k:{KEY}=", "key k is not base64"),
        (f"k:{KEY[:10]} {KEY[10:]}", "key k is not base64"),
        (f"k:{KEY[:10]}:{KEY[10:]}", "key k is not base64"),
        (f"k:ü{KEY[1:]}", "key k is not base64"),
    ],
)
def test_a_faulty_entry_is_named_and_not_shown(text: str, message: str) -> None:
    with pytest.raises(
        ConfigurationError, match=f"STRAVA_TOKEN_KEYS.* {message}|STRAVA_TOKEN_KEYS {message}"
    ) as caught:
        Keyring.parse(text)
    told = "".join(traceback.format_exception(caught.value)[-1:])
    assert KEY[4:20] not in told
    assert OTHER[4:20] not in told


def test_both_alphabets_of_base64_are_read() -> None:
    key = b"\xfb\xff\xfe" * 10 + b"\xff\xff"
    plain, url_safe = base64.b64encode(key).decode(), base64.urlsafe_b64encode(key).decode()
    assert plain != url_safe
    assert Keyring.parse(f" k:{plain} ,").keys == Keyring.parse(f"k:{url_safe}").keys == {"k": key}


def test_a_generated_key_is_one() -> None:
    first, second = Keyring.parse(generate_key()), Keyring.parse(generate_key())
    assert first.keys != second.keys
    assert first.decrypt(first.encrypt(TOKEN, PLACE), PLACE) == TOKEN


def test_no_secret_shows_in_messages_or_repr(keyring: Keyring) -> None:
    envelope = keyring.encrypt(TOKEN, PLACE)
    assert repr(keyring) == "Keyring()"
    with pytest.raises(TokenUnreadable) as caught:
        keyring.decrypt(envelope, replace(PLACE, generation=9))
    told = str(caught.value)
    assert envelope not in told
    assert envelope.split(".")[3] not in told
    assert TOKEN.reveal() not in told
    assert caught.value.__suppress_context__


def test_a_check_value_tells_keys_apart_and_nothing_of_them(keyring: Keyring) -> None:
    values = {key_id: keyring.check_value(key_id) for key_id in keyring.keys}
    # HMAC-SHA256 of "key check" under the key that counts from 0 to 31, by openssl.
    assert values["new"] == "2164625b589f20c4"
    assert len(set(values.values())) == 2
    assert Keyring.parse(f"other-name:{KEY}").check_value("other-name") == values["new"]


@pytest.mark.parametrize(("envelope", "key_id"), [("v1.a.b.c", "a"), ("", ""), ("token", "")])
def test_the_key_of_an_envelope_is_read_from_it(envelope: str, key_id: str) -> None:
    assert key_id_of(envelope) == key_id


def test_an_envelope_names_its_key(keyring: Keyring) -> None:
    assert key_id_of(keyring.encrypt(TOKEN, PLACE)) == "new"
