"""The main job, end to end, on the RAND Health Insurance Experiment.

A private table and a model trained by six sites, both about the same people and paid from one ledger. Run it with
``python -m veilsum demo``; read it as the longest example of the package.
"""

from ._run import Options, run

__all__ = ["Options", "run"]
