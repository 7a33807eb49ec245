"""Trains the embedded model from open pictures and exports it as a diffusers folder."""
