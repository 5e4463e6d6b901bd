"""Results: which order a message gets credit for, and what it truly caused."""
