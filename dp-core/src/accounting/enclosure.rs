//! An answer with both of its errors: `lo <= truth <= hi`.

use serde::Serialize;
use std::fmt;

/// An interval that contains the truth, rounding errors included.
///
/// Use `hi` for a promise. `lo` says how much the promise could be improved at best.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Enclosure {
    lo: f64,
    hi: f64,
}

impl Enclosure {
    /// `None` unless `0 <= lo <= hi` and neither is NaN; `hi` may be infinite.
    #[must_use]
    pub fn new(lo: f64, hi: f64) -> Option<Self> {
        (0.0 <= lo && lo <= hi).then_some(Self { lo, hi })
    }

    /// Exactly zero.
    pub(crate) fn zero() -> Self {
        Self { lo: 0.0, hi: 0.0 }
    }

    /// Certainly infinite: no finite number holds.
    pub(crate) fn infinite() -> Self {
        Self { lo: f64::INFINITY, hi: f64::INFINITY }
    }

    /// No information: anything from zero up.
    pub(crate) fn nothing() -> Self {
        Self { lo: 0.0, hi: f64::INFINITY }
    }

    /// The truth is not below this.
    #[must_use]
    pub fn lo(&self) -> f64 {
        self.lo
    }

    /// The truth is not above this: the number to promise.
    #[must_use]
    pub fn hi(&self) -> f64 {
        self.hi
    }
}

/// `2.3796 (+0, -4e-07)`: a number that may be promised, and how far below it the truth may lie.
///
/// Both printed numbers are rounded outwards, to a hundredth of the width or the last digit of an `f64`: the truth lies
/// between what is printed, too.
impl fmt::Display for Enclosure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hi = self.rounded_up();
        let gap = digits_up(difference_up(hi, self.lo), 1);
        write!(f, "{} (+0, -{})", as_python(format!("{hi:?}")), as_python(format!("{gap:.0e}")))
    }
}

impl Enclosure {
    /// `hi`, rounded up where that moves it by less than a hundredth of the width.
    fn rounded_up(&self) -> f64 {
        (1..17)
            .map(|digits| digits_up(self.hi, digits))
            .find(|up| up - self.hi <= (self.hi - self.lo) / 100.0)
            .unwrap_or(self.hi)
    }
}

/// `a - b` for `a >= b`, rounded up: two-sum (Knuth, TAOCP 2, 4.2.2, theorem B) tells whether rounding was downwards.
fn difference_up(a: f64, b: f64) -> f64 {
    let near = a - b;
    let b_part = a - near;
    let lost = (a - (near + b_part)) + (b_part - b);
    if lost > 0.0 { near.next_up() } else { near }
}

/// The least number of that many significant decimal digits that is not below `x` (as printed and read back).
fn digits_up(x: f64, digits: usize) -> f64 {
    let near: f64 = format!("{x:.*e}", digits - 1).parse().unwrap_or(x);
    if near >= x || !near.is_finite() {
        return near;
    }
    // One unit of the last digit higher, printed again so that no rounding of the addition shows.
    let exponent = format!("{x:e}").split_once('e').and_then(|(_, e)| e.parse::<i32>().ok()).unwrap_or(0);
    let step = format!("1e{}", exponent - digits as i32 + 1).parse().unwrap_or(0.0);
    let above: f64 = format!("{:.*e}", digits - 1, near + step).parse().unwrap_or(x);
    if above >= x { above } else { x }
}

/// `4e-7` as Python writes it: `4e-07`.
fn as_python(number: String) -> String {
    let Some((mantissa, exponent)) = number.split_once('e') else { return number };
    let (sign, digits) = exponent.strip_prefix('-').map_or(('+', exponent), |digits| ('-', digits));
    format!("{mantissa}e{sign}{digits:0>2}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_printed_holds_too() {
        let printed = |lo, hi| Enclosure::new(lo, hi).expect("ordered").to_string();
        assert_eq!(printed(2.379_554_1, 2.379_554_5), "2.3795545 (+0, -4e-07)");
        assert_eq!(printed(1.0, 1.5), "1.5 (+0, -5e-01)");
        assert_eq!(printed(1.0, 1.0), "1.0 (+0, -0e+00)");
        assert_eq!(printed(0.0, 0.0), "0.0 (+0, -0e+00)");
        assert_eq!(printed(1e-30, 1.5e-30), "1.5e-30 (+0, -5e-31)");
        assert_eq!(printed(1.0, f64::INFINITY), "inf (+0, -inf)");
        for (lo, hi) in [(0.1, 0.3), (1e-30, 1.000_1e-30), (1.0 / 3.0, 2.0 / 3.0), (9.999_95, 9.999_99), (0.0, 1e-300)]
        {
            let text = printed(lo, hi);
            let (shown, gap) = text.split_once(" (+0, -").expect("the form");
            let (shown, gap): (f64, f64) =
                (shown.parse().expect("a number"), gap.trim_end_matches(')').parse().expect("a number"));
            assert!(shown >= hi && shown - gap <= lo, "{text} for [{lo}, {hi}]");
            assert!(gap <= 2.1 * (hi - lo), "{text} for [{lo}, {hi}]");
        }
    }
}
