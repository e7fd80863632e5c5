"""Reasoning that clients should send back and do not: bytes stored by owner and key."""
