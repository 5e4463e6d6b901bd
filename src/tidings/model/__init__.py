"""Facts: frozen values of the standard library, known to every layer above."""
