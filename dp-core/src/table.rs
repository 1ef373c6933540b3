//! Private tables: plan, partial, merge, release.
//!
//! A [`Plan`] says what will be computed and what it costs, before any data. Workers turn their rows into a
//! [`Partial`]: contributions are bounded, values clamped and rounded to whole numbers, and summed exactly. Partials
//! merge in any order. The driver pays, adds noise once, and gets a [`Release`]. [`Session`] is the analyst's face over
//! these four calls.
//!
//! ```
//! use veilsum_dp_core::ledger::{Budget, MemoryLedger, Policy};
//! use veilsum_dp_core::privacy::Epsilon;
//! use veilsum_dp_core::sensitivity::Neighbors;
//! use veilsum_dp_core::table::{Aggregate, Batch, Column, Groups, Limits, Measure, Noise, Plan, Range, Spec, Unit, Value, Values};
//!
//! let plan = Plan::new(Spec {
//!     unit: Unit::Column("person".into()),
//!     neighbors: Neighbors::AddRemove,
//!     limits: Limits::new(2, None, None)?, // at most two rows of a person count
//!     groups: Groups::Whole,
//!     measures: vec![Measure { name: "visits".into(), aggregate: Aggregate::Rows, epsilon: Epsilon::from_decimal(0.5)? }],
//!     noise: Noise::Laplace,
//!     seed: [7; 16],
//! })?;
//! let people = Column::new(Values::Signed(vec![1, 1, 1, 2].into()));
//! let table = Batch::new(4, vec![("person", people)])?;
//! let left = plan.partial(&[table.clone()], Range::part(0, 2)?, 1)?; // two workers, each with its half of all people
//! let right = plan.partial(&[table], Range::part(1, 2)?, 1)?;
//! let ledger = MemoryLedger::new(Policy {
//!     dataset: "clinic".into(),
//!     unit: "person".into(),
//!     neighbors: Neighbors::AddRemove,
//!     budget: Budget::Pure { epsilon: Epsilon::from_decimal(1.0)? },
//! })?;
//! let release = plan.release(left.merge(right)?, &ledger, "visits")?; // 3 rows, with noise of scale 4
//! assert!(matches!(release.value(0, 0), Some(Value::Count(_))));
//! assert_eq!(release.scale(0), Some(4.0));
//! # Ok::<(), veilsum_dp_core::Error>(())
//! ```
#![doc = include_str!("../docs/tables.md")]

mod accumulate;
#[cfg(test)]
mod audit;
mod bounding;
#[cfg(test)]
mod brute_force;
mod cells;
mod column;
mod groups;
mod interval;
mod key;
mod keys;
mod lattice;
mod limits;
mod noise;
mod partial;
mod plan;
mod provenance;
mod quantile;
mod reading;
mod release;
mod session;

pub use column::{Batch, Column, Holds, Validity, Values};
pub use key::Key;
pub use limits::Limits;
pub use noise::{Noise, split_gaussian};
pub use partial::{Partial, Range};
pub use plan::{Aggregate, Groups, Measure, Plan, Spec, Unit, split};
pub use reading::Builder;
pub use release::{Forecast, Release, Value};
pub use session::Session;

/// A fresh [`Spec::seed`] from the operating system: once for each plan, or for each session, so that the rows of a
/// person that count are chosen at random, and alike in all its questions.
pub fn fresh_seed() -> Result<[u8; 16], crate::Error> {
    let mut seed = [0; 16];
    getrandom::fill(&mut seed).map_err(|_| crate::Error::Entropy)?;
    Ok(seed)
}
