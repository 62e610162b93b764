"""How specialists answer (`engine`) and how they are made (`training`)."""
