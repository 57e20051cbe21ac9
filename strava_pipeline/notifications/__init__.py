"""Mails to athletes, and reports: the summary of an activity, the mail that confirms an address, and sending."""
