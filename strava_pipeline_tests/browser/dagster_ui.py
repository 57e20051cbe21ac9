"""Dagster's own UI as an operator uses it: where one clicks, and where things stand.

Assets and jobs are given by their plain names.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date

from playwright.sync_api import Locator, Page, ViewportSize, expect

from strava_pipeline.names import OWN_NAMES

# Some of its pages ask Dagster for several things before they show one.
PAGE_MILLISECONDS = 200_000
WINDOW: ViewportSize = {"width": 1280, "height": 800}


@dataclass(frozen=True)
class DagsterUI:
    """One window with Dagster's UI; ``refused`` tells what the guard, or a policy of its answers, kept from it."""

    page: Page
    url: str
    refused: list[str]

    def open_graph(self) -> None:
        """The whole graph of assets, its groups open."""
        self.page.goto(f"{self.url}/asset-groups")
        self._in_graph(OWN_NAMES.group("lake")).wait_for(timeout=PAGE_MILLISECONDS)
        size = self.page.viewport_size
        assert size is not None
        # Below the graph, where there is nothing but its menu.
        self.page.mouse.click(size["width"] // 2, size["height"] - 50, button="right")
        self.page.get_by_role("menuitem", name="Expand all groups").click()
        self._in_graph("gear").wait_for(timeout=PAGE_MILLISECONDS)
        # Loaded anew it fits into the window.
        self.page.reload()
        self._in_graph("gear").wait_for(timeout=PAGE_MILLISECONDS)

    def choose_assets(self, *assets: str) -> None:
        """Tick assets in the catalog, with more room for it."""
        self.page.goto(f"{self.url}/assets")
        self._button("Hide navigation").click(timeout=PAGE_MILLISECONDS)
        for asset in assets:
            box = self.page.get_by_test_id(f"checkbox-{OWN_NAMES.asset_key(asset)}")
            self.page.locator("label", has=box).click(timeout=PAGE_MILLISECONDS)

    def fill_launch_dialog(self, athlete_id: int, first: date, last: date) -> Locator:
        """Open the dialog for what was chosen, and choose an athlete and months in it."""
        self._button("Materialize selected").click()
        dialog = self.page.get_by_role("dialog").first
        months = dialog.get_by_placeholder("ex: ")
        months.wait_for(timeout=PAGE_MILLISECONDS)
        dialog.get_by_text("Select a partition or create one").click()
        self.page.get_by_role("menuitem", name=str(athlete_id)).click()
        self.page.keyboard.press("Escape")
        months.fill(f"[{first}...{last}]")
        months.press("Enter")
        return dialog

    def open_months(self, asset: str) -> None:
        """The athletes and months of an asset."""
        self.page.goto(f"{self.url}/assets/{OWN_NAMES.asset_key(asset)}?view=partitions")

    def open_month(self, month: date) -> None:
        """Choose a month among those of an asset."""
        self.page.get_by_text(month.isoformat(), exact=True).filter(visible=True).first.click()

    def open_columns(self, asset: str) -> None:
        """The columns of an asset's table."""
        self.page.goto(f"{self.url}/assets/{OWN_NAMES.asset_key(asset)}?view=overview")

    def rerun_month(self) -> None:
        """Materialize the month that is open once more."""
        self._button("Materialize").click()
        self.page.get_by_role("dialog").get_by_role("button", name="Launch 1 run").click(timeout=PAGE_MILLISECONDS)
        expect(self.page.get_by_text("Launched run")).to_be_visible(timeout=PAGE_MILLISECONDS)

    def launch_job(self, job: str) -> None:
        """Launch a job that needs no choice, from its launchpad."""
        self.page.goto(f"{self.url}/locations/strava_pipeline/jobs/{OWN_NAMES.job(job)}/playground")
        self._button("Launch Run").click(timeout=PAGE_MILLISECONDS)

    def _in_graph(self, name: str) -> Locator:
        return self.page.locator("svg").get_by_text(name, exact=True).filter(visible=True).first

    def _button(self, name: str) -> Locator:
        return self.page.get_by_role("button", name=name).first
