//! The public parameters of a round, checked once: who is promised what, and the ring that holds the sum.

mod graph;
mod identity;
mod tails;

pub(crate) use graph::Graph;
pub use graph::Shape;
pub use identity::{Context, Roster, RoundId};

use crate::Error;
use crate::noise_share::{DistributedNoise, NoisePlan};
use crate::ring::MAX_BITS;
use crate::wire::Writer;

/// The most clients: share points and client numbers are 16-bit.
pub const MAX_CLIENTS: u32 = 65_534;
/// The most coordinates of an update.
pub const MAX_DIMENSION: usize = 1 << 28;

/// How many clients may be corrupt, and how many lost.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Cohort {
    /// Numbers, for small cohorts: everyone is everyone's neighbour.
    Counts {
        /// Clients that may work with the server.
        corrupt: u32,
        /// Clients that may be lost.
        dropouts: u32,
    },
    /// Fractions in [0, 1), rounded up to numbers, for large cohorts: the sparsest graph that keeps the promise.
    Fractions {
        /// Of clients that may work with the server.
        corrupt: f64,
        /// Of clients that may be lost.
        dropouts: f64,
    },
}

/// A number that every client reports beside its update, such as a loss or a count, and of which the server learns the
/// sum. It travels as one more masked coordinate, outside the clip.
#[derive(Clone, Debug, PartialEq)]
pub struct Metric {
    /// What it is called; at most 255 bytes.
    pub name: String,
    /// The largest magnitude that a client may report; finite, > 0. Larger values are refused before masking.
    pub most: f64,
}

/// Whose contribution is clipped and protected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// A client is one person (or one device): its whole update is clipped.
    Client,
    /// A client is a site that holds many people, one record each: every record is clipped, scaled and rounded on its
    /// own, and records are added as integers.
    Record {
        /// The most records of one client, public. The ring has room for them.
        most: u32,
    },
}

impl Unit {
    /// The word for it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Client => "client",
            Self::Record { .. } => "record",
        }
    }
}

/// What a round is to be, before it is checked. [`Setup::check`] makes a [`RoundConfig`] of it.
#[derive(Clone, Debug)]
pub struct Setup {
    /// Clients on the roster, 3 to 65,534.
    pub clients: u32,
    /// Coordinates of an update, 1 to 2^28.
    pub dimension: usize,
    /// Bound on the L2 norm of a unit's contribution, applied with noise or without; finite, > 0.
    pub clip: f64,
    /// Bits of one coordinate of one unit, sign included, 2 to 32: the grid is `clip / (2^(value_bits - 1) - 1)`.
    pub value_bits: u32,
    /// The largest weight; with 1 every client counts the same and no weights travel.
    pub max_weight: u32,
    /// Corruption and dropouts.
    pub cohort: Cohort,
    /// Clients that were struck from the roster since it was enrolled, because they withheld their opening of the
    /// [coin](crate::coin). They are among `clients` and among the losses allowed for, and not on the round's roster.
    pub struck: u32,
    /// Whether the server may deviate from the protocol.
    pub malicious_server: bool,
    /// Whose contribution is protected.
    pub unit: Unit,
    /// Noise from the clients, or none.
    pub noise: Option<DistributedNoise>,
    /// What clients report beside their updates. Not with noise, which covers the update alone: put what is to be
    /// protected into the update.
    pub metrics: Vec<Metric>,
}

impl Setup {
    /// 16 bits a value, equal weights, clients as units, a malicious server, no noise.
    #[must_use]
    pub fn new(clients: u32, dimension: usize, clip: f64, cohort: Cohort) -> Self {
        Self {
            clients,
            dimension,
            clip,
            value_bits: 16,
            max_weight: 1,
            cohort,
            struck: 0,
            malicious_server: true,
            unit: Unit::Client,
            noise: None,
            metrics: Vec::new(),
        }
    }

    /// Computes the graph, the thresholds, the noise and the ring.
    ///
    /// # Errors
    /// [`Error::Parameter`] for values out of range; [`Error::Unsafe`] where no graph or ring keeps the promises. A
    /// round is never weakened to fit.
    pub fn check(self) -> Result<RoundConfig, Error> {
        let shape = self.shape()?;
        let setup = self.clone();
        if !(1..=MAX_DIMENSION).contains(&self.dimension) {
            return Err(Error::parameter("dimension", self.dimension, "between 1 and 2^28"));
        }
        if !(self.clip.is_finite() && self.clip >= f64::MIN_POSITIVE * 4.294_967_296e9 && self.clip <= 1e300) {
            return Err(Error::parameter("clip", self.clip, "a finite number > 0 (an L2 bound), at most 1e300"));
        }
        if !(2..=32).contains(&self.value_bits) {
            return Err(Error::parameter("value_bits", self.value_bits, "between 2 and 32"));
        }
        if !(1..=1 << 24).contains(&self.max_weight) {
            return Err(Error::parameter("max_weight", self.max_weight, "between 1 and 2^24"));
        }
        let records = match self.unit {
            Unit::Client => 1,
            Unit::Record { most } if (1..=1 << 28).contains(&most) => most,
            Unit::Record { most } => {
                return Err(Error::parameter("max_records", most, "between 1 and 2^28"));
            }
        };
        if self.max_weight > 1 && (self.noise.is_some() || self.unit != Unit::Client) {
            return Err(Error::parameter(
                "max_weight",
                self.max_weight,
                "1 with noise or with records as units: a weight would scale the clip; weigh by clipping instead",
            ));
        }
        self.check_metrics()?;
        let top = (1_u64 << (self.value_bits - 1)) - 1;
        let plan = self.noise.map(|noise| NoisePlan::size(noise, &shape, top, self.dimension)).transpose()?;
        let largest = plan.as_ref().map_or(top, NoisePlan::largest_coordinate);
        let signal =
            u128::from(shape.clients) * u128::from(self.max_weight) * u128::from(records) * u128::from(largest);
        let noise_room = plan.as_ref().map_or(0.0, |plan| plan.room(shape.clients, self.dimension));
        let bits = ring_bits(signal, noise_room).ok_or_else(|| Error::Unsafe {
            why: format!(
                "a sum of up to {signal} grid steps, with its noise, does not fit a ring of 2^{MAX_BITS}; lower value_bits, \
                 max_records, max_weight or the number of clients"
            ),
        })?;
        Ok(RoundConfig {
            setup,
            shape,
            dimension: self.dimension,
            clip: self.clip,
            value_bits: self.value_bits,
            top,
            max_weight: self.max_weight,
            unit: self.unit,
            noise: plan,
            bits,
        })
    }

    fn check_metrics(&self) -> Result<(), Error> {
        if self.noise.is_some() && !self.metrics.is_empty() {
            return Err(Error::parameter(
                "metrics",
                format!("a list of {}", self.metrics.len()),
                "empty with noise, which covers the update alone; put what is to be protected into the update",
            ));
        }
        let mut seen = std::collections::HashSet::new();
        for Metric { name, most } in &self.metrics {
            if name.is_empty() || name.len() > 255 || !seen.insert(name) {
                return Err(Error::parameter(
                    "metrics",
                    format!("{name:.40?}"),
                    "of different names of 1 to 255 bytes",
                ));
            }
            if !(most.is_finite() && *most > 1e-300 && *most < 1e300) {
                return Err(Error::parameter("the most of a metric", most, "a finite number > 0"));
            }
        }
        Ok(())
    }

    fn shape(&self) -> Result<Shape, Error> {
        if !(3..=MAX_CLIENTS).contains(&self.clients) {
            return Err(Error::parameter("clients", self.clients, "between 3 and 65,534"));
        }
        let (corrupt, dropouts) = match self.cohort {
            Cohort::Counts { corrupt, dropouts } => (corrupt.min(self.clients), dropouts),
            Cohort::Fractions { corrupt, dropouts } => {
                let count = |what, fraction: f64| {
                    if (0.0..1.0).contains(&fraction) {
                        Ok(round_up(fraction, self.clients))
                    } else {
                        Err(Error::parameter(what, fraction, "in [0, 1)"))
                    }
                };
                (count("corrupt_fraction", corrupt)?, count("dropout_fraction", dropouts)?)
            }
        };
        let least = matches!(self.cohort, Cohort::Fractions { .. });
        let (Some(clients), Some(dropouts)) =
            (self.clients.checked_sub(self.struck), dropouts.checked_sub(self.struck))
        else {
            return Err(Error::parameter("struck", self.struck, "no more than the losses that the round allows for"));
        };
        let shape = if least { Shape::least } else { Shape::complete };
        shape(clients, corrupt, dropouts, self.malicious_server)
    }
}

/// `fraction * clients`, rounded up; the fraction is read as its shortest decimal, so that 5 % of 1,000 is 50.
fn round_up(fraction: f64, clients: u32) -> u32 {
    use veilsum_dp_core::privacy::Rational;
    let exact = Rational::from_decimal(fraction).unwrap_or_else(Rational::one);
    let product = &exact * &Rational::from(u64::from(clients));
    let near = product.nearest().floor() as u32;
    (near.saturating_sub(1)..=clients).find(|&count| Rational::from(u64::from(count)) >= product).unwrap_or(clients)
}

/// The least b such that signed sums up to `signal`, and noise up to `room` beside them, do not reach 2^(b-1).
fn ring_bits(signal: u128, room: f64) -> Option<u32> {
    (8..=MAX_BITS).find(|&bits| {
        let half = (1_u128 << (bits - 1)) - 1;
        signal <= half && room <= (half - signal) as f64
    })
}

/// A checked round: every party has the same one, and their messages say so.
#[derive(Clone, Debug)]
pub struct RoundConfig {
    setup: Setup,
    shape: Shape,
    dimension: usize,
    clip: f64,
    value_bits: u32,
    top: u64,
    max_weight: u32,
    unit: Unit,
    noise: Option<NoisePlan>,
    bits: u32,
}

/// Equal where every party would agree that it is the same round.
impl PartialEq for RoundConfig {
    fn eq(&self, other: &Self) -> bool {
        self.canonical() == other.canonical()
    }
}

impl RoundConfig {
    /// What was asked for.
    #[must_use]
    pub fn setup(&self) -> &Setup {
        &self.setup
    }

    /// Neighbours, thresholds and assumed losses.
    #[must_use]
    pub fn shape(&self) -> &Shape {
        &self.shape
    }

    /// Coordinates of an update.
    #[must_use]
    pub fn dimension(&self) -> usize {
        self.dimension
    }

    /// The L2 bound on a unit's contribution.
    #[must_use]
    pub fn clip(&self) -> f64 {
        self.clip
    }

    /// Bits of one coordinate of one unit.
    #[must_use]
    pub fn value_bits(&self) -> u32 {
        self.value_bits
    }

    /// The largest weight.
    #[must_use]
    pub fn max_weight(&self) -> u32 {
        self.max_weight
    }

    /// Whose contribution is protected.
    #[must_use]
    pub fn unit(&self) -> Unit {
        self.unit
    }

    /// The noise of the round, sized.
    #[must_use]
    pub fn noise(&self) -> Option<&NoisePlan> {
        self.noise.as_ref()
    }

    /// b of the ring Z_2^b.
    #[must_use]
    pub fn modulus_bits(&self) -> u32 {
        self.bits
    }

    /// Grid steps in `clip`.
    #[must_use]
    pub fn top(&self) -> u64 {
        self.top
    }

    /// Residues in a masked vector: the coordinates, the metrics, and the weight where weights travel.
    #[must_use]
    pub fn words(&self) -> usize {
        self.dimension + self.setup.metrics.len() + usize::from(self.max_weight > 1)
    }

    /// What clients report beside their updates, in the order in which values are given.
    #[must_use]
    pub fn metrics(&self) -> &[Metric] {
        &self.setup.metrics
    }

    /// Grid steps of a metric that every client may add without reaching 2^(b-1).
    pub(crate) fn metric_room(&self) -> i64 {
        (((1_u64 << (self.bits - 1)) - 1) / u64::from(self.shape.clients)).min(1 << 50) as i64
    }

    /// Grid steps in one unit of a metric: as many as there is room for, and a whole number where that is one or more, so
    /// that counts are exact.
    pub(crate) fn metric_scale(&self, metric: &Metric) -> f64 {
        let scale = self.metric_room() as f64 / metric.most;
        if scale >= 1.0 { scale.floor() } else { scale }
    }

    /// Whether the graph must come from randomness that the server cannot choose.
    #[must_use]
    pub fn needs_beacon(&self) -> bool {
        self.shape.malicious_server && !self.shape.is_complete()
    }

    /// The least variance, in squared grid steps, that the noise in a finished round has from honest clients.
    #[must_use]
    pub fn honest_minimum(&self) -> u32 {
        self.shape.least_survivors() - self.shape.corrupt
    }

    /// What a finished round with this many survivors promises, in one sentence.
    #[must_use]
    pub fn statement(&self, survivors: u32) -> String {
        let Some(plan) = &self.noise else {
            return "no differential privacy: the clients added no noise; the server learns the exact sum and nothing else".into();
        };
        let (unit, promise) = (self.unit.name(), plan.promise());
        let honest = survivors.saturating_sub(self.shape.corrupt);
        let corrupt = match self.shape.corrupt {
            0 => "the server alone".to_owned(),
            1 => "the server and any 1 client".to_owned(),
            c => format!("the server and any {c} clients"),
        };
        let rounds = match promise.rounds() {
            1 => "this round".to_owned(),
            rounds => format!("{rounds} rounds like this one"),
        };
        format!(
            "({:.4}, {:e})-differential privacy over {rounds}, relation zero-out (one {unit}'s contribution becomes 0, who takes \
             part is public), unit: one {unit}, against {corrupt}; noise of {honest} honest survivors counted",
            plan.epsilon(honest),
            promise.delta().upper(),
        )
    }

    /// Every parameter in canonical bytes: part of what binds messages to the round.
    pub(crate) fn canonical(&self) -> Vec<u8> {
        let mut writer = Writer::default();
        let shape = &self.shape;
        for number in [
            shape.clients,
            shape.corrupt,
            shape.dropouts,
            shape.neighbors,
            shape.threshold,
            shape.window,
            shape.quorum,
            u32::from(shape.malicious_server),
            self.dimension as u32,
            self.value_bits,
            self.max_weight,
            match self.unit {
                Unit::Client => 0,
                Unit::Record { most } => most,
            },
            self.bits,
        ] {
            writer.u32(number);
        }
        writer.u64(self.clip.to_bits());
        match &self.noise {
            None => writer.u8(0),
            Some(plan) => writer.u8(1).u64(plan.share_variance().to_bits()),
        };
        writer.u32(self.setup.metrics.len() as u32);
        for Metric { name, most } in &self.setup.metrics {
            writer.opaque(name.as_bytes()).u64(most.to_bits());
        }
        writer.done()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Signed numbers of b bits reach 2^(b - 1) - 1, and signal and room together must stay within.
    #[test]
    fn the_ring_is_the_least_that_holds_the_sum() {
        for bits in 8..MAX_BITS {
            let most = (1_u128 << (bits - 1)) - 1;
            assert_eq!(ring_bits(most, 0.0), Some(bits));
            assert_eq!(ring_bits(most + 1, 0.0), Some(bits + 1));
            assert_eq!(ring_bits(most - 3, 3.0), Some(bits));
            assert_eq!(ring_bits(most - 3, 3.5), Some(bits + 1));
        }
        let most = (1_u128 << (MAX_BITS - 1)) - 1;
        assert_eq!([ring_bits(most, 0.0), ring_bits(most + 1, 0.0)], [Some(MAX_BITS), None]);
        assert_eq!([ring_bits(1, f64::NAN), ring_bits(1, f64::INFINITY)], [None, None]);
    }
}
