"""Decisions without I/O: timing, eligibility, caps, assignment, arbitration."""
