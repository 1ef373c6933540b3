//! Averaging strategies, and what each must see.

use crate::Error;

/// What becomes of the clients' updates.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Strategy {
    /// Federated averaging (McMahan et al. 2017): the mean, weighted where weights travel.
    FederatedAverage,
    /// The coordinate-wise median (Yin et al. 2018). Needs single updates.
    Median,
    /// Krum (Blanchard et al. 2017). Needs single updates.
    Krum,
}

impl std::str::FromStr for Strategy {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self, Error> {
        match name {
            "mean" => Ok(Self::FederatedAverage),
            "median" => Ok(Self::Median),
            "krum" => Ok(Self::Krum),
            _ => {
                let shown: String = name.chars().take(32).collect();
                Err(Error::parameter("strategy", format!("{shown:?}"), "\"mean\""))
            }
        }
    }
}

impl Strategy {
    /// Whether the strategy is a function of the sum alone.
    #[must_use]
    pub fn needs_only_the_sum(self) -> bool {
        matches!(self, Self::FederatedAverage)
    }

    /// Refuses strategies that would have to look at single updates.
    ///
    /// # Errors
    /// [`Error::Parameter`]: under masks there is nothing for them to see.
    pub fn check_under_masks(self) -> Result<(), Error> {
        if self.needs_only_the_sum() {
            return Ok(());
        }
        Err(Error::parameter(
            "strategy",
            format!("{self:?}"),
            "one that needs the sum alone (FederatedAverage): this one looks at single updates, which masks hide",
        ))
    }
}
