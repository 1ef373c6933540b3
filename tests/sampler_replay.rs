//! Replays the samplers from `dp-core/docs/sampler.md`, with another big-number crate, and compares element by element.
//!
//! Nothing is shared with the sampler but AES: shapes come from dashu's exponential, from a recurrence and from Hankel's
//! expansion, tables are made here from the definition, and every boundary is decided at 256 bits.

use aes::Aes256;
use aes::cipher::{BlockCipherEncrypt, KeyInit};
use dashu::float::FBig;
use dashu::float::round::mode::HalfEven;
use dashu::integer::{IBig, UBig};
use dashu::rational::RBig;
use std::cell::RefCell;
use veilsum_dp_core::noise::{DiscreteGaussian, DiscreteLaplace, Gaussian, Laplace, Skellam};
use veilsum_dp_core::privacy::{Positive, Rational};

type Float = FBig<HalfEven, 2>;

/// Bits after the point of every value of a shape.
const P: usize = 256;

// ---- the written map ----------------------------------------------------------------------------

struct Replay {
    shape: Shape,
    slot_bits: u32,
    column_bits: u32,
    fraction_bits: u32,
    levels: RefCell<Vec<Level>>,
}

#[derive(Clone)]
struct Level {
    first_column: u64,
    rows: IBig,
    /// First slot of each column, then the tail's.
    starts: Vec<u64>,
    /// floor(2^P f) at the left edge of each column and of the next level's first.
    edges: Vec<IBig>,
    /// Rows of each column that lie under the shape as a whole, or a few less.
    sure: Vec<u64>,
}

enum Shape {
    Laplace { scale: RBig },
    Gaussian { sigma: RBig },
    Skellam { variance: RBig, values: Bessel },
}

/// I_k(v) / I_0(v) for all k that matter, or Hankel's expansion where they are too many.
enum Bessel {
    Table(Vec<IBig>),
    Hankel { at_zero: IBig },
}

struct Words {
    release: Aes256,
    chunk: Option<(u64, Aes256)>,
}

impl Words {
    fn new(key: [u8; 32]) -> Self {
        Self { release: Aes256::new(&key.into()), chunk: None }
    }

    fn under(cipher: &Aes256, a: u64, b: u64) -> [u8; 16] {
        let mut block = [0; 16];
        block[..8].copy_from_slice(&a.to_be_bytes());
        block[8..].copy_from_slice(&b.to_be_bytes());
        let mut block = block.into();
        cipher.encrypt_block(&mut block);
        block.into()
    }

    fn block(&mut self, i: u64, a: u64, b: u64) -> [u64; 2] {
        let c = i >> 14;
        if self.chunk.as_ref().is_none_or(|(have, _)| *have != c) {
            let mut key = [0; 32];
            key[..16].copy_from_slice(&Self::under(&self.release, 0, 2 * c));
            key[16..].copy_from_slice(&Self::under(&self.release, 0, 2 * c + 1));
            self.chunk = Some((c, Aes256::new(&key.into())));
        }
        let bytes = Self::under(&self.chunk.as_ref().expect("just made").1, a, b);
        [0, 8].map(|at| u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight bytes")))
    }

    fn primary(&mut self, i: u64, word: u64) -> u64 {
        self.block(i, 0, word / 2)[(word % 2) as usize]
    }

    fn extra(&mut self, i: u64, attempt: u64, m: u64) -> [u64; 2] {
        self.block(i, (i & 0x3fff) + 1, attempt << 32 | m)
    }
}

/// An accepted point: sign, cell, fraction (numerator and bits), attempt.
struct Point {
    negative: bool,
    cell: u64,
    fraction: u64,
    attempt: u64,
}

impl Replay {
    fn integers(shape: Shape) -> Self {
        let spread = shape.log2_spread();
        if spread < 7 { Self::new(shape, 15, 0, 0) } else { Self::new(shape, 14, spread as u32 - 5, 0) }
    }

    fn reals(shape: Shape) -> Self {
        assert_eq!(shape.log2_spread(), 30);
        Self::new(shape, 14, 25, 14)
    }

    fn new(shape: Shape, slot_bits: u32, column_bits: u32, fraction_bits: u32) -> Self {
        let replay = Self { shape, slot_bits, column_bits, fraction_bits, levels: RefCell::default() };
        let slots = 1u64 << slot_bits;
        // Edges as far as the largest R can need, once.
        let mut edges = Vec::new();
        let most = IBig::from(2 * slots);
        while edges.is_empty() || !replay.ends(&most, edges.len() as u64 - 1, &edges[edges.len() - 1]) {
            edges.push(replay.edge(edges.len() as u64));
        }
        let fits = |rows: u64| replay.starts(0, &IBig::from(rows), &edges).last().is_some_and(|total| *total < slots);
        let rows = (1..2 * slots).collect::<Vec<_>>().partition_point(|rows| fits(*rows)) as u64;
        let starts = replay.starts(0, &IBig::from(rows), &edges);
        edges.truncate(starts.len());
        let top = replay.level_of(0, rows.into(), starts, edges);
        replay.levels.borrow_mut().push(top);
        replay
    }

    fn level_of(&self, first_column: u64, rows: IBig, starts: Vec<u64>, edges: Vec<IBig>) -> Level {
        // The lowest point of a column is its right end; in a narrow cover it has one cell, and the two zeros share theirs.
        let lowest = if self.is_narrow() { &edges[..] } else { &edges[1..] };
        let sure = lowest.iter().enumerate().map(|(i, edge)| {
            let shared = usize::from(self.is_narrow() && first_column == 0 && i == 0);
            // Edges are right to 2^11 units or so.
            let rows = ((edge - (IBig::ONE << 20)) * &rows) >> (P + shared);
            rows.try_into().unwrap_or(0)
        });
        let sure = sure.take(starts.len() - 1).collect();
        Level { first_column, rows, starts, edges, sure }
    }

    fn is_narrow(&self) -> bool {
        self.slot_bits == 15
    }

    fn edge(&self, column: u64) -> IBig {
        self.shape.at(&RBig::from(IBig::from(column) << self.column_bits as usize))
    }

    /// 2 R f(t) (2^j + tau(t)) <= 2^j at column c > 0.
    fn ends(&self, rows: &IBig, column: u64, edge: &IBig) -> bool {
        if column == 0 {
            return false;
        }
        let width = RBig::from(IBig::ONE << self.column_bits as usize);
        let t = RBig::from(IBig::from(column)) * &width;
        let left = RBig::from(edge * rows * IBig::from(2)) * (&width + self.shape.tau(&t));
        let right = RBig::from(IBig::ONE << P) * width;
        // The edge is known to a few units: the two sides must not be that close.
        let slack = RBig::from(rows << 20) * (self.shape.tau(&t) + RBig::from(1u32 << 20));
        assert!(left.clone() + &slack < right || left.clone() > &right + slack, "undecided at {P} bits");
        left <= right
    }

    fn starts(&self, first: u64, rows: &IBig, edges: &[IBig]) -> Vec<u64> {
        let mut starts = vec![0];
        for (column, edge) in (first..).zip(edges) {
            if column > first && self.ends(rows, column, edge) {
                break;
            }
            let last = starts[starts.len() - 1];
            starts.push(last + self.ceil_rows(column, rows, edge));
        }
        starts
    }

    fn ceil_rows(&self, column: u64, rows: &IBig, edge: &IBig) -> u64 {
        if column == 0 {
            let halves = if self.is_narrow() { (rows + IBig::ONE) >> 1 } else { rows.clone() };
            return halves.try_into().expect("small");
        }
        let product = edge * rows;
        let rounded = ((&product >> P) + IBig::ONE) << P;
        let below = &product - (&product >> P << P);
        assert!(
            product < (IBig::ONE << 30) || (below > IBig::ONE << 40 && &rounded - &product > IBig::ONE << 40),
            "undecided"
        );
        (rounded >> P).try_into().expect("small")
    }

    fn level(&self, depth: usize) -> Level {
        while self.levels.borrow().len() <= depth {
            let above = self.levels.borrow()[self.levels.borrow().len() - 1].clone();
            let first_column = above.first_column + above.starts.len() as u64 - 1;
            let rows = above.rows << self.slot_bits as usize;
            let mut edges = vec![self.edge(first_column)];
            while edges.len() < 2 || !self.ends(&rows, first_column + edges.len() as u64 - 1, &edges[edges.len() - 1]) {
                edges.push(self.edge(first_column + edges.len() as u64));
            }
            let starts = self.starts(first_column, &rows, &edges);
            assert!(starts[starts.len() - 1] < 1 << self.slot_bits, "the next level fits");
            let level = self.level_of(first_column, rows, starts, edges);
            self.levels.borrow_mut().push(level);
        }
        self.levels.borrow()[depth].clone()
    }

    fn point(&self, words: &mut Words, i: u64, top: &Level) -> Point {
        let n = i & 0x3fff;
        let mut word =
            if self.is_narrow() { words.primary(i, n / 4) >> (16 * (n % 4)) << 48 } else { words.primary(i, n) };
        let (mut attempt, mut depth) = (0u64, 0);
        let mut deep;
        loop {
            let level = if depth == 0 {
                top
            } else {
                deep = self.level(depth);
                &deep
            };
            let mut used = 0;
            let mut cut = |bits: u32| {
                let field = (u128::from(word) << 64 << used >> (128 - bits)) as u64;
                used += bits;
                if bits == 0 { 0 } else { field }
            };
            let slot = cut(self.slot_bits);
            let negative = cut(1) == 1;
            let offset = if self.column_bits == 0 { 0 } else { cut(self.column_bits) };
            let fraction = if self.fraction_bits == 0 { 0 } else { cut(self.fraction_bits) };
            let height_bits =
                if self.is_narrow() { 0 } else { 63 - self.slot_bits - self.column_bits - self.fraction_bits };
            let height = if height_bits == 0 { 0 } else { cut(height_bits) };
            let tail = level.starts[level.starts.len() - 1];
            if slot >= tail {
                depth = if slot == tail { depth + 1 } else { 0 };
            } else {
                let column = level.starts.partition_point(|start| *start <= slot) - 1;
                let row = slot - level.starts[column];
                let cell = ((level.first_column + column as u64) << self.column_bits) + offset;
                let point = Point { negative, cell, fraction, attempt };
                let twice = !self.is_narrow() && self.fraction_bits == 0 && cell == 0 && negative;
                let here = self.is_narrow().then(|| &level.edges[column]);
                let mut is_under = || self.is_under(words, i, &point, row, height, height_bits, &level.rows, here);
                if !twice && (row < level.sure[column] || is_under()) {
                    return point;
                }
                depth = 0;
            }
            attempt += 1;
            word = words.extra(i, attempt, 0)[0];
        }
    }

    /// r + V < R f(k + U), by four words each of U and V and 256 bits of f.
    #[allow(clippy::too_many_arguments)]
    fn is_under(
        &self,
        words: &mut Words,
        i: u64,
        at: &Point,
        row: u64,
        height: u64,
        height_bits: u32,
        rows: &IBig,
        here: Option<&IBig>,
    ) -> bool {
        let (mut y, mut y_bits) =
            (IBig::from(u128::from(row) << height_bits | u128::from(height)), height_bits as usize);
        let (mut u, mut u_bits) = (IBig::from(at.fraction), self.fraction_bits as usize);
        for m in 0..2 {
            y = (y << 64) + IBig::from(words.extra(i, at.attempt, m)[1]);
            y_bits += 64;
            if self.fraction_bits > 0 {
                u = (u << 64) + IBig::from(words.extra(i, at.attempt, m + 1)[0]);
                u_bits += 64;
            }
        }
        let t = RBig::from_parts((IBig::from(at.cell) << u_bits) + u, UBig::ONE << u_bits);
        // (The cells of narrow covers are columns, and known.)
        let mut f = here.map_or_else(|| self.shape.at(&t), IBig::clone);
        if self.is_narrow() && at.cell == 0 {
            f >>= 1;
        }
        // More bits would move y by less than 1 unit and R f by less than 2^-(bits of U) and its own error.
        let (low, high) = (&y << P, (y + IBig::ONE) << P);
        let middle = (f * rows) << y_bits;
        let slack =
            (rows << (y_bits + 40)) + if self.fraction_bits > 0 { rows << (P + y_bits - u_bits) } else { IBig::ZERO };
        assert!(high <= &middle - &slack || low >= &middle + &slack, "undecided");
        high <= middle
    }

    fn integer(&self, words: &mut Words, i: u64, top: &Level) -> i64 {
        let point = self.point(words, i, top);
        if point.negative { -(point.cell as i64) } else { point.cell as i64 }
    }

    /// floor((x + Z) / 2^g + 1/2) 2^g.
    fn real(&self, words: &mut Words, i: u64, x: f64, grid: i64, top: &Level) -> f64 {
        let point = self.point(words, i, top);
        let mut u = (IBig::from(point.cell) << self.fraction_bits as usize) + IBig::from(point.fraction);
        let mut bits = self.fraction_bits as usize;
        for m in 1..4 {
            u = (u << 64) + IBig::from(words.extra(i, point.attempt, m)[0]);
            bits += 64;
        }
        // Everything over 2^common, a power of two that holds Z, x and one half.
        let (mantissa, exponent) = decode(x);
        let exponent = exponent - grid;
        let common = bits.max(usize::try_from(-exponent).unwrap_or(0));
        let x = mantissa << usize::try_from(exponent + common as i64).expect("as chosen");
        let ends = [u.clone(), u + IBig::ONE].map(|u| {
            let z = u << (common - bits);
            (&x + if point.negative { -z } else { z } + (IBig::ONE << (common - 1))) >> common
        });
        assert_eq!(ends[0], ends[1], "undecided");
        nearest(&ends[0], grid)
    }
}

/// A finite f64 as a whole number times a power of two.
fn decode(x: f64) -> (IBig, i64) {
    let magnitude = x.abs().to_bits();
    let (exponent, fraction) = (magnitude >> 52, magnitude & ((1 << 52) - 1));
    let mantissa = IBig::from(if exponent == 0 { fraction } else { fraction | 1 << 52 });
    (if x < 0.0 { -mantissa } else { mantissa }, exponent.max(1) as i64 - 1075)
}

/// j 2^grid as the nearest f64, ties to even, by comparing with both neighbours.
fn nearest(j: &IBig, grid: i64) -> f64 {
    if let Ok(j) = i64::try_from(j.clone())
        && j.unsigned_abs() <= 1 << 53
    {
        return j as f64 * f64::powi(2.0, grid as i32);
    }
    let exact = RBig::from(j.clone()) * power_of_two(grid);
    if exact == RBig::ZERO {
        return 0.0;
    }
    let guess = exact.to_f64().value();
    if guess.is_infinite() {
        return f64::MAX.copysign(guess);
    }
    let distance = |f: f64| {
        let d = RBig::try_from(f).map_or(power_of_two(5000), |f| f - &exact);
        if d < RBig::ZERO { -d } else { d }
    };
    [guess.next_down(), guess.next_up()].into_iter().fold(guess, |best, other| {
        let closer = distance(other) < distance(best);
        let tie = distance(other) == distance(best) && other.to_bits() & 1 == 0;
        if closer || tie { other } else { best }
    })
}

fn power_of_two(n: i64) -> RBig {
    let power = UBig::ONE << n.unsigned_abs() as usize;
    if n >= 0 { RBig::from(IBig::from(power)) } else { RBig::from_parts(IBig::ONE, power) }
}

// ---- shapes -------------------------------------------------------------------------------------

impl Shape {
    fn log2_spread(&self) -> i64 {
        match self {
            Self::Laplace { scale: s } | Self::Gaussian { sigma: s } => floor_log2(s),
            Self::Skellam { variance, .. } => floor_log2(variance).div_euclid(2),
        }
    }

    fn tau(&self, t: &RBig) -> RBig {
        match self {
            Self::Laplace { scale } => RBig::ONE + scale,
            Self::Gaussian { sigma } => RBig::ONE + sigma * sigma / t,
            Self::Skellam { variance, .. } => RBig::from(2u32) + variance / t,
        }
    }

    /// 2^P f(t) within 2^10 or so.
    fn at(&self, t: &RBig) -> IBig {
        match self {
            Self::Laplace { scale } => exp_neg(&(t / scale)),
            Self::Gaussian { sigma } => {
                let z = t / sigma;
                exp_neg(&(&z * &z / RBig::from(2u32)))
            }
            Self::Skellam { variance, values } => {
                let k: u64 = t.floor().try_into().expect("small");
                match values {
                    Bessel::Table(table) => table.get(k as usize).cloned().unwrap_or(IBig::ZERO),
                    Bessel::Hankel { at_zero } => (hankel(variance, k) << P) / at_zero,
                }
            }
        }
    }
}

fn floor_log2(x: &RBig) -> i64 {
    let mut n = 0;
    while power_of_two(n) > *x {
        n -= 1;
    }
    while power_of_two(n + 1) <= *x {
        n += 1;
    }
    n
}

/// 2^P e^-x.
fn exp_neg(x: &RBig) -> IBig {
    if *x > RBig::from(400u32) {
        return IBig::ZERO;
    }
    let (p, q) = (Float::from(x.numerator().clone()), Float::from(IBig::from(x.denominator().clone())));
    let precision = P + 40;
    let x = p.with_precision(precision).value() / q.with_precision(precision).value();
    ((-x).exp() << P as isize).to_int().value()
}

fn bessel(variance: &RBig) -> Bessel {
    if *variance < power_of_two(26) {
        Bessel::Table(miller(variance))
    } else {
        Bessel::Hankel { at_zero: hankel(variance, 0) }
    }
}

/// Miller's algorithm: I_(k-1) = I_(k+1) + (2k / v) I_k downward from far out, then everything over I_0.
fn miller(variance: &RBig) -> Vec<IBig> {
    let v: u64 = variance.ceil().try_into().expect("small");
    let start = 600 + 2 * (300 * (v + 1)).isqrt();
    let (p, q) = (IBig::from(variance.denominator().clone()), variance.numerator().clone());
    let extra = 600;
    let (mut above, mut here) = (IBig::ZERO, IBig::ONE << extra);
    let mut all = vec![here.clone()];
    for k in (1..=start).rev() {
        let below = above + (&here * IBig::from(2 * k) * &p) / &q;
        above = here;
        here = below;
        all.push(here.clone());
    }
    all.reverse();
    all.iter().map(|f| (f << P) / &all[0]).collect()
}

/// 2^(P + 64) times Hankel's sum over m of (-1)^m a_m(k) / v^m (DLMF 10.40.1), which I_k(v) is to within e^-v or so
/// and 1 / v^terms, relatively: for v >= 2^26 and k below 30 sqrt(v).
fn hankel(variance: &RBig, k: u64) -> IBig {
    let one = IBig::ONE << (P + 64);
    let (p, q) = (variance.numerator(), IBig::from(variance.denominator().clone()));
    let (mut term, mut sum) = (one.clone(), one);
    let square = IBig::from(4u32) * IBig::from(k) * IBig::from(k);
    for m in 1u64.. {
        let odd = IBig::from(2 * m - 1);
        term = -(term * (&square - &odd * &odd) * &q) / (IBig::from(8 * m) * p);
        if term.is_zero() {
            break;
        }
        sum += &term;
    }
    sum
}

// ---- the comparisons ----------------------------------------------------------------------------

/// Whole, huge, tiny, awkward; narrow and wide.
const SCALES: [&str; 8] = ["1", "1/997", "2/3", "12345/7", "3000001/3", "1099511627776", "100", "257/2"];
const KEY: [u8; 32] = *b"veilsum replays its own samplers";

fn draws() -> u64 {
    if std::env::var_os("VEILSUM_DEEP").is_some() { 100_000_000 } else { 1_000_000 }
}

fn positive(text: &str) -> Positive {
    Positive::new("scale", text.parse::<Rational>().expect("valid")).expect("positive")
}

fn ratio(text: &str) -> RBig {
    text.parse().expect("valid")
}

/// In long runs, what has been compared so far.
fn report(law: &str, scale: &str, each: u64) {
    if std::env::var_os("VEILSUM_DEEP").is_some() {
        println!("{law}, scale {scale}: {each} samples and all short prefixes agree");
    }
}

/// A law with its scale as text, and its replay.
fn compare_integers(law: &str, scales: &[&str], fill: impl Fn(&str, u64, &mut [i64]), replay: impl Fn(RBig) -> Replay) {
    let each = draws() / scales.len() as u64 + 1;
    for scale in scales {
        let replay = replay(ratio(scale));
        let top = replay.levels.borrow()[0].clone();
        let mut words = Words::new(KEY);
        let mut out = vec![0; 50_000];
        for first in (0..each).step_by(out.len()) {
            fill(scale, first, &mut out);
            for (i, fast) in (first..).zip(&out) {
                assert_eq!(*fast, replay.integer(&mut words, i, &top), "scale {scale}, sample {i}");
            }
        }
        // Every short prefix, and every odd place to start.
        for n in 0..70 {
            for first in [0, 5, 16_384 - 30] {
                let mut out = vec![0; n];
                fill(scale, first, &mut out);
                for (i, fast) in (first..).zip(&out) {
                    assert_eq!(
                        *fast,
                        replay.integer(&mut words, i, &top),
                        "scale {scale}, {n} from {first}, sample {i}"
                    );
                }
            }
        }
        report(law, scale, each);
    }
}

#[test]
fn discrete_laplace() {
    let fill = |s: &str, first, out: &mut [i64]| {
        DiscreteLaplace::new(&positive(s)).expect("in range").fill_with_key(&KEY, first, out)
    };
    compare_integers("discrete Laplace", &SCALES, fill, |scale| Replay::integers(Shape::Laplace { scale }));
}

#[test]
fn discrete_gaussian() {
    let fill = |s: &str, first, out: &mut [i64]| {
        DiscreteGaussian::new(&positive(s)).expect("in range").fill_with_key(&KEY, first, out)
    };
    compare_integers("discrete Gaussian", &SCALES, fill, |sigma| Replay::integers(Shape::Gaussian { sigma }));
}

#[test]
fn skellam() {
    let fill =
        |s: &str, first, out: &mut [i64]| Skellam::new(&positive(s)).expect("in range").fill_with_key(&KEY, first, out);
    let mut scales = SCALES.to_vec();
    scales.push("33001/2");
    compare_integers("Skellam", &scales, fill, |variance| {
        let values = bessel(&variance);
        Replay::integers(Shape::Skellam { variance, values })
    });
}

/// Inputs that a sloppy sum would get wrong: far and tiny ones, halves of the grid, subnormals, the largest.
fn inputs(n: usize, grid: i32) -> Vec<f64> {
    let step = f64::powi(2.0, grid);
    let special = [
        0.0,
        -0.0,
        1.0,
        -1.0,
        0.1,
        -1e-300,
        1e-300,
        5e-324,
        -5e-324,
        f64::MAX,
        f64::MIN,
        1e17,
        -1e17,
        step * 0.5,
        -step * 0.5,
        step * 1.5,
        step * 1e15,
        -step * 1e15,
        step * 1.2e15,
        step * 9e15,
        step * 1e18,
        -step * 2.25e15,
    ];
    (0..n)
        .map(|i| if i % 3 == 0 { special[i / 3 % special.len()] } else { (i as f64 * 0.618).sin() * step * 1e9 })
        .collect()
}

fn compare_reals(
    law: &str,
    add: impl Fn(&str, u64, &[f64], &mut [f64]) -> i32,
    fill: impl Fn(&str, u64, &mut [f64]),
    shape: impl Fn(RBig) -> Shape,
) {
    let scales = ["1", "1/997", "12345/7", "1099511627776", "1/1329227995784915872903807060280344576"];
    let each = draws() / scales.len() as u64 + 1;
    for scale in scales {
        let grid = add(scale, 0, &[], &mut []);
        let replay = Replay::reals(shape(ratio(scale) * power_of_two(-i64::from(grid))));
        let mut words = Words::new(KEY);
        let top = replay.levels.borrow()[0].clone();
        let x = inputs(50_000, grid);
        let mut out = vec![0.0; x.len()];
        for (round, first) in (0..each).step_by(out.len()).enumerate() {
            let is_noise_alone = round % 3 == 2;
            if is_noise_alone {
                fill(scale, first, &mut out)
            } else {
                let _ = add(scale, first, &x, &mut out);
            }
            for ((i, x), fast) in (first..).zip(&x).zip(&out) {
                let x = if is_noise_alone { 0.0 } else { *x };
                let slow = replay.real(&mut words, i, x, grid.into(), &top);
                assert_eq!(fast.to_bits(), slow.to_bits(), "scale {scale}, sample {i}, x {x}: {fast} {slow}");
            }
        }
        for n in 0..40 {
            let mut out = vec![0.0; n];
            add(scale, 3, &x[..n], &mut out);
            for ((i, x), fast) in (3..).zip(&x).zip(&out) {
                assert_eq!(
                    fast.to_bits(),
                    replay.real(&mut words, i, *x, grid.into(), &top).to_bits(),
                    "scale {scale}, {n} samples"
                );
            }
        }
        report(law, scale, each);
    }
}

#[test]
fn laplace() {
    let law = |s: &str| Laplace::new(&positive(s)).expect("in range");
    let add = |s: &str, first, x: &[f64], out: &mut [f64]| {
        law(s).add_with_key(&KEY, first, x, out);
        law(s).grid_exponent()
    };
    compare_reals(
        "Laplace",
        add,
        |s, first, out| law(s).fill_with_key(&KEY, first, out),
        |scale| Shape::Laplace { scale },
    );
}

#[test]
fn gaussian() {
    let law = |s: &str| Gaussian::new(&positive(s)).expect("in range");
    let add = |s: &str, first, x: &[f64], out: &mut [f64]| {
        law(s).add_with_key(&KEY, first, x, out);
        law(s).grid_exponent()
    };
    compare_reals(
        "Gaussian",
        add,
        |s, first, out| law(s).fill_with_key(&KEY, first, out),
        |sigma| Shape::Gaussian { sigma },
    );
}

/// The deeper levels are reached once in 2^14 samples at the top and hardly ever below: walk them by hand.
#[test]
fn deep_levels_fit_and_shrink() {
    for scale in ["1", "12345/7", "1/1048576"] {
        for shape in [Shape::Laplace { scale: ratio(scale) }, Shape::Gaussian { sigma: ratio(scale) }] {
            let replay = Replay::integers(shape);
            for depth in 1..6 {
                let (above, here) = (replay.level(depth - 1), replay.level(depth));
                assert_eq!(here.first_column, above.first_column + above.starts.len() as u64 - 1);
                assert!(here.starts.len() > 1);
            }
        }
    }
}
