//! What a ledger notes about a release: the public parameters that made its sensitivities, and who stated them.

use super::noise::Noise;
use super::plan::{Groups, Plan, Unit};
use crate::ledger::{Budget, Spend};
use std::collections::BTreeMap;

impl Plan {
    /// The plan's parameters and where they come from, as public text for a ledger: unit, limits, keys, bounds.
    #[must_use]
    pub fn provenance(&self) -> BTreeMap<String, String> {
        let spec = self.spec();
        let unit = match &spec.unit {
            Unit::Row => "each row, stated".into(),
            Unit::Column(name) => format!("column {name}, stated"),
        };
        let limits = &spec.limits;
        let (rows, groups, each) = (limits.rows(), limits.groups(), limits.rows_per_group());
        let keys = match &spec.groups {
            Groups::Whole => "none: the whole table".into(),
            Groups::Public { by, keys } => format!("{} by {}, stated", keys.len(), by.join(", ")),
            Groups::Private { by, .. } => format!("by {}, chosen by private selection", by.join(", ")),
        };
        let noise = match &spec.noise {
            Noise::Laplace => "discrete Laplace".into(),
            Noise::Gaussian { epsilon, delta } => {
                format!("discrete Gaussian, all parts together within epsilon {epsilon} and delta {delta}")
            }
        };
        let mut all = BTreeMap::from([
            ("plan".into(), self.hash().iter().map(|byte| format!("{byte:02x}")).collect()),
            ("unit".into(), unit),
            ("limits".into(), format!("{rows} rows, {groups} groups, {each} rows a group; stated")),
            ("keys".into(), keys),
            ("noise".into(), noise),
        ]);
        for (i, measure) in spec.measures.iter().enumerate() {
            let aggregate = &measure.aggregate;
            let values = aggregate.column().zip(aggregate.bounds()).map_or_else(String::new, |(column, bounds)| {
                format!(" of {column} in [{}, {}], stated", bounds.lower(), bounds.upper())
            });
            all.insert(format!("measure {i}"), format!("{}: {}{values}", measure.name, aggregate.kind()));
        }
        all
    }

    /// The spend that pays for one release in a ledger of this budget.
    pub(super) fn spend(&self, label: &str, budget: &Budget) -> Spend {
        let spend = Spend::new(self.event_under(budget)).label(label);
        self.provenance().into_iter().fold(spend, |spend, (name, value)| spend.provenance(name, value))
    }
}
