"""Authenticated encryption for data in transit."""
