//! Method B: the tilted lattice.
//!
//! Every outcome of every release goes to the two points of a lattice around it, with its probabilities under both P and Q
//! kept: that spreads likelihood ratios, so the composed lattice law bounds delta from above (connect-the-dots, Doroshenko
//! et al. 2022). It is composed by a real Fourier transform of the law tilted by e^(c loss), so that errors stay small
//! relative to delta, however small that is.
//!
//! **The lower bound** is the same sum less a bound on what spreading added. Merging a cell into one outcome is
//! post-processing and only lowers delta; from there a release is moved by xi with E[e^-xi] = 1 within an interval of some
//! width w, so K(t) = ln E[e^(-t xi)] vanishes at 0 and 1 and has K'' <= w^2/4: hence K(t) <= w^2/8 t(t - 1) outside
//! [0, 1], and E[xi] <= w^2/8. For the sum Xi of all, with v the sum of w^2/4 and s = sqrt(v), that is E[W^t] <=
//! e^(v t (t - 1)/2) for W = e^-Xi. Spreading adds to (1 - e^(eps - S))+ at a distance d = |S - eps| = y s
//!
//! - above eps: E(e^-d W - 1)+ <= c_t e^(-t d) E[W^t], with c_t = (t - 1)^(t - 1)/t^t <= e^(1/(2t) + 1/(2t^2))/(e t);
//! - below eps: E(1 - e^d W)+ <= e^d times the same, from the power t - 1 of 1/W.
//!
//! With t = T/s, T = (y + sqrt(y^2 + 4))/2, both are at most 1.027 s e^(-1 + 1/(2T^2) - y^2/2)/T, the second times e^d.
//! Near eps they are also at most (sqrt(m^2 + e^v - 1) - m)/2 with m = 1 - e^-d, times e^d, by Cauchy and Schwarz: a
//! variable of mean -m and variance V has a positive part of mean (sqrt(m^2 + V) - m)/2 at most, and E[W^2] <= e^v.
//!
//! On the other side, by Jensen, E[exp(-(S + Xi - eps)^2/(2v))] >= exp(-y^2/2 - d/2 - 1/2 - v/8) above eps, without the
//! d/2 below. So what spreading adds is at most 0.84 s E[exp(-(S + Xi - eps)^2/(2v))], an expectation under the very law
//! that was composed, if the larger of d/2 and d is charged twice over: let s <= 1/20. For y <= 0.3 the second bound is below
//! 0.501 s at y = 0 and 0.382 s at y = 0.3, falling and convex in y but for a factor e^(1.5 y s) that is counted, and 0.84
//! e^(-1/2 - y^2/2 - v/8) is above 0.509 and 0.486 there, falling too, and concave. From y = 0.3 on T >= 1.16, and 1.027
//! e^(-1 + 1/(2T^2) + 1.5 y s)/T is at most 0.483 there and at y = 38, and smaller between, since its logarithm first falls
//! and then rises; 0.84 e^(-1/2 - v/8) >= 0.509. Beyond y = 38 all is below 1e-300.
//!
//! A coarser lattice, with a larger s, has a coarser lower bound: where Xi <= x, (1 - e^(eps + x - S - Xi))+ is at most
//! (1 - e^(eps - S))+, and elsewhere at most e^(c (S + Xi - eps - x)). So delta(eps) is at least what the lattice says of
//! eps + x, less E[e^(c (S + Xi - eps - x)); Xi > x] <= E[e^(c (S - eps))] e^(-r x + v r (r + 1)/2) for every r >= c, by the
//! bound on E[W^-r]: for r = x/v - 1/2 that is M(c) e^(-c eps) e^(-(x - v/2)^2/(2v)), and M(c) is no larger before spreading.
//!
//! **Errors charged**: probabilities and losses of every outcome; what the transform folds over the ends of the window
//! (see `window`); the transform itself, 8 units for each of its log2 N stages in the Euclidean norm (radix 2
//! to 4 needs less than half of that; Higham 2002, section 24.1); the T-th power of a spectrum of which every entry is known
//! to within e, by T e (size + e)^(T - 1), and of its multiplications 3 units for each of T factors.

use super::cells::Side;
use super::component::{Direction, UNIT, greater, lesser};
use super::elementary::{dot, exponentials, multiply_powers};
use super::plans;
use super::spread::{BLOCK, MOST_POINTS, Spread};
use super::window::{FADED, Tails, bump_reach, window};
use crate::accounting::interval::Interval;
use crate::accounting::step::Step;

/// A composition on the lattice.
#[derive(Debug)]
pub(super) struct Lattice {
    tilt: f64,
    step: f64,
    /// Loss of the first entry.
    start: f64,
    /// Tilted probabilities of the sum, modulo the window.
    entries: Vec<f64>,
    blocks: Blocks,
    /// Bound on the error of each entry.
    entry_error: f64,
    /// ln M(tilt), with its error.
    log: f64,
    log_error: f64,
    tails: Tails,
    /// s, the size of all spreading together.
    spread: f64,
    /// Where that is large.
    coarse: Option<Coarse>,
    slack: f64,
    surplus: f64,
    infinite: Interval,
}

/// Where a lattice is wanted.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wish {
    pub(super) tilt: f64,
    pub(super) epsilon: f64,
    pub(super) log_delta: f64,
    pub(super) step: f64,
    pub(super) log_floor: f64,
}

/// Largest s for which the lower bound is derived.
const MOST_SPREAD: f64 = 0.05;
/// What spreading adds, as a part of s times the expectation of the bump: see the module's derivation.
const SPREADING: f64 = 0.84;

impl Lattice {
    /// Composes `steps` in one direction. `None` if that takes too many points.
    pub(super) fn new(steps: &[(Step, u64)], direction: Direction, wish: Wish) -> Option<Self> {
        let step = wish.step;
        let spreads: Vec<_> =
            steps.iter().map(|(one, count)| Spread::new(one, *count, direction, wish)).collect::<Option<_>>()?;
        let square = |x: f64| x * x;
        let spread = spreads.iter().map(|s| s.count * square(s.width)).sum::<f64>().sqrt() * 0.5 * (1.0 + 1e-14);
        if !spread.is_finite() {
            return None;
        }
        let is_coarse = spread > MOST_SPREAD;
        let (tails, (below, above)) = window(&spreads, wish, if is_coarse { 0.0 } else { spread })?;
        let tilt = tails.tilt;
        let coarse = is_coarse.then(|| Coarse::new(tilt, spread * spread, tails.log_folded));
        let wanted = (below + above) / step;
        if wanted.is_nan() || wanted >= MOST_POINTS {
            return None;
        }
        let points = size(wanted.ceil() as usize + 1);
        let room = points as f64 * step - (below + above);
        let below = below + 0.5 * room;
        let offset: f64 = spreads.iter().map(|s| s.count * s.offset).sum();
        let first = ((wish.epsilon - below - offset) / step).floor();
        let composed = compose(&spreads, tilt, first as i64, points);
        let charged = |of: fn(&Spread) -> f64| spreads.iter().map(|s| s.count * of(s)).sum::<f64>();
        let log_finite =
            spreads.iter().fold(Interval::ZERO, |sum, s| sum + (-s.infinite).ln_1p() * Interval::point(s.count));
        Some(Self {
            tilt,
            step,
            start: offset + first * step,
            entry_error: composed.error,
            log: composed.log,
            log_error: composed.log_error + 1.01 * charged(|s| s.error),
            blocks: Blocks::new(&composed.entries, tilt, step),
            entries: composed.entries,
            tails,
            spread,
            coarse,
            slack: charged(|s| s.slack)
                + 16.0 * UNIT * (offset.abs() + charged(|s| s.offset.abs()) + first.abs() * step),
            surplus: charged(|s| s.surplus),
            infinite: (-log_finite.expm1()).clamp(0.0, 1.0),
        })
    }

    /// delta(eps), infinite losses included.
    pub(super) fn delta(&self, epsilon: f64) -> Interval {
        Interval::new(self.bound(epsilon, Side::Lower), self.bound(epsilon, Side::Upper))
    }

    /// One end of delta(eps).
    fn bound(&self, epsilon: f64, side: Side) -> f64 {
        let slack = self.slack + 16.0 * UNIT * epsilon.abs();
        let none = Coarse { shift: 0.0, missing: 0.0 };
        let Coarse { shift, missing } = self.coarse.filter(|_| side == Side::Lower).unwrap_or(none);
        let epsilon = if side == Side::Upper { epsilon - slack } else { epsilon + slack + shift };
        let sums = self.sums(epsilon);
        let below = epsilon - self.start;
        let folded = self.tails.folded(epsilon, below, self.entries.len() as f64 * self.step - below);
        let exponent = self.log - self.tilt * epsilon;
        let relative = self.log_error + 8.0 * UNIT * (self.log.abs() + (self.tilt * epsilon).abs() + 4.0);
        let scale = Interval::new(exponent - relative, exponent + relative).exp();
        if side == Side::Upper {
            return (scale * (sums.sum + sums.error + folded) + self.infinite).hi;
        }
        let below = sums.sum - sums.error - folded - self.gap(epsilon) - missing;
        let lo = scale * if below > 0.0 { below } else { 0.0 };
        let charged = 1e-300 + self.surplus;
        let lo = lo.lo - charged;
        (Interval::point(if lo > 0.0 { lo } else { 0.0 }) + self.infinite).lo
    }

    /// Over all entries above eps, in units of M(c) e^(-c eps), with x the distance of an entry above eps.
    fn sums(&self, epsilon: f64) -> Sums {
        let (c, h, n) = (self.tilt, self.step, self.entries.len());
        let loss = |k: usize| self.start + k as f64 * h - epsilon;
        let from = ((epsilon - self.start) / h).floor();
        let from = if from < 0.0 { 0 } else { (from as usize).min(n) };
        let mut sums = Sums { sum: 0.0, error: 0.0 };
        let (mut whole, mut kernels) = (0.0, 0.0);
        let first = from.div_ceil(BLOCK);
        for k in from..(first * BLOCK).min(n) {
            let x = loss(k);
            let a = libm::exp(-c * x);
            let gain = if x > 0.0 { -a * libm::expm1(-x) } else { 0.0 };
            sums.sum += self.entries[k] * gain;
            kernels += gain;
            whole += self.entries[k].abs() * a;
        }
        let all = &self.blocks;
        for (k, [plain, faded, size]) in all.sums.iter().enumerate().skip(first) {
            let x = loss(k * BLOCK);
            // The distance of the first entry may be rounded to less than zero.
            let (a, b) = (libm::exp(-c * x), if x > 0.0 { libm::exp(-x) } else { 1.0 });
            sums.sum += a * (plain - b * faded);
            kernels += a * (all.kernels.0 - b * all.kernels.1);
            whole += a * size;
            if a < 1e-40 {
                // What is left is at most its factor, since all entries together are at most one, and their errors.
                sums.error += a * (2.0 + n as f64 * self.entry_error);
                break;
            }
        }
        // Tables, the products with them and the difference cost at most 100 units of `whole`, and the tables' arguments.
        let count = n as f64;
        sums.error += self.entry_error * kernels * 1.01
            + (100.0 + 4.0 * BLOCK as f64 * c * h + count * 0.02) * UNIT * whole
            + count * UNIT * sums.sum.abs();
        sums
    }

    /// What spreading added, at most, in the same units.
    fn gap(&self, epsilon: f64) -> f64 {
        if self.spread == 0.0 || self.coarse.is_some() {
            return 0.0;
        }
        let (c, h, v) = (self.tilt, self.step, self.spread * self.spread);
        let reach = bump_reach(c, self.spread);
        let middle = (epsilon - self.start) / h;
        let count = self.entries.len() as f64;
        // Probability from beyond the window only adds; what is near must not lie there. The bump is at most e^(c^2 v / 2).
        if c * c * v > 1000.0 || middle * h < reach || (count - middle) * h < reach {
            return f64::INFINITY;
        }
        let low = (middle - reach / h - 1.0).clamp(0.0, count) as usize;
        let high = (middle + reach / h + 2.0).clamp(0.0, count) as usize;
        let x = |k: usize| self.start + k as f64 * h - epsilon;
        let mut kernel: Vec<f64> = (low..high).map(|k| -x(k) * x(k) / (2.0 * v) - c * x(k)).collect();
        exponentials(0.0, &mut kernel);
        let (sum, bumps) = (dot(&self.entries[low..high], &kernel), kernel.iter().sum::<f64>());
        let sum = (sum + self.entry_error * bumps) * (1.0 + 1e-9);
        SPREADING * self.spread * (sum + libm::exp(FADED))
    }

    /// Ends of the least epsilon >= 0 with delta(epsilon) <= target.
    pub(super) fn epsilon(&self, target: f64, guess: f64) -> Interval {
        let upper = self.end(target, guess, Side::Upper);
        let near = if upper.is_finite() { upper } else { guess };
        Interval::new(self.end(target, near, Side::Lower), upper)
    }

    fn end(&self, target: f64, guess: f64, side: Side) -> f64 {
        // What could not be evaluated is proved on neither side.
        let above = |epsilon: f64| {
            let found = self.bound(epsilon, side);
            if side == Side::Upper { found.is_nan() || found > target } else { found > target }
        };
        if side == Side::Upper && !above(0.0) {
            return 0.0;
        }
        // A secant on ln delta, whose slope is about -tilt.
        let mut near = guess;
        let (mut slope, mut before) = (self.tilt, None);
        for _ in 0..8 {
            let log = libm::log(self.bound(near, side) / target);
            if let Some((other, log_other)) = before {
                let secant: f64 = (log_other - log) / (near - other);
                slope = if secant > 0.2 * self.tilt && secant < 5.0 * self.tilt { secant } else { self.tilt };
            }
            let by = (log / slope).clamp(-2.0 / self.tilt, 2.0 / self.tilt);
            if !by.is_finite() {
                break;
            }
            before = Some((near, log));
            near = greater(near + by, 0.0);
            if by.abs() <= 1e-8 * near {
                break;
            }
        }
        let outward = if side == Side::Upper { 1.0 } else { -1.0 };
        let proved = |epsilon: f64| above(epsilon) == (side == Side::Lower);
        let ends = [1e-8, 1e-7, 1e-6].into_iter().map(|part| near * (1.0 + outward * part));
        if let Some(found) = ends.filter(|epsilon| *epsilon > 0.0).find(|epsilon| proved(*epsilon)) {
            return found;
        }
        // By halving between the ends of the window.
        let last = self.start + self.entries.len() as f64 * self.step;
        let (mut lo, mut hi) = (0.0, if last > 0.0 { last } else { 0.0 });
        if above(hi) {
            return if side == Side::Upper { f64::INFINITY } else { hi };
        }
        for _ in 0..60 {
            if hi - lo <= 1e-7 * hi {
                break;
            }
            let middle = 0.5 * (lo + hi);
            if above(middle) { lo = middle } else { hi = middle }
        }
        if side == Side::Upper {
            hi
        } else if lo > 0.0 && above(lo) {
            lo
        } else {
            0.0
        }
    }
}

/// The entries in blocks, of which delta at any epsilon is a short sum: with x_j = j h in a block, the sums of e^(-c x) times
/// entries, of e^(-(c + 1) x) times entries, and of the first with their sizes.
#[derive(Debug)]
struct Blocks {
    sums: Vec<[f64; 3]>,
    /// The first two sums for entries of one.
    kernels: (f64, f64),
}

impl Blocks {
    fn new(entries: &[f64], tilt: f64, step: f64) -> Self {
        let factors = |slope: f64| -> Vec<f64> { (0..BLOCK).map(|k| libm::exp(-slope * (step * k as f64))).collect() };
        let (plain, faded) = (factors(tilt), factors(tilt + 1.0));
        let sums = entries
            .chunks(BLOCK)
            .map(|block| {
                let n = block.len();
                let size = block.iter().zip(&plain).map(|(entry, factor)| entry.abs() * factor).sum();
                [dot(block, &plain[..n]), dot(block, &faded[..n]), size]
            })
            .collect();
        Self { sums, kernels: (plain.iter().sum(), faded.iter().sum()) }
    }
}

/// The lower bound of a coarse lattice: how far it moves epsilon, and what it leaves out, in units of M(c) e^(-c eps) there.
#[derive(Clone, Copy, Debug)]
struct Coarse {
    shift: f64,
    missing: f64,
}

impl Coarse {
    fn new(tilt: f64, variance: f64, log_missing: f64) -> Self {
        let shift = 0.5 * variance + (-2.0 * variance * log_missing).sqrt();
        // r is no less than the tilt.
        let shift = greater(shift, variance * (tilt + 0.5)) * (1.0 + 1e-12);
        let beyond = shift - 0.5 * variance;
        let log = tilt * shift - beyond * beyond / (2.0 * variance);
        Self { shift, missing: libm::exp(log + 1e-9 + 1e-12 * (tilt * shift + log.abs())) }
    }
}

struct Sums {
    sum: f64,
    error: f64,
}

struct Composed {
    entries: Vec<f64>,
    error: f64,
    log: f64,
    log_error: f64,
}

/// The composition's tilted probabilities at `points` indices from `first` on.
fn compose(spreads: &[Spread], tilt: f64, first: i64, points: usize) -> Composed {
    let (n, half) = (points as f64, points / 2 + 1);
    let padded = half.next_multiple_of(8);
    let stages = stages(points);
    let forward = plans::forward(points);
    let (mut log, mut log_error, mut base) = (0.0, 0.0, 0_i128);
    // The product of all spectra, a bound on the product of what they stand for, and its error relative to that bound.
    let (mut product, mut im) = (vec![1.0; padded], vec![0.0; padded]);
    let (mut bounds, mut rates) = (vec![1.0; padded], vec![0.0; padded]);
    let (mut one_re, mut one_im, mut one_bound) = (vec![0.0; padded], vec![0.0; padded], vec![0.0; padded]);
    let (mut spectrum, mut scratch) = (forward.make_output_vec(), forward.make_scratch_vec());
    let mut transformed = vec![0.0; points];
    for spread in spreads {
        let one = spread.log_moment(tilt);
        let error = spread.tilted(tilt, one, &mut transformed);
        log += spread.count * one;
        log_error += spread.count * error + 4.0 * UNIT * log.abs();
        base += i128::from(spread.first) * i128::from(spread.times);
        let norm = dot(&transformed, &transformed).sqrt();
        let doubt = 1.01 * stages * n.sqrt() * norm;
        if forward.process_with_scratch(&mut transformed, &mut spectrum, &mut scratch).is_err() {
            // The lengths agree; and an infinite error proves nothing.
            log_error = f64::INFINITY;
        }
        for (k, value) in spectrum.iter().enumerate() {
            (one_re[k], one_im[k]) = (value.re, value.im);
            one_bound[k] = (value.re * value.re + value.im * value.im).sqrt() + doubt;
            rates[k] += spread.count * doubt / one_bound[k];
        }
        multiply_powers(spread.times, [&one_re, &one_im, &one_bound], [&mut product, &mut im, &mut bounds]);
    }
    // Rounding of all the multiplications; that of bounds is within the one percent added below.
    let rounding = 3.1 * UNIT * spreads.iter().map(|spread| spread.count + 1.0).sum::<f64>();
    if rounding.is_nan() || rounding >= 1e-3 {
        log_error = f64::INFINITY;
    }
    // The inverse, by the same transform: for a real sequence with spectrum X, the sequence Re X - Im X has a spectrum Y with
    // Re Y - Im Y = n times the sequence (Hartley). Both steps keep the Euclidean norm.
    let hartley = &mut transformed;
    let (mut error, mut square) = (0.0, 0.0);
    for k in 0..half {
        let real = k == 0 || 2 * k == points;
        let share = if real { 1.0 } else { 2.0 };
        let (re, im) = (product[k], if real { 0.0 } else { im[k] });
        hartley[k] = re - im;
        if !real {
            hartley[points - k] = re + im;
        }
        // Products may underflow.
        error += share * (1.01 * bounds[k] * lesser(rates[k] + rounding, 2.0) + 1e-300);
        square += share * (re * re + im * im);
    }
    if forward.process_with_scratch(hartley, &mut spectrum, &mut scratch).is_err() {
        log_error = f64::INFINITY;
    }
    let error = 1.01 * (error / n + stages * (square / n).sqrt());
    let from = (i128::from(first) - base).rem_euclid(points as i128) as usize;
    let entry = |k: usize| {
        let (value, sign) = if k < half { (spectrum[k], 1.0) } else { (spectrum[points - k], -1.0) };
        (value.re - sign * value.im) / n
    };
    let entries = (from..points).chain(0..from).map(entry).collect();
    Composed { entries, error, log, log_error }
}

/// The relative error of a transform of that many points, in the Euclidean norm.
fn stages(points: usize) -> f64 {
    8.0 * UNIT * (libm::log2(points as f64) + 2.0)
}

/// A length that the transform likes: a power of two, or three times one.
fn size(least: usize) -> usize {
    let two = least.next_power_of_two();
    let three = 3 * least.div_ceil(3).next_power_of_two();
    two.min(three)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Masses that are whole numbers over 2^bits, and sum to one: then the tilt is one and no logarithm loses anything.
    fn whole_masses(seed: u64, count: usize, bits: u32) -> Vec<u64> {
        let mut state = seed;
        let mut next = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            state >> 33
        };
        // Of very different sizes, as those of laws are.
        let raw: Vec<f64> = (0..count).map(|_| (next() as f64 + 1.0) / (1_u64 << (next() % 31)) as f64).collect();
        let total: f64 = raw.iter().sum();
        let mut masses: Vec<u64> = raw.iter().map(|m| (m / total * 0.9 * (1_u64 << bits) as f64) as u64).collect();
        masses[0] += (1_u64 << bits) - masses.iter().sum::<u64>();
        masses
    }

    /// The exact cyclic convolution of two sequences of whole numbers.
    fn convolved(a: &[u128], b: &[u64], points: usize) -> Vec<u128> {
        let mut all = vec![0; points];
        for (i, x) in a.iter().enumerate().filter(|(_, x)| **x > 0) {
            for (j, y) in b.iter().enumerate() {
                all[(i + j) % points] += x * u128::from(*y);
            }
        }
        all
    }

    /// Composed with itself so many times. `None` where the logarithm of its moment, which is zero, was rounded.
    fn spread(masses: &[u64], bits: u32, times: u64) -> Option<Spread> {
        let all = Spread {
            times,
            count: times as f64,
            offset: 0.0,
            step: 1.0,
            first: 0,
            masses: masses.iter().map(|m| *m as f64 / (1_u64 << bits) as f64).collect(),
            width: 1.0,
            error: 0.0,
            slack: 0.0,
            infinite: Interval::ZERO,
            surplus: 0.0,
        };
        (libm::exp(-all.log_moment(0.0)) == 1.0).then_some(all)
    }

    /// What the transform and the powers lose, beside exact integers, is at most a quarter of what is charged for them.
    #[test]
    fn a_quarter_of_the_charge_covers_what_composing_loses() {
        let deep = std::env::var_os("VEILSUM_DEEP").is_some();
        let sizes: &[usize] =
            if deep { &[64, 96, 512, 1536, 4096, 12_288, 16_384] } else { &[64, 96, 512, 1536, 4096] };
        let mut worst = 0.0_f64;
        for points in sizes {
            for (times, bits) in [(2, 45_u32), (3, 40), (5, 24)] {
                let some = (0..1000).find_map(|seed| {
                    let masses = whole_masses(seed, points / 2, bits);
                    spread(&masses, bits, times).map(|spread| (masses, spread))
                });
                let (masses, spread) = some.expect("rounding is rare");
                // Whole numbers up to 2^(bits times) fit.
                let mut exact: Vec<u128> = masses.iter().map(|m| u128::from(*m)).collect();
                for _ in 1..times {
                    exact = convolved(&exact, &masses, *points);
                }
                let found = compose(&[spread], 0.0, 0, *points);
                let scale = 2.0_f64.powi(-(bits as i32) * times as i32);
                let off = found.entries.iter().zip(&exact).map(|(entry, exact)| {
                    // Both parts of the number are exact as floats.
                    let high = (*exact >> 53) << 53;
                    ((entry - high as f64 * scale) - (exact - high) as f64 * scale).abs()
                });
                let off = off.fold(0.0, greater);
                assert!(off > 0.0 && off <= 0.25 * found.error, "{points}, {times} times: {off} of {}", found.error);
                worst = greater(worst, off / found.error);
            }
        }
        println!("at most {worst:.3} of the error that is charged");
    }
}
