"""How specialists are made: chat rows in, a plain PEFT folder out."""
