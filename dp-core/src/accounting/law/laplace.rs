//! The Laplace law, with b the noise multiplier (scale over sensitivity).

use crate::accounting::interval::Interval;

#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Laplace {
    /// 1 / b: the largest loss.
    pub(crate) largest: Interval,
}

impl Laplace {
    /// delta = 1 - e^((eps - 1/b) / 2) up to 1/b, then zero.
    pub(crate) fn delta(&self, epsilon: f64) -> Interval {
        let gap = (Interval::point(epsilon) - self.largest) * 0.5;
        (-gap.expm1()).clamp(0.0, 1.0)
    }
}
