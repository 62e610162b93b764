"""How Myriad runs: the Ray Serve composition, the settings, the command line."""
