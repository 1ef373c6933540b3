//! Values as whole numbers: each map takes a clamped value to integers in a public range, so that sums are exact, the
//! order of rows does not matter, and a sensitivity is a statement about integers.
//!
//! The maps use multiplication, division and rounding of `f64` alone, which IEEE 754 fixes to the last bit, and the
//! integers are clamped *after* rounding: whatever rounding does, one row stays within the range that the sensitivity
//! was derived from. Steps depend on the plan alone.

use super::limits::{Change, Limits};
use super::noise::Noise;
use crate::Error;
use crate::domain::Bounds;
use crate::privacy::Epsilon;
use crate::sensitivity::Neighbors;

/// Largest L1 sensitivity in steps: room in `i64` for one row and in `i128` for 2^64 of them. For Gaussian noise the square
/// of the L2 sensitivity has the same bound, so that events can hold it.
const MOST_STEPS: u128 = 1 << 62;
/// Bits of the L2 sensitivity in steps.
const L2_BITS: i32 = 29;

/// `floor(log2(x))` of a positive normal float, exactly and on every machine alike.
fn exponent(x: f64) -> i32 {
    ((x.to_bits() >> 52) & 0x7ff) as i32 - 1023
}

/// 2^e for the exponents that occur here (within ±1022).
fn power(e: i32) -> f64 {
    f64::from_bits(((e.clamp(-1022, 1023) + 1023) as u64) << 52)
}

fn too_fine(epsilon: &Epsilon) -> Error {
    Error::out_of_range(
        "epsilon",
        epsilon,
        "in proportion to the contribution limits: this one makes noise that no 64-bit number holds",
    )
}

fn representable(change: Change, noise: &Noise) -> bool {
    let size = if noise.is_laplace() { change.l1 } else { change.l1.max(change.squared_l2) };
    (1..=MOST_STEPS).contains(&size)
}

/// A sum: whole multiples of a power of two, truncated towards zero so that no value grows.
#[derive(Clone, Debug)]
pub(super) struct SumLattice {
    bounds: Bounds,
    exponent: i32,
    lo: i64,
    hi: i64,
    missing: i64,
    /// Sensitivity in steps.
    pub(super) change: Change,
}

impl SumLattice {
    /// `rows_are_public`: the number of rows in the one group is public (rows are people and one is replaced), so a
    /// missing value stands as the bound nearest zero and the sensitivity is the width of the bounds.
    pub(super) fn new(
        bounds: Bounds,
        limits: &Limits,
        neighbors: Neighbors,
        grouped: bool,
        rows_are_public: bool,
        noise: &Noise,
        epsilon: &Epsilon,
    ) -> Result<Self, Error> {
        let (lower, upper) = (bounds.lower(), bounds.upper());
        let largest = lower.abs().max(upper.abs());
        let one_row = match neighbors {
            Neighbors::ReplaceOne if rows_are_public => upper - lower,
            Neighbors::ReplaceOne if !grouped => upper.max(0.0) - lower.min(0.0),
            Neighbors::ReplaceOne => 2.0 * largest,
            _ => largest,
        };
        let wanted = match noise {
            // About 2^48 steps to the scale of the noise, at least 2^16 to one row, and no more than integers hold.
            Noise::Laplace => {
                let change = exponent(one_row * limits.l1() as f64);
                let by_scale = change - exponent(epsilon.upper()) - 48;
                by_scale.min(exponent(one_row) - 16).max(change - 60)
            }
            Noise::Gaussian { .. } => exponent(one_row * (limits.l2_squared() as f64).sqrt()) - L2_BITS,
        };
        let exponent = wanted.max(exponent(largest) - 61).max(-1000);
        let steps = |x: f64| (x * power(-exponent)).trunc() as i64;
        let (lo, hi) = (steps(lower), steps(upper));
        let (missing, change) = if rows_are_public && neighbors == Neighbors::ReplaceOne {
            (0.clamp(lo, hi), Change::of_one(u128::from(hi.abs_diff(lo)) * u128::from(limits.l1())))
        } else {
            (0, limits.change_of_sum(neighbors, grouped, lo, hi))
        };
        if representable(change, noise) {
            Ok(Self { bounds, exponent, lo, hi, missing, change })
        } else {
            Err(too_fine(epsilon))
        }
    }

    /// One row's addend in steps; NaN is missing.
    #[inline]
    pub(super) fn steps(&self, value: f64) -> i64 {
        match self.bounds.clamp(value) {
            Some(value) => ((value * power(-self.exponent)).trunc() as i64).clamp(self.lo, self.hi),
            None => self.missing,
        }
    }

    /// The size of a step.
    pub(super) fn step(&self) -> f64 {
        power(self.exponent)
    }
}

/// A mean or a variance: the value's place t in its bounds, 0 to 1, split into non-negative parts that sum to one
/// `whole`: (t, 1 - t), or (t^2, t - t^2, 1 - t). One row moves the vector of parts by exactly `whole` in L1, so all
/// parts together cost what a count does, and sums of parts give the count and the moments back.
#[derive(Clone, Debug)]
pub(super) struct ShareLattice {
    bounds: Bounds,
    bits: i32,
    /// Sensitivity in steps.
    pub(super) change: Change,
}

impl ShareLattice {
    pub(super) fn new(
        bounds: Bounds,
        limits: &Limits,
        neighbors: Neighbors,
        noise: &Noise,
        epsilon: &Epsilon,
    ) -> Result<Self, Error> {
        let bits = match noise {
            Noise::Laplace => {
                let reach = exponent(limits.l1() as f64);
                (48 + exponent(epsilon.upper()) - reach).clamp(16, 50).min(59 - reach)
            }
            // At most 2^24 rows of a person leave five bits, of noise that is 2^24 rows wide.
            Noise::Gaussian { .. } => L2_BITS - exponent((limits.l2_squared() as f64).sqrt()),
        };
        let change = limits.change_of_shares(neighbors, 1_i64 << bits);
        if representable(change, noise) { Ok(Self { bounds, bits, change }) } else { Err(too_fine(epsilon)) }
    }

    fn place(&self, value: f64) -> i64 {
        let place = (value - self.bounds.lower()) / self.width() * power(self.bits);
        (place.round() as i64).clamp(0, 1 << self.bits)
    }

    /// (t, 1 - t) in steps; `None` if the value is missing.
    #[inline]
    pub(super) fn two(&self, value: f64) -> Option<[i64; 2]> {
        let t = self.place(self.bounds.clamp(value)?);
        Some([t, (1 << self.bits) - t])
    }

    /// (t^2, t - t^2, 1 - t) in steps; `None` if the value is missing.
    #[inline]
    pub(super) fn three(&self, value: f64) -> Option<[i64; 3]> {
        let t = self.place(self.bounds.clamp(value)?);
        let square = ((i128::from(t) * i128::from(t)) >> self.bits) as i64;
        Some([square, t - square, (1 << self.bits) - t])
    }

    /// Rows per step: one row is `1 / step` steps.
    pub(super) fn step(&self) -> f64 {
        power(-self.bits)
    }

    pub(super) fn bounds(&self) -> &Bounds {
        &self.bounds
    }

    pub(super) fn width(&self) -> f64 {
        self.bounds.upper() - self.bounds.lower()
    }
}

/// Quantiles: evenly spaced candidates from the lower bound to the upper one; a value is its nearest candidate.
#[derive(Clone, Debug)]
pub(super) struct CellLattice {
    bounds: Bounds,
    step: f64,
    last: u32,
}

impl CellLattice {
    /// 2^20 cells, or cells of the given width.
    pub(super) fn new(bounds: Bounds, step: Option<f64>) -> Result<Self, Error> {
        let width = bounds.upper() - bounds.lower();
        let step = step.unwrap_or(width / power(20));
        let cells = (width / step).floor();
        if !(step.is_finite() && step > 0.0 && (1.0..=power(24)).contains(&cells)) {
            return Err(Error::out_of_range(
                "step",
                step,
                "> 0, at most the width of the bounds, at least 2^-24 of it",
            ));
        }
        Ok(Self { bounds, step, last: cells as u32 })
    }

    /// The candidate nearest to a value; `None` if it is missing.
    #[inline]
    pub(super) fn cell(&self, value: f64) -> Option<u32> {
        let place = (self.bounds.clamp(value)? - self.bounds.lower()) / self.step;
        Some((place.round() as u32).min(self.last))
    }

    /// The candidate itself.
    pub(super) fn value(&self, cell: u32) -> f64 {
        (self.bounds.lower() + f64::from(cell) * self.step).min(self.bounds.upper())
    }

    /// The greatest cell.
    pub(super) fn last(&self) -> u32 {
        self.last
    }

    pub(super) fn step(&self) -> f64 {
        self.step
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn epsilon(text: &str) -> Epsilon {
        Epsilon::new(text.parse().expect("a number")).expect("positive")
    }

    fn sum(lower: f64, upper: f64, neighbors: Neighbors, eps: &str) -> SumLattice {
        let bounds = Bounds::new(lower, upper).expect("valid");
        SumLattice::new(bounds, &Limits::one_row(), neighbors, false, true, &Noise::Laplace, &epsilon(eps))
            .expect("representable")
    }

    #[test]
    fn narrow_bounds_far_from_zero_keep_their_sensitivity() {
        let far = (1_u64 << 50) as f64;
        let replace = sum(far, far + 1.0, Neighbors::ReplaceOne, "1");
        assert_eq!(replace.change.l1 as f64 * replace.step(), 1.0);
        assert_eq!((replace.steps(1e300) - replace.steps(-1e300)) as f64 * replace.step(), 1.0);
        assert_eq!(replace.steps(f64::NAN), replace.steps(far), "missing is the bound nearest zero");
        let add = sum(far, far + 1.0, Neighbors::AddRemove, "1");
        assert!(add.step() <= 4.0 && far + 1.0 - add.change.l1 as f64 * add.step() < add.step());
    }

    #[test]
    fn steps_stay_in_range_for_every_size_of_bounds_and_epsilon() {
        for (lower, upper) in [(0.0, 1e-280), (-1e280, 1e280), (0.1, 0.3), (-0.1, 1e9), (1e15, 1e15 + 2.0)] {
            for eps in ["1e-6", "0.1", "1", "30", "1e9"] {
                let lattice = sum(lower, upper, Neighbors::AddRemove, eps);
                for x in [lower, upper, -f64::MAX, f64::MAX, f64::NAN, f64::INFINITY, 0.2, -0.0, 5e-324] {
                    let steps = lattice.steps(x);
                    assert!(u128::from(steps.unsigned_abs()) <= lattice.change.l1, "{lower} {upper} {eps} {x}");
                    assert!((steps as f64 * lattice.step()).abs() <= lower.abs().max(upper.abs()));
                }
                let close = lattice.steps(upper) as f64 * lattice.step();
                assert!((close - upper).abs() <= upper.abs() * 2f64.powi(-15), "{close} {upper} at {eps}");
            }
        }
    }

    #[test]
    fn shares_sum_to_one_row() {
        for (lower, upper) in [(0.0, 1.0), (-3.0, 7.5), (1e15, 1e15 + 2.0), (-1e280, 1e280)] {
            let bounds = Bounds::new(lower, upper).expect("valid");
            let lattice =
                ShareLattice::new(bounds, &Limits::one_row(), Neighbors::AddRemove, &Noise::Laplace, &epsilon("0.7"))
                    .expect("fits");
            for x in [lower, upper, 0.0, 0.3, -1e300, 1e300, 5.0] {
                let (two, three) = (lattice.two(x).expect("present"), lattice.three(x).expect("present"));
                assert!(two.iter().chain(&three).all(|part| *part >= 0));
                assert_eq!(two.iter().sum::<i64>() as u128, lattice.change.l1);
                assert_eq!(three.iter().sum::<i64>() as u128, lattice.change.l1);
            }
            assert_eq!(lattice.two(f64::NAN), None);
        }
    }

    #[test]
    fn cells_cover_the_bounds() {
        let bounds = Bounds::new(0.0, 10.0).expect("valid");
        let whole = CellLattice::new(bounds, Some(1.0)).expect("valid");
        assert_eq!(whole.last(), 10);
        assert_eq!((whole.cell(-5.0), whole.cell(2.4), whole.cell(1e300)), (Some(0), Some(2), Some(10)));
        assert_eq!(whole.cell(f64::NAN), None);
        let fine = CellLattice::new(bounds, None).expect("valid");
        assert_eq!(fine.value(fine.last()), 10.0);
        assert!(CellLattice::new(bounds, Some(20.0)).is_err());
        assert!(CellLattice::new(bounds, Some(1e-9)).is_err());
        assert!(CellLattice::new(bounds, Some(f64::NAN)).is_err());
    }
}
