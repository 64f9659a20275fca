"""Correlated randomness as a service: asked for live, or made ahead of time and kept in a store."""
