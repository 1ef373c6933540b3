"""The data set, and what is public about it.

Every range below comes from the description that is published with the data or from the rules of the experiment, never
from the rows: a bound that is read off the data would itself be a release.
"""

from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

from .._errors import VeilsumError

Floats = npt.NDArray[np.float64]

SITES = (1, 2, 3, 4, 5, 6)
VISITS = (0, 10)
ROWS_A_PERSON = 3

PUBLIC_PARAMETERS: tuple[tuple[str, str, str], ...] = (
    ("sites", "1 to 6", "the experiment's design: six sites"),
    ("visits", "0 to 10 a year", "chosen here; years with more count as 10, a bias that no interval shows"),
    ("rows a person", "at most 3", "most people were enrolled for three years; further years are left out"),
    ("groups a person", "1 site, 1 plan", "the experiment's design; a further plan would be left out"),
    ("age", "0 to 67 years", "the experiment enrolled people under 62, for at most five years"),
    ("coinsurance", "0 to 100 %", "the experiment's design"),
    ("schooling", "0 to 25 years", "the length of a full education"),
    ("health indices", "0 to 100", "the published scale"),
    ("chronic diseases", "0 to 60", "the published scale of the index"),
    ("income", "up to 30,000 (1973 dollars)", "the published top code"),
    ("family size", "1 to 15", "chosen here"),
    ("test people", "whose number is a multiple of 5", "declared public; they take no part in training"),
)


@dataclass(frozen=True)
class Feature:
    """A column, its public range, and whether it enters by its logarithm."""

    column: str
    low: float
    high: float
    log: bool = False

    def scaled(self, frame: pd.DataFrame) -> Floats:
        """The column mapped to [-1, 1]; missing values become the middle of the public range."""
        values = frame[self.column].to_numpy(np.float64)
        low, high = self.low, self.high
        values = np.where(np.isfinite(values), values, (low + high) / 2).clip(low, high)
        if self.log:
            values, low, high = np.log1p(values), np.log1p(low), np.log1p(high)
        return np.asarray(2 * (values - low) / (high - low) - 1, np.float64)


FEATURES = (
    Feature("coins", 0, 100, log=True),
    Feature("idp", 0, 1),
    Feature("female", 0, 1),
    Feature("black", 0, 1),
    Feature("child", 0, 1),
    Feature("fchild", 0, 1),
    Feature("xage", 0, 67),
    Feature("educdec", 0, 25),
    Feature("income", 0, 30_000, log=True),
    Feature("disea", 0, 60),
    Feature("physlm", 0, 1),
    Feature("mhi", 0, 100),
    Feature("xghindx", 0, 100),
    Feature("hlthg", 0, 1),
    Feature("hlthf", 0, 1),
    Feature("hlthp", 0, 1),
    Feature("num", 1, 15, log=True),
)


def load() -> pd.DataFrame:
    """The 20,190 person-years of 5,912 people, from the public-domain file that statsmodels ships.

    Raises
    ------
    VeilsumError
        If statsmodels is not installed or no longer has the file.
    """
    spec = find_spec("statsmodels")
    if spec is None or spec.origin is None:
        raise VeilsumError("the demo reads a file that statsmodels ships: pip install 'veilsum[demo]'")
    path = Path(spec.origin).parent / "datasets" / "randhie" / "src" / "randhie.csv"
    if not path.exists():
        raise VeilsumError("this statsmodels has no datasets/randhie/src/randhie.csv: pip install 'statsmodels==0.14.*'")
    columns = ["zper", "site", "plan", "mdvis", *(feature.column for feature in FEATURES)]
    frame = pd.read_csv(path, usecols=columns)
    return frame.astype({"zper": np.int64, "site": np.int64, "plan": np.int64, "mdvis": np.int64})
