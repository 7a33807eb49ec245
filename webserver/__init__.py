"""What the backend's HTTP port and the studio share: how long and how many clients may wait."""
