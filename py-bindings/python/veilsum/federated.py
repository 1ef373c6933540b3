"""Secure-aggregation federated averaging with noise from the clients."""
