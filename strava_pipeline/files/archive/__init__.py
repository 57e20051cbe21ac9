"""The archive that Strava hands to an athlete: members, tables and recordings, read without unpacking and a database.

Strava's page about it: https://support.strava.com/hc/en-us/articles/216918437. Layouts and rules were measured on
tables of many years and several languages.
"""
