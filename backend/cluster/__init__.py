"""Several engines behind one front door. `ray` is imported in `launcher.py` alone."""
