"""Files that carry the same application to Docker, Kubernetes or any Ray cluster."""
