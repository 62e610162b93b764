"""Batches: files of requests, answered beside those that people wait for."""
