"""Stores athletes: profile, state, invitations, erasure."""
