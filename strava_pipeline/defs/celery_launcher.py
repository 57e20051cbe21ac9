"""Dagster's launcher of runs by Celery, with runs that can be canceled.

The one of dagster-celery 0.29 interrupts a run without a word to Dagster, which then takes the run for one that failed:
it starts the run again, and an import goes on that a person has ended.
"""

from dagster_celery.launcher import CeleryRunLauncher


class CancelingCeleryRunLauncher(CeleryRunLauncher):
    """Starts runs as tasks of Celery; a run that a person ends is canceled."""

    def terminate(self, run_id: str) -> bool:
        """Let a run end; returns whether it was there and had not ended.

        Dagster ends one that no worker has begun, after its ``cancel_timeout_seconds``.
        """
        run = self._instance.get_run_by_id(run_id)
        if run is None or run.is_finished:
            return False
        self._instance.report_run_canceling(run)
        return super().terminate(run_id)
