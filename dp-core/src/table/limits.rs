//! How much of a table one person may be, and how far that can move a sum: derived here and nowhere typed in.

use crate::Error;
use crate::sensitivity::Neighbors;
use serde::{Deserialize, Serialize};

/// Contribution limits of one person: rows in all, groups, rows in one group.
///
/// Bounding keeps at most `rows` rows in at most `groups` groups with at most `rows_per_group` in each, chosen by keyed
/// hash. A limit that is not given is as loose as the others allow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "(u32, u32, u32)", into = "(u32, u32, u32)")]
pub struct Limits {
    rows: u32,
    groups: u32,
    rows_per_group: u32,
}

const MOST: u32 = 1 << 24;

/// How far neighbours can be apart in the vector of all groups' sums of whole numbers. A square beyond 128 bits is the
/// largest number there is, which no noise takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Change {
    pub(super) l1: u128,
    pub(super) squared_l2: u128,
}

impl Limits {
    /// Each limit is 1 to 2^24.
    pub fn new(rows: u32, groups: Option<u32>, rows_per_group: Option<u32>) -> Result<Self, Error> {
        let (groups, rows_per_group) = (groups.unwrap_or(rows), rows_per_group.unwrap_or(rows));
        for (what, value) in [("max_contributions", rows), ("max_groups", groups), ("max_per_group", rows_per_group)] {
            if !(1..=MOST).contains(&value) {
                return Err(Error::out_of_range(what, value, "a whole number from 1 to 2^24"));
            }
        }
        Ok(Self { rows, groups: groups.min(rows), rows_per_group: rows_per_group.min(rows) })
    }

    /// Each row is a person of its own.
    #[must_use]
    pub fn one_row() -> Self {
        Self { rows: 1, groups: 1, rows_per_group: 1 }
    }

    /// Most rows of one person.
    #[must_use]
    pub fn rows(&self) -> u32 {
        self.rows
    }

    /// Most groups of one person.
    #[must_use]
    pub fn groups(&self) -> u32 {
        self.groups
    }

    /// Most rows of one person in one group.
    #[must_use]
    pub fn rows_per_group(&self) -> u32 {
        self.rows_per_group
    }

    /// The same limits where the whole table is one group.
    #[must_use]
    pub fn ungrouped(&self) -> Self {
        Self { rows: self.rows_per_group, groups: 1, rows_per_group: self.rows_per_group }
    }

    /// Rows of one person that can count: `min(m, g r)`. With |x| <= B, adding or removing a person moves the vector of
    /// all groups' sums by at most this times B in L1.
    #[must_use]
    pub fn l1(&self) -> u64 {
        u64::from(self.rows).min(u64::from(self.groups) * u64::from(self.rows_per_group))
    }

    /// Square of the L2 sensitivity for B = 1 when a person is added or removed.
    ///
    /// The squares of the rows per group are largest when the rows are packed: with q = floor(m / r) full groups,
    /// q r^2 + (m - q r)^2 if m <= g r, else g r^2 (a convex function is largest at a vertex).
    #[must_use]
    pub fn l2_squared(&self) -> u64 {
        let (m, g, r) = (u64::from(self.rows), u64::from(self.groups), u64::from(self.rows_per_group));
        if m <= g * r {
            let full = m / r;
            full * r * r + (m - full * r).pow(2)
        } else {
            g * r * r
        }
    }

    /// The vector of all groups' sums when one row adds an integer in `[lo, hi]` to one coordinate, or none if its value
    /// is missing.
    ///
    /// Replacing a person takes out one set of rows and puts in another, so with groups it can cost twice what adding
    /// one does in L1; in one sum the two overlap, and the change is the width of the set of possible sums. In L2, with n
    /// rows of one and n' rows of the other in a group, and H = max(hi, 0), L = -min(lo, 0), a coordinate moves by at most
    /// n H + n' L or n L + n' H, whose square is at most (n^2 + n'^2) (H^2 + L^2) (Cauchy and Schwarz).
    #[must_use]
    pub(super) fn change_of_sum(&self, neighbors: Neighbors, grouped: bool, lo: i64, hi: i64) -> Change {
        let (rows, packed) = (u128::from(self.l1()), u128::from(self.l2_squared()));
        let largest = u128::from(lo.unsigned_abs().max(hi.unsigned_abs()));
        match neighbors {
            Neighbors::ReplaceOne if grouped => {
                let (up, down) = (u128::from(hi.max(0).unsigned_abs()), u128::from(lo.min(0).unsigned_abs()));
                let both = up.saturating_mul(up).saturating_add(down.saturating_mul(down));
                Change { l1: 2 * rows * largest, squared_l2: both.saturating_mul(2 * packed) }
            }
            Neighbors::ReplaceOne => Change::of_one(rows * u128::from(hi.max(0).abs_diff(lo.min(0)))),
            _ => Change { l1: rows * largest, squared_l2: largest.saturating_mul(largest).saturating_mul(packed) },
        }
    }

    /// The vector of all coordinates when one row adds non-negative integers that sum to `whole`, all in one group, or
    /// nothing if its value is missing.
    ///
    /// A group's part of the vector is at most its L1 length long, `whole` for each row; the two persons of a replacement
    /// have no negative coordinates, so the square of their distance is at most the sum of both squares.
    #[must_use]
    pub(super) fn change_of_shares(&self, neighbors: Neighbors, whole: i64) -> Change {
        let (one, twice) = (u128::from(whole.unsigned_abs()), if neighbors == Neighbors::ReplaceOne { 2 } else { 1 });
        let packed = u128::from(self.l2_squared());
        let squared_l2 = one.saturating_mul(one).saturating_mul(twice * packed);
        Change { l1: twice * u128::from(self.l1()) * one, squared_l2 }
    }

    /// The vector of all groups' numbers of people.
    #[must_use]
    pub(super) fn change_of_people(&self, neighbors: Neighbors, grouped: bool) -> Change {
        let groups = u128::from(self.groups) * if grouped && neighbors == Neighbors::ReplaceOne { 2 } else { 1 };
        Change { l1: groups, squared_l2: groups }
    }
}

impl Change {
    /// One coordinate moves by so much.
    pub(super) fn of_one(l1: u128) -> Self {
        Self { l1, squared_l2: l1.saturating_mul(l1) }
    }
}

impl TryFrom<(u32, u32, u32)> for Limits {
    type Error = Error;
    fn try_from((rows, groups, per_group): (u32, u32, u32)) -> Result<Self, Error> {
        Self::new(rows, Some(groups), Some(per_group))
    }
}

impl From<Limits> for (u32, u32, u32) {
    fn from(limits: Limits) -> Self {
        (limits.rows, limits.groups, limits.rows_per_group)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every way to spread rows over groups within the limits, by brute force.
    fn spreads(m: u32, g: u32, r: u32) -> Vec<Vec<u64>> {
        if g == 0 {
            return vec![vec![]];
        }
        let with = |first: u32| {
            spreads(m - first, g - 1, r).into_iter().map(move |mut rest| {
                rest.push(u64::from(first));
                rest
            })
        };
        (0..=m.min(r)).flat_map(with).collect()
    }

    #[test]
    fn the_formulas_are_the_maxima_over_all_spreads() {
        for m in 1..6 {
            for g in 1..5 {
                for r in 1..6 {
                    let limits = Limits::new(m, Some(g), Some(r)).expect("valid");
                    let all = spreads(m, g, r);
                    let l1 = all.iter().map(|s| s.iter().sum::<u64>()).max();
                    let l2 = all.iter().map(|s| s.iter().map(|x| x * x).sum::<u64>()).max();
                    assert_eq!((Some(limits.l1()), Some(limits.l2_squared())), (l1, l2), "{m} {g} {r}");
                }
            }
        }
    }

    #[test]
    fn limits_out_of_range_are_refused() {
        assert!(Limits::new(0, None, None).is_err());
        assert!(Limits::new(1, Some(0), None).is_err());
        assert!(Limits::new(1, None, Some(MOST + 1)).is_err());
    }
}
