"""What a machine with a GPU has to show: `python -m bench.gpu_check`."""
