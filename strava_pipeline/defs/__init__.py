"""All code that uses Dagster: assets, checks, jobs, resources, partitions."""
