"""Local stand-ins for the providers over real HTTP, as strict as the real ones."""
