"""A seeded shop whose messages have a known true effect."""
