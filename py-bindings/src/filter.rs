//! `RdpFilter`: a stopping rule for budgets that are spent adaptively, in memory.

use pyo3::prelude::*;
use veilsum_dp_core::accounting::{self, filter::Order};
use veilsum_dp_core::ledger::{Budget, Ledger as _, MemoryLedger, Policy, Spend};
use veilsum_dp_core::privacy::{Delta, Epsilon};

use crate::event::Event;
use crate::ledger::amount;
use crate::{error, number};

/// A Renyi filter at an order fixed beforehand: what is asked next may depend on earlier answers, and all of it together
/// stays (epsilon, delta)-differentially private (Feldman and Zrnic 2021).
///
/// It lives as long as the process; a :class:`Ledger` is the same rule in a file.
///
/// Parameters
/// ----------
/// epsilon, delta : number
///     The budget.
/// order : number
///     The order of the Renyi divergence that is summed, > 1.
/// neighbors : str
///     The neighbouring relation.
/// event_delta : number, optional
///     The part of ``delta`` for events that have a delta of their own; half of it by default.
///
/// Examples
/// --------
/// >>> from veilsum.accounting import RdpFilter, gaussian
/// >>> f = RdpFilter(epsilon=1.0, delta=1e-5, order=20, neighbors="add-remove")
/// >>> f.spend(gaussian(10.0), 2)
/// >>> f.remaining.epsilon < 1
/// True
#[pyclass(frozen, module = "veilsum.accounting")]
#[derive(Debug)]
pub(crate) struct RdpFilter(MemoryLedger);

#[pymethods]
impl RdpFilter {
    #[new]
    #[pyo3(signature = (*, epsilon, delta, order, neighbors, event_delta = None))]
    fn new(
        epsilon: &Bound<'_, PyAny>,
        delta: &Bound<'_, PyAny>,
        order: &Bound<'_, PyAny>,
        neighbors: &str,
        event_delta: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<Self> {
        let epsilon = Epsilon::new(number::decimal("epsilon", epsilon)?).map_err(error::core)?;
        let delta = Delta::new(number::decimal("delta", delta)?).map_err(error::core)?;
        let order = Order::new(number::decimal("order", order)?).map_err(error::core)?;
        let event_delta = match event_delta {
            Some(part) => number::decimal("event_delta", part)?,
            None => delta.rational().halved(),
        };
        let budget = Budget::zcdp_at_order(epsilon, delta, event_delta, order).map_err(error::core)?;
        let neighbors = neighbors.parse().map_err(error::core)?;
        let policy = Policy { dataset: String::new(), unit: String::new(), neighbors, budget };
        MemoryLedger::new(policy).map(Self).map_err(error::core)
    }

    /// Pay for ``count`` runs of ``event``, or for none of them.
    ///
    /// Raises
    /// ------
    /// BudgetExceeded
    ///     If they do not fit; nothing was spent then.
    /// UnsupportedEvent
    ///     If the event has no bound at this order.
    #[pyo3(signature = (event, count = None))]
    fn spend(&self, py: Python<'_>, event: &Event, count: Option<&Bound<'_, PyAny>>) -> PyResult<()> {
        let count = count.map_or(Ok(1), |count| number::count("count", count))?;
        let event = match count {
            1 => event.0.clone(),
            _ => accounting::Event::Composed { events: vec![(event.0.clone(), count)] },
        };
        py.detach(|| self.0.spend(&Spend::new(event))).map(|_| ()).map_err(error::core)
    }

    /// What everything so far adds up to: ``.epsilon`` and ``.delta``.
    #[getter]
    fn spent<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        amount(py, &self.0.spent().map_err(error::core)?)
    }

    /// The budget less what was spent.
    #[getter]
    fn remaining<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        amount(py, &self.0.remaining().map_err(error::core)?)
    }

    /// The neighbouring relation.
    #[getter]
    fn neighbors(&self) -> &'static str {
        self.0.policy().neighbors.name()
    }
}
