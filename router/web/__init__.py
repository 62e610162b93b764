"""What a browser is shown: files as they are, without a build, and nothing from elsewhere."""
