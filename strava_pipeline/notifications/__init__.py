"""Mails to athletes: the summary of a new activity, and how it is sent."""
