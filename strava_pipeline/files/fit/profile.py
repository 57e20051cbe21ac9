"""The fields of the FIT profile that a recording is read from: numbers, names, scales and units.

A value is the number in the file, divided by ``scale``, less ``offset``.
Source: https://developer.garmin.com/fit/overview/, the profile of its SDK.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

FILE_ID, SPORT, SESSION, LAP, RECORD, EVENT, DEVICE_INFO, ACTIVITY = 0, 12, 18, 19, 20, 21, 23, 34
LENGTH, FIELD_DESCRIPTION = 101, 206
TIMESTAMP: Final = 253


@dataclass(frozen=True, slots=True)
class ProfileField:
    """A field of a record that becomes a channel."""

    name: str
    unit: str | None = None
    scale: float = 1.0
    offset: float = 0.0


class RecordField:
    """Numbers of the fields of a record that become Strava's streams."""

    LATITUDE, LONGITUDE, ALTITUDE, HEART_RATE, CADENCE, DISTANCE, SPEED, POWER = range(8)
    COMPRESSED_SPEED_DISTANCE = 8
    TEMPERATURE = 13
    FRACTIONAL_CADENCE = 53
    ENHANCED_SPEED = 73
    ENHANCED_ALTITUDE = 78


class SessionField:
    """Numbers of the fields of a session."""

    START, SPORT, SUB_SPORT, ELAPSED, TIMER, DISTANCE = 2, 5, 6, 7, 8, 9
    ASCENT, DESCENT, POOL_LENGTH, AVERAGE_TEMPERATURE = 22, 23, 44, 57


class LapField:
    """Numbers of the fields of a lap."""

    START, ELAPSED, TIMER, DISTANCE, AVERAGE_SPEED, MAX_SPEED = 2, 7, 8, 9, 13, 14
    AVERAGE_HEART_RATE, MAX_HEART_RATE, AVERAGE_CADENCE, AVERAGE_POWER, ASCENT = 15, 16, 17, 19, 21
    SPORT, SUB_SPORT, AVERAGE_FRACTIONAL_CADENCE = 25, 39, 80
    ENHANCED_AVERAGE_SPEED, ENHANCED_MAX_SPEED = 110, 111


class LengthField:
    """Numbers of the fields of a pool length."""

    START, ELAPSED, STROKES, KIND = 2, 3, 5, 12


class EventField:
    """Numbers of the fields of an event."""

    EVENT, KIND = 0, 1


class FileIdField:
    """Numbers of the fields of the message that tells what made the file."""

    MANUFACTURER, PRODUCT, PRODUCT_NAME = 1, 2, 8


class DeviceField:
    """Numbers of the fields of the message that tells of one device or sensor."""

    INDEX, KIND, MANUFACTURER, PRODUCT, SOURCE, PRODUCT_NAME = 0, 1, 2, 4, 25, 27


class SportField:
    """Numbers of the fields of the message that tells the sport before any session."""

    SPORT, SUB_SPORT = 0, 1


class ActivityField:
    """Numbers of the fields of an activity."""

    LOCAL_TIMESTAMP = 5


class DescriptionField:
    """Numbers of the fields of the message that describes a developer's field."""

    DEVELOPER, NUMBER, TYPE, NAME, SCALE, OFFSET, UNITS = 0, 1, 2, 3, 6, 7, 8


MILLI, CENTI, SEMICIRCLES_DEGREES = 1_000.0, 100.0, 180 / 2**31
ALTITUDE_SCALE, ALTITUDE_OFFSET, FRACTION_SCALE = 5.0, 500.0, 128.0
PHASE_SCALE: Final = 0.7111111

CHANNELS: Final = {
    9: ProfileField("grade", "%", CENTI),
    10: ProfileField("resistance"),
    11: ProfileField("time_from_course", "s", MILLI),
    12: ProfileField("cycle_length", "m", CENTI),
    17: ProfileField("speed_1s", "m/s", 16),
    18: ProfileField("cycles"),
    19: ProfileField("total_cycles", "cycles"),
    28: ProfileField("compressed_accumulated_power", "watts"),
    29: ProfileField("accumulated_power", "watts"),
    30: ProfileField("left_right_balance"),
    31: ProfileField("gps_accuracy", "m"),
    32: ProfileField("vertical_speed", "m/s", MILLI),
    33: ProfileField("calories", "kcal"),
    39: ProfileField("vertical_oscillation", "mm", 10),
    40: ProfileField("stance_time_percent", "percent", CENTI),
    41: ProfileField("stance_time", "ms", 10),
    42: ProfileField("activity_type"),
    43: ProfileField("left_torque_effectiveness", "percent", 2),
    44: ProfileField("right_torque_effectiveness", "percent", 2),
    45: ProfileField("left_pedal_smoothness", "percent", 2),
    46: ProfileField("right_pedal_smoothness", "percent", 2),
    47: ProfileField("combined_pedal_smoothness", "percent", 2),
    48: ProfileField("time128", "s", FRACTION_SCALE),
    49: ProfileField("stroke_type"),
    50: ProfileField("zone"),
    51: ProfileField("ball_speed", "m/s", CENTI),
    52: ProfileField("cadence256", "rpm", 256),
    54: ProfileField("total_hemoglobin_conc", "g/dL", CENTI),
    55: ProfileField("total_hemoglobin_conc_min", "g/dL", CENTI),
    56: ProfileField("total_hemoglobin_conc_max", "g/dL", CENTI),
    57: ProfileField("saturated_hemoglobin_percent", "%", 10),
    58: ProfileField("saturated_hemoglobin_percent_min", "%", 10),
    59: ProfileField("saturated_hemoglobin_percent_max", "%", 10),
    62: ProfileField("device_index"),
    67: ProfileField("left_pco", "mm"),
    68: ProfileField("right_pco", "mm"),
    69: ProfileField("left_power_phase", "degrees", PHASE_SCALE),
    70: ProfileField("left_power_phase_peak", "degrees", PHASE_SCALE),
    71: ProfileField("right_power_phase", "degrees", PHASE_SCALE),
    72: ProfileField("right_power_phase_peak", "degrees", PHASE_SCALE),
    81: ProfileField("battery_soc", "percent", 2),
    82: ProfileField("motor_power", "watts"),
    83: ProfileField("vertical_ratio", "percent", CENTI),
    84: ProfileField("stance_time_balance", "percent", CENTI),
    85: ProfileField("step_length", "mm", 10),
    87: ProfileField("cycle_length16", "m", CENTI),
    91: ProfileField("absolute_pressure", "Pa"),
    92: ProfileField("depth", "m", MILLI),
    93: ProfileField("next_stop_depth", "m", MILLI),
    94: ProfileField("next_stop_time", "s"),
    95: ProfileField("time_to_surface", "s"),
    96: ProfileField("ndl_time", "s"),
    97: ProfileField("cns_load", "percent"),
    98: ProfileField("n2_load", "percent"),
    99: ProfileField("respiration_rate", "breaths/min"),
    108: ProfileField("enhanced_respiration_rate", "breaths/min", CENTI),
    114: ProfileField("grit"),
    115: ProfileField("flow"),
    116: ProfileField("current_stress", None, CENTI),
    117: ProfileField("ebike_travel_range", "km"),
    118: ProfileField("ebike_battery_level", "percent"),
    119: ProfileField("ebike_assist_mode"),
    120: ProfileField("ebike_assist_level_percent", "percent"),
    123: ProfileField("air_time_remaining", "s"),
    124: ProfileField("pressure_sac", "bar/min", CENTI),
    125: ProfileField("volume_sac", "L/min", CENTI),
    126: ProfileField("rmv", "L/min", CENTI),
    127: ProfileField("ascent_rate", "m/s", MILLI),
    129: ProfileField("po2", "percent", CENTI),
    139: ProfileField("core_temperature", "C", CENTI),
}
