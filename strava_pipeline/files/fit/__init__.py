"""FIT files, Garmin's format of recordings, read in numpy.

Source of the format: https://developer.garmin.com/fit/protocol/
"""
