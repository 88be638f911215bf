"""Helpers that know nothing of representations."""
