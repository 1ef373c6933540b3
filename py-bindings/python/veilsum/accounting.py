"""Accountants that answer with enclosures, and the durable ledger."""
