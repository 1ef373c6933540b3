"""Mechanisms with exact noise, and private tables."""
