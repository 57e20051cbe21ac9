"""Keeps mails to send, and who agreed to get them."""
