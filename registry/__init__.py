"""What specialists exist: the catalogue, its versions and aliases, and their files."""
