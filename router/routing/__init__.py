"""The choice: which specialist a text is for."""
