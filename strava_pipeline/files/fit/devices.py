"""What recorded a FIT file: names of manufacturers and products, and whether it told of a barometer.

Sources: the types ``manufacturer``, ``garmin_product``, ``source_type`` and ``local_device_type`` of the FIT profile,
https://developer.garmin.com/fit/overview/.
"""

from __future__ import annotations

from typing import Final

from strava_pipeline.files.fit.columns import Row, columns_of, texts_of
from strava_pipeline.files.fit.garmin_products import GARMIN_PRODUCTS
from strava_pipeline.files.fit.messages import Messages
from strava_pipeline.files.fit.profile import DEVICE_INFO, FILE_ID, DeviceField, FileIdField
from strava_pipeline.files.recording import Device

_GARMIN: Final = 1
_CREATOR, _LOCAL_SOURCE, _BAROMETER = 0, 5, 4
MANUFACTURERS: Final = {
    _GARMIN: "Garmin",
    6: "SRM",
    13: "Dynastream",
    15: "Dynastream",
    16: "Timex",
    23: "Suunto",
    32: "Wahoo",
    40: "Concept2",
    48: "Pioneer",
    61: "Geonaute",
    63: "Specialized",
    67: "Bkool",
    68: "CatEye",
    69: "Stages",
    70: "Sigma",
    71: "TomTom",
    73: "Wattbike",
    86: "Elite",
    89: "Tacx",
    95: "Stryd",
    107: "Magene",
    111: "Technogym",
    115: "iGPSPORT",
    122: "Johnson Health Tech",
    123: "Polar",
    128: "iFIT",
    132: "CYCPLUS",
    135: "CooSpo",
    137: "Bosch",
    142: "TAG Heuer",
    143: "Keiser",
    150: "MYZONE",
    258: "Lezyne",
    260: "Zwift",
    262: "Recon",
    265: "Strava",
    267: "Bryton",
    268: "SRAM",
    281: "TrainerRoad",
    282: "Wahoo SYSTM",
    289: "Hammerhead",
    294: "COROS",
    305: "WHOOP",
    307: "OneLap",
    309: "FORM",
    310: "Decathlon",
    315: "RGT Cycling",
    326: "Nike",
    331: "MyWhoosh",
}


def read_device(messages: Messages) -> Device:
    """Read the device: by the first message that tells what made the file, else by the one that calls it the creator.

    Manufacturers and products without a known name are told by their number.
    """
    made_by = _rows(messages, FILE_ID, (FileIdField.MANUFACTURER, FileIdField.PRODUCT))
    sensors = _rows(
        messages,
        DEVICE_INFO,
        (DeviceField.INDEX, DeviceField.KIND, DeviceField.MANUFACTURER, DeviceField.PRODUCT, DeviceField.SOURCE),
    )
    creators = [row for row in sensors if row[DeviceField.INDEX] == _CREATOR]
    manufacturer = _first(made_by, FileIdField.MANUFACTURER) or _first(creators, DeviceField.MANUFACTURER)
    product = _first(made_by, FileIdField.PRODUCT) or _first(creators, DeviceField.PRODUCT)
    texts = texts_of(messages, FILE_ID, FileIdField.PRODUCT_NAME)
    maker, model = _manufacturer(manufacturer), texts[0][1] if texts else _product(manufacturer, product)
    return Device(
        creator=_creator(maker, model),
        manufacturer=maker,
        product=model,
        has_barometer=any(_is_barometer(row) for row in sensors) or None,
    )


def _rows(messages: Messages, message: int, numbers: tuple[int, ...]) -> list[Row]:
    return columns_of(messages.data, messages.of(message), numbers).rows(numbers)


def _first(rows: list[Row], number: int) -> float | None:
    return next((row[number] for row in rows if row[number] is not None), None)


def _manufacturer(number: float | None) -> str | None:
    return None if number is None else MANUFACTURERS.get(int(number), str(int(number)))


def _product(manufacturer: float | None, number: float | None) -> str | None:
    if number is None:
        return None
    names = GARMIN_PRODUCTS if manufacturer == _GARMIN else {}
    return names.get(int(number), str(int(number)))


def _creator(maker: str | None, model: str | None) -> str | None:
    """Return both names as one, such as ``Garmin Edge 530``; without the maker's where the model's begins with it."""
    if maker is None or model is None or model.lower().startswith(maker.lower()):
        return model or maker
    return f"{maker} {model}"


def _is_barometer(row: Row) -> bool:
    return row[DeviceField.SOURCE] == _LOCAL_SOURCE and row[DeviceField.KIND] == _BAROMETER
