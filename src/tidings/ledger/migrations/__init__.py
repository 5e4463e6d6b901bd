"""The ledger's versions: each migration changes the tables once, and ``HEAD`` names the last."""

HEAD = "0002"
