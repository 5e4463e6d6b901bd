"""Words: what a customer reads, rendered in a sandbox from reviewed templates."""
