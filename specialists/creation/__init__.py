"""What creators have made, as specialists that speak for them."""
