"""Accountants that answer with enclosures, and the durable ledger."""

from ._core import Enclosure, Event

__all__ = ["Enclosure", "Event"]
