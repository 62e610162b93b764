"""How the catalogue's tables came about, step by step; steps are added, never changed."""
