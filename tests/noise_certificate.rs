//! Certifies the samplers' tables by enclosures that share nothing with the sampler, not even the arithmetic.
//!
//! A replay of a wrong table agrees with it. So here the tables are laid open and held against the laws themselves:
//! interior rows lie under the shape, the cover covers it, the tail is one slot's worth at most, thresholds are the
//! shape's, and the f64 stage is wrong by at most a quarter of its band. With rectangles of equal area, as
//! `dp-core/docs/sampler.md` has it, the law implied is then the one stated.
//!
//! Every enclosure is a pair of dashu integers over 2^P, rounded outwards at each step. Exponentials are one over a series
//! of positive terms. Bessel ratios come from the two Poisson laws behind a Skellam law, or, for large variances, from
//! Hankel's expansion with the remainder of DLMF 10.40(iii).

#[path = "noise_certificate/enclosure.rs"]
mod enclosure;
#[path = "noise_certificate/shapes.rs"]
mod shapes;

use dashu::integer::{IBig, UBig};
use dashu::rational::RBig;
use enclosure::{Enclosure, P, power_of_two};
use shapes::Shape;
use veilsum_dp_core::noise::{
    DiscreteGaussian, DiscreteLaplace, Gaussian, Laplace, LevelTable, Skellam, TableSlot, Tables,
};
use veilsum_dp_core::privacy::{Positive, Rational};

/// Integers, fractions either side of the narrow covers' end, and the ends of the range.
const SCALES: [&str; 12] = [
    "1",
    "7",
    "100",
    "128",
    "1/997",
    "2/3",
    "12345/7",
    "3000001/3",
    "1099511627776",
    "1099511627775",
    "1/1048576",
    "1125899906842624",
];
/// Real laws see their scale over the grid alone, in [2^30, 2^31): both ends, and between.
const REAL_SCALES: [&str; 5] = ["1", "2199023255551/1099511627776", "3/2", "1/997", "12345/7"];

fn positive(text: &str) -> Positive {
    Positive::new("scale", text.parse::<Rational>().expect("valid")).expect("positive")
}

fn ratio(text: &str) -> RBig {
    text.parse().expect("valid")
}

#[test]
fn discrete_laplace() {
    for scale in SCALES {
        let tables = DiscreteLaplace::new(&positive(scale)).expect("in range").tables();
        certify(scale, &tables, &Shape::Laplace { scale: ratio(scale) });
    }
}

#[test]
fn discrete_gaussian() {
    for sigma in SCALES {
        let tables = DiscreteGaussian::new(&positive(sigma)).expect("in range").tables();
        certify(sigma, &tables, &Shape::Gaussian { sigma: ratio(sigma) });
    }
}

#[test]
fn skellam() {
    for variance in SCALES.iter().chain(&["16384", "33001/2", "4194303"]) {
        let tables = Skellam::new(&positive(variance)).expect("in range").tables();
        certify(variance, &tables, &Shape::skellam(ratio(variance)));
    }
}

#[test]
fn laplace() {
    for scale in REAL_SCALES {
        let law = Laplace::new(&positive(scale)).expect("in range");
        let scale = ratio(scale) * power_of_two(-i64::from(law.grid_exponent()));
        certify(&scale.to_string(), &law.tables(), &Shape::Laplace { scale });
    }
}

#[test]
fn gaussian() {
    for sigma in REAL_SCALES {
        let law = Gaussian::new(&positive(sigma)).expect("in range");
        let sigma = ratio(sigma) * power_of_two(-i64::from(law.grid_exponent()));
        certify(&sigma.to_string(), &law.tables(), &Shape::Gaussian { sigma });
    }
}

fn certify(scale: &str, tables: &Tables, shape: &Shape) {
    let cover = Cover { scale, tables, shape, is_narrow: tables.slot_bits() == 15 };
    let mut next_column = 0;
    let top_rows = IBig::from(UBig::from_le_bytes(&tables.level(0).rows));
    for depth in 0..4 {
        let level = tables.level(depth);
        let rows = IBig::from(UBig::from_le_bytes(&level.rows));
        assert_eq!(level.first_column, next_column, "{scale}: levels follow one another");
        assert_eq!(rows, &top_rows << (tables.slot_bits() as usize * depth), "{scale}: rows are 2^B times finer");
        cover.covers(&level, &rows);
        cover.leaves_at_most_a_slot(&level, &rows);
        next_column += level.starts.len() as u64 - 1;
    }
    cover.slots_are_as_the_columns_say();
    if cover.is_narrow {
        cover.thresholds_are_the_shape();
    } else {
        cover.the_f64_stage_keeps_its_band();
    }
}

struct Cover<'a> {
    scale: &'a str,
    tables: &'a Tables,
    shape: &'a Shape,
    is_narrow: bool,
}

impl Cover<'_> {
    fn edge(&self, column: u64) -> RBig {
        RBig::from(IBig::from(column) << self.tables.column_bits() as usize)
    }

    /// The shape at an edge, as narrow covers count it.
    fn weight(&self, column: u64) -> Enclosure {
        let f = self.shape.at(&self.edge(column));
        if self.is_narrow && column == 0 { f.halved() } else { f }
    }

    /// Each column has as many rows as cover its highest point, its left edge; its interior rows lie under its lowest.
    fn covers(&self, level: &LevelTable, rows: &IBig) {
        let Self { scale, tables, .. } = self;
        assert_eq!(level.starts[0], 0);
        assert_eq!(level.interior.len() + 1, level.starts.len());
        assert!(level.starts[level.starts.len() - 1] < 1 << tables.slot_bits(), "{scale}: a slot is left for the tail");
        let mut left = self.weight(level.first_column);
        for (i, ends) in level.starts.windows(2).enumerate() {
            let column = level.first_column + i as u64;
            let (have, interior) = (IBig::from(ends[1] - ends[0]), IBig::from(level.interior[i]));
            assert!(&have << P >= &left.hi * rows, "{scale}, column {column}: the cover covers");
            assert!((&have - IBig::ONE) << P < &left.hi * rows, "{scale}, column {column}: no row is idle");
            let right = self.weight(column + 1);
            let lowest = if self.is_narrow { &left } else { &right };
            assert!(&interior << P <= &lowest.lo * rows, "{scale}, column {column}: interior is interior");
            assert!((&interior + IBig::from(2u32)) << P > &lowest.lo * rows, "{scale}, column {column}: and no less");
            left = right;
        }
    }

    /// What lies beyond the level, left edges counted for whole columns, fills at most half a slot: so it fits, with one
    /// row more for each column, in the slots that the tail slot opens.
    fn leaves_at_most_a_slot(&self, level: &LevelTable, rows: &IBig) {
        let first = level.first_column + level.starts.len() as u64 - 1;
        let (mut sum, mut last) = (self.weight(first).hi, self.weight(first).hi);
        for column in first + 1.. {
            let here = self.weight(column).hi;
            sum += &here;
            // All shapes are log-concave: from here on they shrink at least as fast. (And where the very first step leads
            // below 2^-P, so does every other.)
            if here < IBig::ONE << (P / 4) || column > first + 400 {
                if here > IBig::ONE {
                    assert!(here < last, "{}: still falling", self.scale);
                    sum += &here * &last / (&last - &here) + IBig::ONE;
                } else {
                    assert!(self.weight(1).hi <= IBig::ONE);
                }
                break;
            }
            last = here;
        }
        assert!(sum * rows * IBig::from(2u32) <= IBig::ONE << P, "{}: the tail is the tail", self.scale);
    }

    /// The table that the fast pass reads, slot by slot.
    fn slots_are_as_the_columns_say(&self) {
        let top = self.tables.level(0);
        let mut expected = Vec::new();
        for ((column, ends), interior) in (0u64..).zip(top.starts.windows(2)).zip(&top.interior) {
            let rows = 0..ends[1] - ends[0];
            expected.extend(rows.map(|row| TableSlot::Rectangle { column, row, is_interior: row < *interior }));
        }
        expected.push(TableSlot::Tail);
        expected.resize(1 << self.tables.slot_bits(), TableSlot::Unused);
        for (slot, expected) in (0..).zip(expected) {
            assert_eq!(self.tables.slot(slot), expected, "{}: slot {slot}", self.scale);
        }
    }

    /// The weight of a cell of a narrow cover is its interior rows plus a threshold; together they are R f.
    fn thresholds_are_the_shape(&self) {
        let top = self.tables.level(0);
        let rows = IBig::from(UBig::from_le_bytes(&top.rows));
        for (column, interior) in top.interior.iter().enumerate() {
            let threshold = IBig::from(self.tables.threshold(column).expect("narrow"));
            let f = self.weight(column as u64);
            let [lo, hi] = [f.lo, f.hi].map(|f| f * &rows - (IBig::from(*interior) << P));
            // Where the column ends with a whole row there is no boundary, and nobody reads the threshold.
            if top.starts[column + 1] - top.starts[column] > *interior {
                assert!(&threshold << (P - 64) <= lo, "{}, cell {column}: accepted is under", self.scale);
                assert!(
                    (threshold + IBig::from(2u32)) << (P - 64) >= hi,
                    "{}, cell {column}: rejected is over",
                    self.scale
                );
            }
        }
    }

    /// The distance from the shape that the f64 stage finds, against the true one: at both ends of each column, in its
    /// middle and at random; at heights that are random or as near to the shape as words come.
    fn the_f64_stage_keeps_its_band(&self) {
        let tables = self.tables;
        let (slot_bits, j, fraction_bits) = (tables.slot_bits(), tables.column_bits(), tables.fraction_bits());
        let height_bits = 63 - slot_bits - j - fraction_bits;
        let top = tables.level(0);
        let rows = IBig::from(UBig::from_le_bytes(&top.rows));
        let inside = 1u64 << (j + fraction_bits);
        let mut random = 0x9e37_79b9_7f4a_7c15u64;
        let mut next = move || {
            // Knuth's MMIX generator, high half: any scattered numbers will do.
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            random >> 32
        };
        let columns = top.starts.len() - 1;
        let mut worst = 0.0f64;
        for column in 0..columns {
            let edge = column < 3 || column + 3 > columns;
            let places =
                [0, inside - 1, inside / 2, (next() << 31 | next()) % inside, (next() << 31 | next()) % inside];
            for place in &places[if edge || column % 4 == 0 { 0 } else { 3 }..] {
                let at = |units: u64| {
                    let cells = (IBig::from(column) << (j + fraction_bits) as usize) + IBig::from(units);
                    self.shape.at(&RBig::from_parts(cells, UBig::ONE << fraction_bits as usize))
                };
                let here = at(*place);
                let beyond = if fraction_bits == 0 { here.clone() } else { at(place + 1) };
                // R f in rows and parts of a row, as near as the height's bits come; or anywhere in the column's rows.
                let near: u64 = ((&here.lo * &rows) >> (P - height_bits as usize)).try_into().expect("small");
                let most = u64::from(top.starts[column + 1] - top.starts[column]) << height_bits;
                for level in [near, near.saturating_sub(1), near + 1, (next() << 20 | next() >> 12) % most] {
                    let level = level.min(most - 1);
                    let (row, height) = (level >> height_bits, level & ((1 << height_bits) - 1));
                    let slot = u64::from(top.starts[column]) + row;
                    let word = slot << (64 - slot_bits) | place << height_bits | height;
                    let found = tables.boundary(word).expect("a rectangle");
                    assert_eq!(found.unit, 2f64.powi(-(height_bits as i32)));
                    let over = Enclosure::float(found.over);
                    let bottom = IBig::from(level) << (P - height_bits as usize);
                    for f in [&here, &beyond] {
                        let exact = [&bottom - &f.lo * &rows, &bottom - &f.hi * &rows];
                        for exact in exact {
                            let error = Enclosure::to_float(&(&over - exact));
                            worst = worst.max(error.abs() / found.band);
                        }
                    }
                }
            }
        }
        assert!(worst <= 0.25, "{}: an error of {worst} bands", self.scale);
        assert!(worst > 0.001, "{}: a band of this width has nothing to do with the error {worst}", self.scale);
    }
}
