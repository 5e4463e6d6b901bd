"""The use cases, one module each; the only layer that opens connections and reads the clock."""
