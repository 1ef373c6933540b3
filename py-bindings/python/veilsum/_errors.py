"""The exceptions of veilsum: what is wrong, why, and the way out. No message carries private data."""


class VeilsumError(Exception):
    """Base of every error that veilsum raises, apart from ``TypeError`` for the shape of a call."""


class ArgumentError(VeilsumError, ValueError):
    """An argument is outside its range, or a conversion of it would overflow."""


class BudgetExceeded(VeilsumError):
    """The privacy budget does not cover this spend: nothing was spent and nothing released."""


class LedgerError(VeilsumError):
    """A ledger file cannot be used: it does not verify, does not match, or cannot be written."""


class UnsupportedEvent(ArgumentError):
    """An accountant does not know how to bound this event, or its neighbouring relation differs."""


class EntropyError(VeilsumError):
    """The operating system's random generator failed: nothing was released."""


class Malformed(VeilsumError, ValueError):
    """The public header is not one of ours."""


class NoKey(VeilsumError, LookupError):
    """The public header names a key that is not at hand."""


class Rejected(VeilsumError):
    """The message was not accepted. One class and one text, whatever the reason."""


class KeyExhausted(VeilsumError):
    """This key has sealed as much as it may: rotate it."""


class ProtocolError(VeilsumError, ValueError):
    """A message or a step of a secure-aggregation round was refused."""


class RoundAborted(VeilsumError):
    """A secure-aggregation round stopped before anything was revealed."""
