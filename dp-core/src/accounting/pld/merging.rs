//! Method B for few releases: outcomes are paired one by one and merged again, each law on a grid of its own.
//!
//! Two laws of finitely many outcomes compose by pairing every outcome of one with every outcome of the other. Pairs whose
//! losses fall into the same bin are merged, and stay on one side of the truth as cells do: one outcome with the exact
//! probabilities of both P and Q is a lower bound, two outcomes at the ends of the bin an upper one. All sums are of
//! positive numbers, so nothing is lost however small delta is, and atoms, heavy tails and steep curves need no care: bins
//! are narrow where they matter. A power takes its binary expansion; the last two factors are never merged, since
//! delta is read off their pairs directly.

use super::cells::Side;
use super::component::{Points, UNIT, greater, lesser};
use super::points::{Builder, Outcome};

/// Where an answer is wanted: what bins are for.
#[derive(Clone, Debug)]
pub(crate) struct Focus {
    /// Most bins of a merged law.
    pub(crate) bins: usize,
    /// Weights e^(tilt loss), each of which gets its part of the bins.
    pub(crate) tilts: Vec<f64>,
    /// Losses beyond this weigh no more than at it.
    pub(crate) cap: f64,
}

/// A composition as a product of two laws.
#[derive(Debug)]
pub(crate) struct Product {
    side: Side,
    left: Points,
    right: Points,
    /// For each outcome j of the right factor, over all outcomes from j on: the sum of masses times e^(loss_j - loss), and
    /// of masses times 1 - e^(loss_j - loss).
    kept: Vec<f64>,
    gained: Vec<f64>,
    /// Relative error of those sums, and of what is made of them.
    error: f64,
    /// Error of a difference of losses.
    slack: f64,
}

impl Product {
    /// Composes `factors`, each so many times.
    pub(crate) fn new(factors: Vec<(Points, u64)>, side: Side, focus: &Focus) -> Self {
        let releases: f64 = factors.iter().map(|(_, count)| *count as f64).sum();
        let mut parts: Vec<Points> = Vec::new();
        for (mut power, mut count) in factors {
            if power.losses.len() > 3 * focus.bins && count > 2 {
                power = paired(&power, &unit(), side, focus);
            }
            while count > 0 {
                if count & 1 == 1 {
                    parts.push(power.clone());
                }
                count >>= 1;
                if count == 1 && parts.is_empty() {
                    parts.push(power.clone());
                    parts.push(power);
                    break;
                }
                if count > 0 {
                    power = paired(&power, &power, side, focus);
                }
            }
        }
        // The smallest first, while more than two are left.
        parts.sort_by_key(|part| part.losses.len());
        while parts.len() > 2 {
            let all = paired(&parts[1], &parts[0], side, focus);
            parts.drain(..2);
            let place = parts.partition_point(|part| part.losses.len() < all.losses.len());
            parts.insert(place, all);
        }
        let right = parts.pop().unwrap_or_else(unit);
        let left = parts.pop().unwrap_or_else(unit);
        Self::of(left, right, side, releases)
    }

    fn of(left: Points, right: Points, side: Side, releases: f64) -> Self {
        let n = right.losses.len();
        let (mut kept, mut gained) = (vec![0.0; n], vec![0.0; n]);
        for j in (0..n).rev() {
            kept[j] = right.masses[j];
            if j + 1 < n {
                let step = right.losses[j + 1] - right.losses[j];
                let fade = -libm::expm1(-step);
                kept[j] += kept[j + 1] * libm::exp(-step);
                gained[j] = gained[j + 1] + kept[j + 1] * fade;
            }
        }
        let largest = |law: &Points| law.losses.iter().fold(0.0_f64, |most, l| most.max(l.abs()));
        let (a, b) = (largest(&left), largest(&right));
        let count = (left.losses.len() + 4 * n + 64) as f64;
        // An outcome may lie outside its cell or bin by the rounding of a loss: the relative part of that is charged there,
        // and the absolute part here, for every release and every pairing.
        let slack = 8.0 * UNIT * (a + b) + 64.0 * UNIT * releases;
        Self { side, left, right, kept, gained, error: 2.0 * count * UNIT, slack }
    }

    /// This side's bound on delta(eps) for any real eps, infinite losses included; and minus its slope, roughly.
    pub(crate) fn delta(&self, epsilon: f64) -> (f64, f64) {
        let slack = self.slack + 8.0 * UNIT * epsilon.abs();
        let epsilon = if self.side == Side::Upper { epsilon - slack } else { epsilon + slack };
        let (mut sum, mut slope) = (0.0, 0.0);
        let mut j = self.right.losses.len();
        for (loss, mass) in self.left.losses.iter().zip(&self.left.masses) {
            let rest = epsilon - loss;
            while j > 0 && self.right.losses[j - 1] > rest {
                j -= 1;
            }
            if let (Some(kept), Some(gained)) = (self.kept.get(j), self.gained.get(j)) {
                let gap = self.right.losses[j] - rest;
                sum += mass * (gained - kept * libm::expm1(-gap));
                slope += mass * kept * libm::exp(-gap);
            }
        }
        let infinite = self.left.infinite + self.right.infinite * (1.0 - self.left.infinite);
        let relative = match self.side {
            Side::Upper => 1.0 + self.error,
            Side::Lower => 1.0 - self.error,
        };
        ((sum + infinite) * relative, slope)
    }

    /// This side's bound on the least epsilon >= 0 with delta(epsilon) <= `target`; infinite if there is none. Monotone in
    /// itself, so that halving finds it: `known` is where the search starts.
    pub(crate) fn epsilon(&self, target: f64) -> f64 {
        // Written so that what could not be evaluated is not proved: neither an upper end nor a lower one.
        let above = |epsilon: f64| match self.side {
            Side::Upper => self.delta(epsilon).0.partial_cmp(&target).is_none_or(|order| order.is_gt()),
            Side::Lower => self.delta(epsilon).0 > target,
        };
        let ends = |law: &Points| law.losses.last().copied().unwrap_or(0.0);
        let (mut lo, mut hi) =
            (0.0, (ends(&self.left) + ends(&self.right)).max(0.0) * (1.0 + 1e-12) + 4.0 * self.slack + 1e-300);
        if !above(lo) {
            return 0.0;
        }
        if above(hi) {
            return f64::INFINITY;
        }
        while hi - lo > 1e-13 * hi {
            let middle = if lo == 0.0 { 0.01 * hi } else { 0.5 * (lo + hi) };
            if middle <= lo || middle >= hi || hi < 1e-290 {
                break;
            }
            if above(middle) { lo = middle } else { hi = middle }
        }
        if self.side == Side::Upper { hi } else { lo }
    }
}

/// By increasing loss, which rounding may have disturbed.
pub(crate) fn sorted(law: Points) -> Points {
    if law.losses.is_sorted() {
        return law;
    }
    let mut both: Vec<_> = law.losses.into_iter().zip(law.masses).collect();
    both.sort_by(|a, b| a.0.total_cmp(&b.0));
    let (losses, masses) = both.into_iter().unzip();
    Points { losses, masses, infinite: law.infinite }
}

/// Nothing happened.
fn unit() -> Points {
    Points { losses: vec![0.0], masses: vec![1.0], infinite: 0.0 }
}

/// The outcomes of a bin.
#[derive(Clone, Copy)]
struct Bin {
    p: f64,
    /// Q's probability, times e^shift.
    q: f64,
    low: f64,
    high: f64,
}

/// Both laws at once, merged.
fn paired(a: &Points, b: &Points, side: Side, focus: &Focus) -> Points {
    let edges = edges(a, b, focus);
    let (shift_a, scaled_a) = scaled(a, focus);
    let (shift_b, scaled_b) = scaled(b, focus);
    let shift = shift_a + shift_b;
    let range = exponents(a, shift_a) + exponents(b, shift_b);
    let empty = Bin { p: 0.0, q: 0.0, low: f64::INFINITY, high: f64::NEG_INFINITY };
    let mut bins = vec![empty; edges.len() + 1];
    for ((loss, p), q) in a.losses.iter().zip(&a.masses).zip(&scaled_a) {
        let mut j = 0;
        let mut bin = edges.partition_point(|edge| *edge <= loss + b.losses.first().copied().unwrap_or(0.0));
        while j < b.losses.len() {
            let end = edges.get(bin).copied().unwrap_or(f64::INFINITY) - loss;
            let from = j;
            let (mut p_sum, mut q_sum) = (0.0, 0.0);
            // The last bin takes what no comparison tells.
            while j < b.losses.len() && (b.losses[j] < end || bin >= edges.len()) {
                p_sum += b.masses[j];
                q_sum += scaled_b[j];
                j += 1;
            }
            if j > from {
                let bin = &mut bins[bin];
                bin.p += p * p_sum;
                bin.q += q * q_sum;
                bin.low = lesser(bin.low, loss + b.losses[from]);
                bin.high = greater(bin.high, loss + b.losses[j - 1]);
            }
            bin += 1;
        }
    }
    let mut builder = Builder { side, points: Points::default() };
    let count = (a.losses.len() + b.losses.len() + 64) as f64;
    for (k, bin) in bins.iter().enumerate().filter(|(_, bin)| bin.p > 0.0) {
        // Where the outcomes fill the bin, its edges, which the neighbours share.
        let mut ends = (bin.low, bin.high);
        if let (Some(low), Some(high)) = (k.checked_sub(1).and_then(|k| edges.get(k)), edges.get(k))
            && bin.high - bin.low > 0.6 * (high - low)
        {
            ends = (lesser(*low, bin.low), greater(*high, bin.high));
        }
        let ratio = libm::log(bin.p / bin.q) + shift;
        // Q's probabilities come from losses near `shift` by an exponential; pairs that left its range say nothing about
        // the mean, and the cautious end takes its place.
        let inside = bin.q.is_normal() && bin.p.is_normal();
        let ratio = match (inside, side) {
            (true, _) => ratio.clamp(ends.0, ends.1),
            (false, Side::Upper) => ends.1,
            (false, Side::Lower) => ends.0,
        };
        let error = UNIT * (2.0 * count + 4.0 * range + 8.0 * ((ratio - shift).abs() + shift.abs() + 1.0));
        builder.add(Outcome { low: ends.0, high: ends.1, ratio, p: bin.p, error });
    }
    let mut all = sorted(builder.points);
    let infinite = a.infinite + b.infinite * (1.0 - a.infinite);
    all.infinite = match side {
        // What underflowed is charged.
        Side::Upper => infinite * (1.0 + 4.0 * UNIT) + 1e-300,
        Side::Lower => infinite * (1.0 - 4.0 * UNIT),
    };
    all
}

/// Q's probabilities times e^shift, with a shift that keeps those that matter within range.
fn scaled(law: &Points, focus: &Focus) -> (f64, Vec<f64>) {
    let tilt = focus.tilts.last().copied().unwrap_or(0.0);
    let heaviest = law.losses.iter().zip(&law.masses).map(|(l, m)| (*l, libm::log(*m) + tilt * lesser(*l, focus.cap)));
    let shift = heaviest.fold((0.0, f64::NEG_INFINITY), |best, next| if next.1 > best.1 { next } else { best }).0;
    let scaled = law.losses.iter().zip(&law.masses).map(|(l, m)| m * libm::exp(shift - l)).collect();
    (shift, scaled)
}

/// The largest exponent behind those probabilities; beyond 746 none is a normal number, and such bins are not averaged.
fn exponents(law: &Points, shift: f64) -> f64 {
    law.losses.iter().fold(0.0, |most, l| greater(most, lesser((shift - l).abs(), 746.0)))
}

/// Consecutive outcomes of about the same number, as one each: how a law looks from afar.
const GROUPS: usize = 72;
/// Pieces over which the bins' width is constant.
const PIECES: usize = 160;

/// Edges of bins for the sums of both losses. Merging a bin of mass m and width w costs m w^2, so for a given number of
/// bins the best density of bins is the cube root of that of the mass; masses are weighted by what they do to the answer.
fn edges(a: &Points, b: &Points, focus: &Focus) -> Vec<f64> {
    let (a, b) = (groups(a), groups(b));
    let (Some(first), Some(last)) = (a.first().zip(b.first()), a.last().zip(b.last())) else { return Vec::new() };
    let (start, end) = (first.0.low + first.1.low, last.0.high + last.1.high);
    let mut pairs: Vec<(f64, f64)> = Vec::with_capacity(a.len() * b.len());
    for x in &a {
        pairs.extend(b.iter().map(|y| (x.mean + y.mean, x.log + y.log)));
    }
    pairs.sort_unstable_by(|x, y| x.0.total_cmp(&y.0));
    let mut weights = vec![0.0; pairs.len()];
    for tilt in &focus.tilts {
        let log = |pair: &(f64, f64)| pair.1 + tilt * lesser(pair.0, focus.cap);
        let top = pairs.iter().map(log).fold(f64::NEG_INFINITY, greater);
        let here: Vec<f64> = pairs.iter().map(|pair| libm::exp(log(pair) - top)).collect();
        let total: f64 = here.iter().sum();
        weights.iter_mut().zip(here).for_each(|(w, h)| *w += h / total);
    }
    let size = pairs.len().div_ceil(PIECES);
    let mut pieces = Vec::with_capacity(PIECES + 2);
    let mut from = start;
    for (k, chunk) in pairs.chunks(size).enumerate() {
        let next = pairs.get((k + 1) * size).map_or(end, |pair| pair.0);
        let mass: f64 = weights[k * size..k * size + chunk.len()].iter().sum();
        pieces.push((from, next, (mass * (next - from) * (next - from)).cbrt()));
        from = next;
    }
    let total: f64 = pieces.iter().map(|piece| piece.2).sum();
    let mut edges = Vec::with_capacity(focus.bins + PIECES);
    for (from, to, share) in pieces {
        let parts = if total > 0.0 { (focus.bins as f64 * share / total).ceil() } else { 1.0 };
        let parts = parts.clamp(1.0, focus.bins as f64);
        let width = (to - from) / parts;
        if width > 0.0 {
            edges.extend((0..parts as usize).map(|i| from + width * i as f64));
        }
    }
    edges.dedup();
    edges
}

struct Group {
    low: f64,
    high: f64,
    mean: f64,
    /// ln of the mass.
    log: f64,
}

fn groups(law: &Points) -> Vec<Group> {
    let size = law.losses.len().div_ceil(GROUPS).max(1);
    let pieces = law.losses.chunks(size).zip(law.masses.chunks(size));
    pieces
        .map(|(losses, masses)| {
            let mass: f64 = masses.iter().sum();
            let mean = losses.iter().zip(masses).map(|(l, m)| l * m).sum::<f64>() / mass;
            let (low, high) = (losses[0], losses[losses.len() - 1]);
            Group { low, high, mean: if mean >= low && mean <= high { mean } else { low }, log: libm::log(mass) }
        })
        .collect()
}
