"""Prefect and Dask, and nothing else."""
