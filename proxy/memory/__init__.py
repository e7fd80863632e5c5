"""Things that a client should have sent back and did not, kept for it: bytes by owner and key."""
