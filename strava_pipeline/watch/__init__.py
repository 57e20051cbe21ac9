"""Metrics, alerts and health: what an operator should know, told from what the tables hold."""
