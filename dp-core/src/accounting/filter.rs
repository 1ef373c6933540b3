//! A budget that is spent adaptively: the Renyi filter at one order, fixed before the first spend.
//!
//! When the next query, and what it costs, may depend on earlier answers, composition theorems for fixed parameters do
//! not apply. A *filter* is a stopping rule under which they do. The rule here charges each event a bound on its Renyi
//! divergence at one order `a`, and refuses the event that would push the sum of charges above `limit` or the sum of
//! deltas above `event_delta`.
//!
//! **Claim.** Whatever is asked, and however later questions depend on earlier answers, everything released is
//! (epsilon, conversion_delta + event_delta)-differentially private, where `epsilon = limit + conversion(a,
//! conversion_delta)`.
//!
//! *Proof.* Fix neighbours and let P and Q be the laws of the whole transcript. An event that is bounded apart from an
//! event of probability delta_m leaves kernels `P_m >= (1 - delta_m) P'_m` and `Q_m >= (1 - delta_m) Q'_m` where the
//! divergence of P'_m from Q'_m is at most its charge. Let P', Q' be the laws of transcripts drawn from the primed
//! kernels, and `w` the product of (1 - delta_m) along a transcript: `w dQ' <= dQ`, and P exceeds `w P'` by a measure
//! of total mass at most the sum of the deltas, which never passes event_delta. So for any set S,
//! `P(S) - e^epsilon Q(S) <= event_delta + integral over S of w (dP' - e^epsilon dQ')`, and the integral is at most
//! `conversion_delta` because 0 <= w <= 1 and the Renyi divergence of P' from Q' of order `a` is at most `limit`
//! (Feldman and Zrnic 2021, theorem 4.3, the fixed-order filter). For charges `a rho` this is the approximate zCDP
//! filter of Whitehouse, Ramdas, Rogers and Wu 2023, theorem 1, read at the one order where it is converted.
//!
//! A privacy loss distribution cannot take the place of the sum: stopping when a composed curve crosses a target is not
//! valid in general, so no type here accepts one.

use super::logarithm::ln;
use crate::Error;
use crate::privacy::{Epsilon, Positive, Rational};

/// An order of Renyi divergence, > 1.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Order {
    order: Positive,
    less_one: Positive,
}

impl Order {
    /// Checks that the order is > 1.
    pub fn new(order: Rational) -> Result<Self, Error> {
        match (Positive::new("order", order.clone()), Positive::new("order", &order - &Rational::one())) {
            (Ok(order), Ok(less_one)) => Ok(Self { order, less_one }),
            _ => Err(Error::out_of_range("order", order, "a number > 1")),
        }
    }

    /// The order.
    #[must_use]
    pub fn rational(&self) -> &Rational {
        self.order.rational()
    }

    /// The order minus one.
    pub(crate) fn less_one(&self) -> &Positive {
        &self.less_one
    }

    /// 1 + `excess`, shortened to ten significant bits: any order is sound, and one this close to the best costs less
    /// than a millionth.
    fn above_one(excess: f64) -> Option<Self> {
        let short = f64::from_bits(excess.to_bits() >> 42 << 42);
        Self::new(&Rational::one() + &Rational::from_f64(short)?).ok()
    }
}

/// The stopping rule of a budget: an order, and how much divergence of that order fits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RenyiFilter {
    order: Order,
    limit: Rational,
}

impl RenyiFilter {
    /// The filter for (`epsilon`, `delta`) at the order where zero-concentrated events fit best.
    ///
    /// # Errors
    /// If no order leaves room for any event: epsilon is too small for a delta this small.
    pub fn best(epsilon: &Epsilon, delta: &Positive) -> Result<Self, Error> {
        let (target, tail) = (epsilon.upper(), ln(delta).0.nearest().abs());
        let room = |log_excess: f64| {
            let excess = libm::exp(log_excess);
            (target - conversion_near(excess, tail)) / (1.0 + excess)
        };
        let excess = libm::exp(peak(room));
        let order = Order::above_one(excess).ok_or_else(|| no_room(epsilon))?;
        Self::at(order, epsilon, delta)
    }

    /// The filter for (`epsilon`, `delta`) at a given order.
    ///
    /// # Errors
    /// If converting at this order already costs more than epsilon.
    pub fn at(order: Order, epsilon: &Epsilon, delta: &Positive) -> Result<Self, Error> {
        let limit = (epsilon.rational() - &conversion(&order, delta)).lower();
        match Rational::from_f64(limit) {
            Some(limit) if limit.is_positive() => Ok(Self { order, limit }),
            _ => Err(no_room(epsilon)),
        }
    }

    /// The order at which events are charged.
    #[must_use]
    pub fn order(&self) -> &Order {
        &self.order
    }

    /// The greatest sum of charges.
    #[must_use]
    pub fn limit(&self) -> &Rational {
        &self.limit
    }
}

fn no_room(epsilon: &Epsilon) -> Error {
    Error::out_of_range(
        "epsilon",
        epsilon,
        "larger for a zCDP budget with this delta and order: raise epsilon or delta, or choose basic composition",
    )
}

/// An upper bound on what turning divergence of this order into epsilon at `delta` adds: Canonne, Kamath and Steinke
/// 2020, proposition 12: `ln(1/delta)/(a-1) + ln(1-1/a) - ln(a)/(a-1)`.
pub(crate) fn conversion(order: &Order, delta: &Positive) -> Rational {
    let tail = -ln(delta).0;
    let base = ln(&(order.less_one() / &order.order)).1;
    let width = ln(&order.order).0;
    &(&(&tail - &width) / order.less_one()) + &base
}

/// The same in floats, from the order minus one and ln(1/delta): to search with.
pub(crate) fn conversion_near(excess: f64, tail: f64) -> f64 {
    (tail - libm::log1p(excess)) / excess - libm::log1p(1.0 / excess)
}

/// The order that makes `charge + conversion` least, where `charge(a)` is `a * rho`.
pub(crate) fn best_order_for(rho: &Positive, delta: &Positive) -> Option<Order> {
    let (rho, tail) = (rho.nearest(), ln(delta).0.nearest().abs());
    let cost = |log_excess: f64| {
        let excess = libm::exp(log_excess);
        -(rho * (1.0 + excess) + conversion_near(excess, tail))
    };
    Order::above_one(libm::exp(peak(cost)))
}

/// Where `f` is greatest, by golden section over the logarithm of the order minus one. Whatever this returns is only
/// a choice: the bound is computed anew, exactly, at the order chosen. (`libm`, so that every machine chooses alike.)
fn peak(f: impl Fn(f64) -> f64) -> f64 {
    const GOLDEN: f64 = 0.618_033_988_749_894_8;
    let (mut left, mut right) = (-20.0, 300.0);
    for _ in 0..100 {
        let step = GOLDEN * (right - left);
        let (low, high) = (right - step, left + step);
        if f(low) < f(high) { left = low } else { right = high }
    }
    left.midpoint(right)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn positive(text: &str) -> Positive {
        Positive::new("x", text.parse().expect("a number")).expect("> 0")
    }

    #[test]
    fn the_limit_and_the_conversion_fill_the_budget() {
        for (epsilon, delta) in [(1.0, "1e-6"), (0.01, "1e-9"), (10.0, "1e-5"), (100.0, "1e-30"), (1e-6, "1e-12")] {
            let epsilon = Epsilon::from_decimal(epsilon).expect("valid");
            let filter = RenyiFilter::best(&epsilon, &positive(delta)).expect("room");
            let total = filter.limit() + &conversion(filter.order(), &positive(delta));
            assert!(total <= *epsilon.rational(), "{epsilon} {delta}");
            assert!(total.nearest() > epsilon.upper() * (1.0 - 1e-12), "{epsilon} {delta}");
            // As much rho as the best order of a fine grid allows.
            let rho = (filter.limit() / &filter.order().order).nearest();
            let tail = -positive(delta).nearest().ln();
            let best = (0..20_000)
                .map(|i| (f64::from(i) * 0.002 - 5.0).exp())
                .map(|a| (epsilon.upper() - conversion_near(a, tail)) / (1.0 + a))
                .fold(0.0, f64::max);
            assert!((rho / best - 1.0).abs() < 1e-5, "{epsilon} {delta}: {rho} against {best}");
        }
    }

    #[test]
    fn orders_are_above_one() {
        assert!(Order::new(Rational::one()).is_err() && Order::new("0.5".parse().expect("a number")).is_err());
        assert!(Order::new("1.001".parse().expect("a number")).is_ok());
    }
}
