//! The native half of the Python package `veilsum`: an export list, and thin wrappers behind it.

use pyo3::prelude::*;

mod accounting;
mod array;
mod choice;
mod crypto;
mod enclosure;
mod error;
mod event;
mod federated;
mod filter;
mod keyed;
mod ledger;
mod mechanism;
mod noiseless;
mod number;
mod table;

#[pymodule]
mod _core {
    use super::*;

    #[pymodule_export]
    use super::accounting::{PldAccountant, RdpAccountant, ZcdpAccountant, calibrate_sigma, calibrate_steps};
    #[pymodule_export]
    use super::choice::{RandomizedResponse, ReportNoisyMax, SparseVector};
    #[pymodule_export]
    use super::enclosure::Enclosure;
    #[pymodule_export]
    use super::event::Event;
    #[pymodule_export]
    use super::federated::{
        ClientCore, CoinCore, DistributedNoise, Round, RoundConfig, ServerCore, check_strategy, noise_inflation,
        simulate,
    };
    #[pymodule_export]
    use super::filter::RdpFilter;
    #[pymodule_export]
    use super::keyed::keyed_sample;
    #[pymodule_export]
    use super::ledger::{Ledger, ledger_quiesce, ledger_resume};
    #[pymodule_export]
    use super::mechanism::{
        DiscreteGaussian, DiscreteGaussianVector, DiscreteLaplace, Gaussian, Laplace, Skellam, SkellamVector,
    };
    #[pymodule_export]
    use super::noiseless::{is_noiseless, noiseless_begin, noiseless_end};

    #[pymodule_export]
    use super::table::{Budget, Column, Plan, Release, Table, merge_partials};

    #[pymodule_init]
    fn init(module: &Bound<'_, PyModule>) -> PyResult<()> {
        super::crypto::export(module)?;
        module.add("__version__", env!("CARGO_PKG_VERSION"))
    }
}
