"""Stores mails to send, and athletes' consent to get them."""
