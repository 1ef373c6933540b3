"""Publish sums without publishing people.

``dp`` has the mechanisms and private tables, ``accounting`` the accountants and the ledger, ``crypto`` sealed
messages and streams, ``federated`` secure aggregation. Optional integrations are not imported.
"""

from . import accounting, crypto, dp, federated
from ._core import __version__
from ._errors import VeilsumError

__all__ = ["VeilsumError", "__version__", "accounting", "crypto", "dp", "federated"]
