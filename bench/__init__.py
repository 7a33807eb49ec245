"""The benchmark: ratios measured in one run, never absolute claims. `python -m bench`."""
