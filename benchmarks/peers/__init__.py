"""Other engines, each run by the Python of its own virtual environment (`make peers`)."""
