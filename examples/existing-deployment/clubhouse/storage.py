"""Where the club keeps its values: a CSV file for each asset, or for each of its partitions."""

import dagster as dg
import pandas as pd
from upath import UPath


class CsvFiles(dg.UPathIOManager):
    """Stores frames as CSV."""

    extension = ".csv"

    def dump_to_path(self, context: dg.OutputContext, obj: pd.DataFrame, path: UPath) -> None:
        """Write a frame to its file."""
        with path.open("w") as file:
            obj.to_csv(file, index=False)

    def load_from_path(self, context: dg.InputContext, path: UPath) -> pd.DataFrame:
        """Read a frame from its file."""
        with path.open() as file:
            return pd.read_csv(file)


class ClubStorage(dg.ConfigurableIOManagerFactory):
    """The club's IO manager, which keeps all files in one folder."""

    folder: str

    def create_io_manager(self, context: dg.InitResourceContext) -> CsvFiles:
        """Open the folder."""
        return CsvFiles(base_path=UPath(self.folder))
