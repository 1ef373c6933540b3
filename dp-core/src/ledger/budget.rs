//! What a ledger protects, its rule of composition, and what an event costs under it.

use crate::Error;
use crate::accounting::Event;
use crate::accounting::filter::{Order, RenyiFilter, conversion};
use crate::accounting::guarantee::Guarantee;
use crate::accounting::zcdp;
use crate::privacy::{Delta, Epsilon, Positive, Rational};
use crate::sensitivity::Neighbors;
use serde::{Deserialize, Serialize};

/// What a ledger is bound to. A ledger opened with another policy is refused.
///
/// Two ledgers over the same people add up, and nobody but their owner can know that they do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Policy {
    /// The data set's name: public text.
    pub dataset: String,
    /// Whose privacy is counted, such as a column of user ids: public text.
    pub unit: String,
    /// When two data sets are neighbours.
    pub neighbors: Neighbors,
    /// How much may be spent, and how spends add up.
    pub budget: Budget,
}

/// How much may be spent, and how spends add up. One rule per ledger, fixed at creation: "whichever of two rules
/// accepts" is not a valid rule for adaptive spending.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "rule", rename_all = "snake_case")]
#[non_exhaustive]
pub enum Budget {
    /// Pure epsilons add up.
    Pure {
        /// The most they may add up to.
        epsilon: Epsilon,
    },
    /// Epsilons add up and deltas add up (Rogers et al. 2016 for adaptive parameters).
    Basic {
        /// The most the epsilons may add up to.
        epsilon: Epsilon,
        /// The most the deltas may add up to.
        delta: Delta,
    },
    /// Approximate zCDP: see [`crate::accounting::filter`].
    Zcdp(Box<ZcdpBudget>),
}

/// An (epsilon, delta) budget under the approximate zCDP filter.
///
/// `delta` is split at creation: `event_delta` is for events that have a delta of their own, the rest converts the sum
/// of Renyi charges into epsilon.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "ZcdpFields", into = "ZcdpFields")]
pub struct ZcdpBudget {
    epsilon: Epsilon,
    delta: Delta,
    event_delta: Rational,
    /// `delta - event_delta`.
    conversion_delta: Positive,
    filter: RenyiFilter,
    /// Whether the caller named the order; if not, any order that a ledger was made with will do.
    order_stated: bool,
}

/// A [`ZcdpBudget`] as it is written.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct ZcdpFields {
    epsilon: Epsilon,
    delta: Delta,
    event_delta: Rational,
    order: Rational,
    limit: Rational,
}

/// An (epsilon, delta) pair; either may be zero.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Amount {
    /// >= 0.
    pub epsilon: Rational,
    /// >= 0.
    pub delta: Rational,
}

/// What one event costs, or what several cost together, in every measure that the rule sums. `None`: the event has no
/// bound in this measure, or the rule does not use it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Charge {
    /// Sum of (pure or approximate) epsilons.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub epsilon: Option<Rational>,
    /// Sum of the events' own deltas.
    pub delta: Rational,
    /// Sum of rhos.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rho: Option<Rational>,
    /// Sum of Renyi divergences at the filter's order.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub renyi: Option<Rational>,
}

impl Policy {
    /// Longest text, in bytes.
    const MAX_TEXT: usize = 4096;

    pub(crate) fn check(&self) -> Result<(), Error> {
        for (what, text) in [("dataset", &self.dataset), ("unit", &self.unit)] {
            if text.len() > Self::MAX_TEXT {
                return Err(Error::out_of_range(what, format!("{} bytes", text.len()), "at most 4096 bytes long"));
            }
        }
        Ok(())
    }

    /// Checks that a ledger made with this policy may be opened with `asked`.
    #[cfg(feature = "ledger")]
    pub(crate) fn admits(&self, asked: &Self) -> Result<(), Error> {
        let mut fields = vec![
            ("dataset", format!("{:?}", self.dataset), format!("{:?}", asked.dataset)),
            ("unit", format!("{:?}", self.unit), format!("{:?}", asked.unit)),
            ("neighbors", self.neighbors.to_string(), asked.neighbors.to_string()),
            ("filter", self.budget.rule().into(), asked.budget.rule().into()),
        ];
        let (ours, theirs) = (self.budget.total(), asked.budget.total());
        fields.push(("epsilon", ours.epsilon.to_string(), theirs.epsilon.to_string()));
        fields.push(("delta", ours.delta.to_string(), theirs.delta.to_string()));
        if let (Budget::Zcdp(ours), Budget::Zcdp(theirs)) = (&self.budget, &asked.budget) {
            fields.push(("event_delta", ours.event_delta.to_string(), theirs.event_delta.to_string()));
            if theirs.order_stated {
                let order = |budget: &ZcdpBudget| budget.filter.order().rational().to_string();
                fields.push(("order", order(ours), order(theirs)));
            }
        }
        match fields.into_iter().find(|(_, stored, asked)| stored != asked) {
            Some((field, stored, asked)) => Err(Error::LedgerPolicy { field, stored, asked }),
            None => Ok(()),
        }
    }
}

impl Budget {
    /// The zCDP filter, with half of `delta` for the events' own deltas.
    ///
    /// # Errors
    /// If `delta` is zero, or epsilon so small that no event could fit.
    pub fn zcdp(epsilon: Epsilon, delta: Delta) -> Result<Self, Error> {
        let half = delta.rational().halved();
        Self::zcdp_with_event_delta(epsilon, delta, half)
    }

    /// The zCDP filter, with `event_delta` of `delta` for the events' own deltas and the rest for the conversion.
    ///
    /// # Errors
    /// If `event_delta` is negative or leaves nothing, or epsilon is so small that no event could fit.
    pub fn zcdp_with_event_delta(epsilon: Epsilon, delta: Delta, event_delta: Rational) -> Result<Self, Error> {
        let conversion_delta = split(&delta, &event_delta)?;
        let filter = RenyiFilter::best(&epsilon, &conversion_delta)?;
        let order_stated = false;
        Ok(Self::Zcdp(Box::new(ZcdpBudget { epsilon, delta, event_delta, conversion_delta, filter, order_stated })))
    }

    /// The zCDP filter at a Renyi order of the caller's choice.
    ///
    /// # Errors
    /// If `event_delta` is negative or leaves nothing, or converting at this order alone costs more than epsilon.
    pub fn zcdp_at_order(epsilon: Epsilon, delta: Delta, event_delta: Rational, order: Order) -> Result<Self, Error> {
        let conversion_delta = split(&delta, &event_delta)?;
        let filter = RenyiFilter::at(order, &epsilon, &conversion_delta)?;
        let order_stated = true;
        Ok(Self::Zcdp(Box::new(ZcdpBudget { epsilon, delta, event_delta, conversion_delta, filter, order_stated })))
    }

    /// The rule's name, as files and Python write it.
    #[must_use]
    pub fn rule(&self) -> &'static str {
        match self {
            Self::Pure { .. } => "pure",
            Self::Basic { .. } => "basic",
            Self::Zcdp(_) => "zcdp",
        }
    }

    /// The whole budget.
    #[must_use]
    pub fn total(&self) -> Amount {
        let (epsilon, delta) = match self {
            Self::Pure { epsilon } => (epsilon, Rational::zero()),
            Self::Basic { epsilon, delta } => (epsilon, delta.rational().clone()),
            Self::Zcdp(zcdp) => (&zcdp.epsilon, zcdp.delta.rational().clone()),
        };
        Amount { epsilon: epsilon.rational().clone(), delta }
    }

    /// What `event` costs under this rule.
    ///
    /// # Errors
    /// [`Error::UnsupportedEvent`] if the rule cannot bound it, [`Error::OutOfRange`] if it costs nothing or so little
    /// that it is below the normal range of floats.
    pub fn charge(&self, event: &Event, neighbors: Neighbors) -> Result<Charge, Error> {
        let accountant = match self {
            Self::Pure { .. } => "a pure ledger",
            Self::Basic { .. } => "a basic ledger",
            Self::Zcdp(_) => "a zCDP ledger",
        };
        let mut charge = self.nothing();
        for (guarantee, count) in Guarantee::of(event, neighbors, accountant)? {
            let one = self.charge_one(&guarantee).map_err(|why| Error::UnsupportedEvent {
                accountant,
                event: event.to_string(),
                why,
            })?;
            charge = charge.plus(&one.times(&count));
        }
        charge.check_size()?;
        Ok(charge)
    }

    fn charge_one(&self, guarantee: &Guarantee) -> Result<Charge, &'static str> {
        let delta = guarantee.delta();
        let epsilon = match guarantee {
            Guarantee::Approximate { epsilon, .. } => Some(epsilon.clone()),
            Guarantee::Concentrated { .. } | Guarantee::Skellam { .. } => None,
        };
        match self {
            Self::Pure { .. } if epsilon.is_none() || delta.is_positive() => {
                Err("it has no pure epsilon: use a ledger with a delta")
            }
            Self::Basic { .. } if epsilon.is_none() => Err(
                "it has no single (epsilon, delta): choose its delta, take epsilon at it from an accountant, and spend \
                 approximate(epsilon, delta); or use a zCDP ledger, which charges it as it is",
            ),
            Self::Pure { .. } | Self::Basic { .. } => Ok(Charge { epsilon, delta, rho: None, renyi: None }),
            Self::Zcdp(zcdp) => {
                Ok(Charge { epsilon, delta, rho: guarantee.rho(), renyi: Some(guarantee.renyi(zcdp.filter.order())) })
            }
        }
    }

    /// The sums of an empty ledger.
    pub(crate) fn nothing(&self) -> Charge {
        let zero = || Some(Rational::zero());
        let concentrated = matches!(self, Self::Zcdp(_)).then(Rational::zero);
        Charge { epsilon: zero(), delta: Rational::zero(), rho: concentrated.clone(), renyi: concentrated }
    }

    /// The sums after one more `charge`, if they fit.
    pub(crate) fn admit(&self, sums: &Charge, charge: &Charge) -> Result<Charge, Error> {
        let after = sums.plus(charge);
        let within = |value: &Option<Rational>, limit: &Rational| value.as_ref().is_some_and(|v| v <= limit);
        let fits = match self {
            Self::Pure { epsilon } => within(&after.epsilon, epsilon.rational()) && !after.delta.is_positive(),
            Self::Basic { epsilon, delta } => {
                within(&after.epsilon, epsilon.rational()) && after.delta <= *delta.rational()
            }
            Self::Zcdp(zcdp) => within(&after.renyi, zcdp.filter.limit()) && after.delta <= zcdp.event_delta,
        };
        if fits { Ok(after) } else { Err(self.exceeded(sums, charge)) }
    }

    fn exceeded(&self, sums: &Charge, charge: &Charge) -> Error {
        let number = |x: &Rational| x.nearest().to_string();
        let pair = |epsilon: &Option<Rational>, delta: &Rational| match epsilon {
            Some(epsilon) => format!("epsilon {} and delta {}", number(epsilon), number(delta)),
            None => format!("delta {}", number(delta)),
        };
        let (asked, remaining) = match self {
            Self::Pure { .. } | Self::Basic { .. } => {
                let left = self.remaining(sums);
                (pair(&charge.epsilon, &charge.delta), pair(&Some(left.epsilon), &left.delta))
            }
            Self::Zcdp(zcdp) => {
                let order = zcdp.filter.order().rational().nearest();
                let divergence = |x: Rational, delta: &Rational| {
                    format!("Renyi divergence {} of order {order} and delta {}", number(&x), number(delta))
                };
                let used = sums.renyi.clone().unwrap_or_else(|| zcdp.filter.limit().clone());
                (
                    divergence(charge.renyi.clone().unwrap_or_else(Rational::zero), &charge.delta),
                    divergence(zcdp.filter.limit() - &used, &(&zcdp.event_delta - &sums.delta)),
                )
            }
        };
        Error::BudgetExceeded { asked, remaining, rule: self.rule() }
    }

    /// (epsilon, delta) of everything summed so far: never below the truth.
    pub(crate) fn spent(&self, sums: &Charge) -> Amount {
        let plain = sums.epsilon.clone().map(|epsilon| Amount { epsilon, delta: sums.delta.clone() });
        let Self::Zcdp(zcdp) = self else { return plain.unwrap_or_else(|| self.total()) };
        let delta = &sums.delta + zcdp.conversion_delta.rational();
        let at_order = sums.renyi.as_ref().map(|renyi| {
            let epsilon = renyi + &conversion(zcdp.filter.order(), &zcdp.conversion_delta);
            Rational::from_f64(epsilon.upper()).unwrap_or(epsilon)
        });
        let by_rho = sums.rho.as_ref().map(|rho| {
            let epsilon = zcdp::epsilon(rho, &zcdp.conversion_delta);
            Rational::from_f64(epsilon.upper()).unwrap_or(epsilon)
        });
        let converted = at_order.into_iter().chain(by_rho).min().map(|epsilon| Amount { epsilon, delta });
        let budget = self.total();
        let least = plain.into_iter().chain(converted).min_by(|a, b| a.epsilon.cmp(&b.epsilon));
        // The filter promises the budget, whatever the bounds above lost to rounding.
        least.filter(|amount| amount.epsilon <= budget.epsilon).unwrap_or(budget)
    }

    /// The budget less what was spent.
    pub(crate) fn remaining(&self, sums: &Charge) -> Amount {
        let (total, spent) = (self.total(), self.spent(sums));
        let less = |a: &Rational, b: &Rational| (a - b).max(Rational::zero());
        Amount { epsilon: less(&total.epsilon, &spent.epsilon), delta: less(&total.delta, &spent.delta) }
    }
}

fn split(delta: &Delta, event_delta: &Rational) -> Result<Positive, Error> {
    if event_delta.is_negative() {
        return Err(Error::out_of_range("event_delta", event_delta, "a number >= 0"));
    }
    Positive::new("delta", delta.rational() - event_delta).map_err(|_| {
        Error::out_of_range("delta", delta, "larger than event_delta, and > 0: the zCDP rule needs a delta to convert")
    })
}

impl ZcdpBudget {
    /// The part of delta that events with a delta of their own may use.
    #[must_use]
    pub fn event_delta(&self) -> &Rational {
        &self.event_delta
    }

    /// The stopping rule.
    #[must_use]
    pub fn filter(&self) -> &RenyiFilter {
        &self.filter
    }
}

impl TryFrom<ZcdpFields> for ZcdpBudget {
    type Error = Error;

    /// The limit that is written must be the one that this order gives.
    fn try_from(fields: ZcdpFields) -> Result<Self, Error> {
        let ZcdpFields { epsilon, delta, event_delta, order, limit } = fields;
        let conversion_delta = split(&delta, &event_delta)?;
        let filter = RenyiFilter::at(Order::new(order)?, &epsilon, &conversion_delta)?;
        if *filter.limit() != limit {
            return Err(Error::out_of_range("limit", limit.nearest(), "what the filter's order leaves of epsilon"));
        }
        Ok(Self { epsilon, delta, event_delta, conversion_delta, filter, order_stated: true })
    }
}

impl From<ZcdpBudget> for ZcdpFields {
    fn from(budget: ZcdpBudget) -> Self {
        let ZcdpBudget { epsilon, delta, event_delta, filter, .. } = budget;
        Self { epsilon, delta, event_delta, order: filter.order().rational().clone(), limit: filter.limit().clone() }
    }
}

impl Charge {
    fn plus(&self, other: &Self) -> Self {
        let both = |a: &Option<Rational>, b: &Option<Rational>| Some(add(a.as_ref()?, b.as_ref()?));
        Self {
            epsilon: both(&self.epsilon, &other.epsilon),
            delta: add(&self.delta, &other.delta),
            rho: both(&self.rho, &other.rho),
            renyi: both(&self.renyi, &other.renyi),
        }
    }

    fn times(&self, count: &Rational) -> Self {
        let product = |a: &Option<Rational>| a.as_ref().map(|a| a * count);
        Self {
            epsilon: product(&self.epsilon),
            delta: &self.delta * count,
            rho: product(&self.rho),
            renyi: product(&self.renyi),
        }
    }

    /// Amounts that are all zero, or below the normal range of floats, are refused: nothing sensible asks for them.
    fn check_size(&self) -> Result<(), Error> {
        let measures = [self.epsilon.as_ref(), Some(&self.delta), self.rho.as_ref(), self.renyi.as_ref()];
        let mut positive = measures.into_iter().flatten().filter(|x| x.is_positive()).peekable();
        if positive.peek().is_none() {
            return Err(Error::out_of_range(
                "the cost of this event",
                0,
                "a number > 0: a spend of nothing is refused",
            ));
        }
        match positive.find(|x| x.upper() < f64::MIN_POSITIVE) {
            Some(tiny) => Err(Error::out_of_range("the cost of this event", tiny.upper(), "at least 2.3e-308")),
            None => Ok(()),
        }
    }
}

/// Sums are exact while their denominators stay below this size, and above it each new term is rounded up to a multiple
/// of 2^-ROUNDED: a spend costs the same time however hostile earlier denominators were.
const EXACT_BITS: u64 = 4096;
const ROUNDED: u32 = 256;

fn add(sum: &Rational, term: &Rational) -> Rational {
    let exact = sum + term;
    if exact.denominator().bits() <= EXACT_BITS { exact } else { sum + &term.rounded_up(ROUNDED) }
}
