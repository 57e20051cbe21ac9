"""The assets, one file per group."""

import warnings

import dagster as dg

# Dagster 1.13 counts backfill policies as beta and says so at every start; an operator can do nothing about it.
warnings.filterwarnings("ignore", message="Parameter `backfill_policy`", category=dg.BetaWarning)
