"""The outside: each provider is one file that translates both ways."""
