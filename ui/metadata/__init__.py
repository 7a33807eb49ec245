"""Reads generation settings from pictures and texts of many programs."""
