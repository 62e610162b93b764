"""What a browser is shown; plain files, no script or font from elsewhere."""
