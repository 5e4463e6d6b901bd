"""What we read: the shop's own tables, mapped to ours, never written."""
