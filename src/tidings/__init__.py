"""Triggered messages from a shop's warehouse, sent once, and what they truly earned."""
