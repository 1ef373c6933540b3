"""Accountants that answer with enclosures, and the durable ledger."""

from ._core import Enclosure, Event
from ._errors import BudgetExceeded

__all__ = ["BudgetExceeded", "Enclosure", "Event"]
