"""Reports of sweeps: what they say is read once (`contents`), laid out once (`document`, `tables`), and written."""
