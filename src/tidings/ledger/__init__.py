"""What we write: every entry, message and answer, in SQLite or PostgreSQL."""
