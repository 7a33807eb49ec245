"""The benchmark, `python -m bench`: measures ratios within one run."""
