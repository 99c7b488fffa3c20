"""Searches for hyper-parameters on this machine, from W&B's sweep files: each trial is a run of ``fit``."""
