//! Elementary functions as plain loops, of which the compiler makes vectors, with error bounds of their own.
//!
//! `libm` takes one number at a time. Here every function is a polynomial without branches, `multiversion` picks the
//! instructions at run time, and no step is fused, so that every machine gives the same bits. Errors are in units of 2^-53.
//! The polynomials are Taylor's, whose remainders need no trust; `tests` compares with `libm`.

use multiversion::multiversion;

/// Added and taken away again, this rounds to an integer and leaves its low bits in the mantissa.
pub(super) const ROUNDER: f64 = 6_755_399_441_055_744.0;
/// ln 2 in two parts, the first with 32 bits, so that its product with an exponent is exact.
const LN_2: (f64, f64) = (6.931_471_803_691_238e-1, 1.908_214_929_270_587_7e-10);
/// pi / 2 in three parts, the first two with 33 bits.
const HALF_PI: (f64, f64, f64) = (1.570_796_326_734_125_6, 6.077_100_506_303_966e-11, 2.022_266_248_795_950_7e-21);
/// Where e^x is a normal number with room to spare.
pub(super) const LARGEST_EXPONENT: f64 = 700.0;
/// Where [`sin_cos`] holds.
const LARGEST_ANGLE: f64 = 1e6;

/// e^x and e^x - 1 for x <= 700, to relative errors of 4 and 8 units; below -708 the first is e^-708.
///
/// x = k ln 2 + r with |r| < 0.3466 and an error of r below 0.36 units of one; e^r - 1 is Taylor's polynomial of degree 13
/// (remainder 5e-18), by Horner to 2.5 units of itself. e^r = 1 + that loses one unit more; since |e^r - 1| <= 0.42 and
/// e^r >= 0.7, 2.6 units together. In 2^k (e^r - 1) + (2^k - 1) the two parts have opposite signs at most for k = 1, where
/// they cancel to no less than 0.29 of the larger one: (2.5 * 0.59 + 1.4 * 0.36) / 0.41 + 1 < 6.
#[inline(always)]
fn exp(x: f64) -> (f64, f64) {
    let x = if x < -708.0 { -708.0 } else { x };
    let shifted = x * std::f64::consts::LOG2_E + ROUNDER;
    let k = shifted - ROUNDER;
    let r = (x - k * LN_2.0) - k * LN_2.1;
    let power = f64::from_bits((shifted.to_bits() << 52).wrapping_add(1023 << 52));
    let mut tail = 1.0 / 6_227_020_800.0;
    for coefficient in [
        1.0 / 479_001_600.0,
        1.0 / 39_916_800.0,
        1.0 / 3_628_800.0,
        1.0 / 362_880.0,
        1.0 / 40_320.0,
        1.0 / 5_040.0,
        1.0 / 720.0,
        1.0 / 120.0,
        1.0 / 24.0,
        1.0 / 6.0,
        0.5,
        1.0,
    ] {
        tail = tail * r + coefficient;
    }
    let less_one = tail * r;
    (power + power * less_one, power * less_one + (power - 1.0))
}

/// ln(1 + y) for y > -1 below 1e307, to a relative error of 6 units.
///
/// 1 + y is w plus what its rounding lost, exactly (two-sum); w = 2^k (1 + f) with |f| < 0.42, and with s = f / (2 + f)
/// ln(1 + f) = f - f^2/2 + s (f^2/2 + R), where R is the series of 2 atanh(s) / s - 2 to s^20 (remainder 2e-18 of f). The
/// last part is at most 0.06 of f and off by 8 units of itself, f^2/2 by one, so before the last addition 1.1 units of f
/// are lost; what k ln 2 adds has the larger size when k is not zero.
#[inline(always)]
fn ln_1p(y: f64) -> f64 {
    let w = 1.0 + y;
    let rounded = w - 1.0;
    let lost = ((1.0 - (w - rounded)) + (y - rounded)) / w;
    // sqrt(1/2) as the border of the mantissas.
    let border = 0x3fe6_a09e_0000_0000_u64;
    let bits = w.to_bits().wrapping_add(0x3ff0_0000_0000_0000 - border);
    let k = f64::from_bits((bits >> 52) | 0x4330_0000_0000_0000) - (4_503_599_627_370_496.0 + 1023.0);
    let f = f64::from_bits((bits & 0x000f_ffff_ffff_ffff).wrapping_add(border)) - 1.0;
    let s = f / (2.0 + f);
    let z = s * s;
    let mut series = 2.0 / 21.0;
    for coefficient in
        [2.0 / 19.0, 2.0 / 17.0, 2.0 / 15.0, 2.0 / 13.0, 2.0 / 11.0, 2.0 / 9.0, 2.0 / 7.0, 2.0 / 5.0, 2.0 / 3.0]
    {
        series = series * z + coefficient;
    }
    let square = 0.5 * f * f;
    let small = s * (square + series * z) + (k * LN_2.1 + lost);
    k * LN_2.0 + (f - (square - small))
}

/// e^x - 1, within 3 units: near zero by five terms of its series, where the sixth is below half a unit; else by `libm`.
#[inline(always)]
pub(super) fn less_one(x: f64) -> f64 {
    // NaN goes to `libm`, and stays.
    if x.abs() <= 1.0 / 128.0 {
        x * (1.0 + x * (1.0 / 2.0 + x * (1.0 / 6.0 + x * (1.0 / 24.0 + x * (1.0 / 120.0 + x * (1.0 / 720.0))))))
    } else {
        libm::expm1(x)
    }
}

/// sin x and cos x for |x| <= 10^6, to absolute errors of 4 units.
///
/// x = k pi / 2 + r with |r| < 0.7855; k has at most 20 bits, so its products with the first two parts of pi / 2 are exact,
/// and r is off by 0.8 units. Taylor's polynomials of degrees 17 and 16 leave 1e-19 and 3e-18.
#[inline(always)]
fn sin_cos(x: f64) -> (f64, f64) {
    let shifted = x * std::f64::consts::FRAC_2_PI + ROUNDER;
    let k = shifted - ROUNDER;
    let r = ((x - k * HALF_PI.0) - k * HALF_PI.1) - k * HALF_PI.2;
    let z = r * r;
    let mut sin = 1.0 / 355_687_428_096_000.0;
    for coefficient in [
        -1.0 / 1_307_674_368_000.0,
        1.0 / 6_227_020_800.0,
        -1.0 / 39_916_800.0,
        1.0 / 362_880.0,
        -1.0 / 5_040.0,
        1.0 / 120.0,
        -1.0 / 6.0,
    ] {
        sin = sin * z + coefficient;
    }
    let mut cos = 1.0 / 20_922_789_888_000.0;
    for coefficient in [
        -1.0 / 87_178_291_200.0,
        1.0 / 479_001_600.0,
        -1.0 / 3_628_800.0,
        1.0 / 40_320.0,
        -1.0 / 720.0,
        1.0 / 24.0,
        -0.5,
    ] {
        cos = cos * z + coefficient;
    }
    let (sin, cos) = (r + r * (z * sin), 1.0 + z * cos);
    let quadrant = shifted.to_bits();
    let (a, b) = if quadrant & 1 == 0 { (sin, cos) } else { (cos, sin) };
    let sign = |bit: u64, x: f64| f64::from_bits(x.to_bits() ^ (bit << 63));
    (sign((quadrant >> 1) & 1, a), sign(((quadrant >> 1) ^ quadrant) & 1, b))
}

/// Values of a tilted mixture at equispaced x, one slice each.
#[derive(Debug, Default)]
pub(super) struct Mixture {
    /// L = ln(1 - q + q e^l) with l = (x - 1/2) / sigma^2.
    pub(super) log: Vec<f64>,
    /// dL/dl = q e^l / (1 - q + q e^l).
    pub(super) share: Vec<f64>,
    /// ln of the integrand: -x^2 / (2 sigma^2) + power L.
    pub(super) exponent: Vec<f64>,
    /// Bounds on the errors of `log` and of `exponent`, in units, for sigma, q and nodes that are off by two units.
    pub(super) log_doubt: Vec<f64>,
    pub(super) doubt: Vec<f64>,
}

/// Where a mixture is evaluated, and how it is tilted.
#[derive(Clone, Copy, Debug)]
pub(super) struct Grid {
    pub(super) low: f64,
    pub(super) step: f64,
    pub(super) count: usize,
    pub(super) sigma: f64,
    pub(super) rate: f64,
    pub(super) power: f64,
}

impl Grid {
    pub(super) fn x(&self, k: usize) -> f64 {
        self.low + self.step * k as f64
    }

    pub(super) fn evaluate(&self) -> Mixture {
        let zeros = || vec![0.0; self.count];
        let mut all = Mixture { log: zeros(), share: zeros(), exponent: zeros(), log_doubt: zeros(), doubt: zeros() };
        let highest = (self.x(self.count) - 0.5) / (self.sigma * self.sigma);
        evaluate(self, &mut all);
        if highest > LARGEST_EXPONENT {
            for k in 0..self.count {
                let l = (self.x(k) - 0.5) / (self.sigma * self.sigma);
                if l > LARGEST_EXPONENT {
                    let odds = self.rate + (1.0 - self.rate) * libm::exp(-l);
                    let (z, log) = (self.x(k) / self.sigma, l + libm::log(odds));
                    (all.log[k], all.share[k]) = (log, self.rate / odds);
                    all.exponent[k] = -0.5 * z * z + self.power * log;
                    all.log_doubt[k] = 24.0 + 20.0 * l + 8.0 * log.abs();
                    all.doubt[k] = 8.0 * z * z + self.power.abs() * all.log_doubt[k] + 2.0 * all.exponent[k].abs();
                }
            }
        }
        all
    }
}

/// Errors: x is off by two units (and q, sigma too), so z^2 / 2 by five and a half units of z^2; l by nine units of itself
/// and one of 1 / sigma^2, which moves L by `share` times that; y = q (e^l - 1) by eleven units, which moves L by y / (1 + y)
/// times that; L by six units of itself, its product with the power by one more, and the last sum by one.
#[multiversion(targets("x86_64+avx512f+avx512bw+avx512cd+avx512dq+avx512vl+avx2+bmi1+bmi2", "x86_64+avx2+bmi1+bmi2"))]
fn evaluate(grid: &Grid, all: &mut Mixture) {
    let Grid { low, step, sigma, rate, power, count } = *grid;
    let precision = 1.0 / (sigma * sigma);
    let size = power.abs();
    let (log, share, exponent) = (&mut all.log[..count], &mut all.share[..count], &mut all.exponent[..count]);
    let (log_doubt, doubt) = (&mut all.log_doubt[..count], &mut all.doubt[..count]);
    for k in 0..count {
        let x = low + step * f64::from(k as u32);
        let l = (x - 0.5) * precision;
        let (grown, less_one) = exp(if l < LARGEST_EXPONENT { l } else { LARGEST_EXPONENT });
        let y = rate * less_one;
        let found = ln_1p(y);
        let part = 1.0 / (1.0 + y);
        let z = x / sigma;
        let e = power * found - 0.5 * z * z;
        log[k] = found;
        share[k] = rate * grown * part;
        exponent[k] = e;
        let moved = 12.0 * (y * part).abs() + 8.0 * found.abs() + share[k] * (9.0 * l.abs() + precision);
        log_doubt[k] = moved;
        doubt[k] = 8.0 * z * z + size * moved + 2.0 * e.abs();
    }
}

/// e^(x - top) for every x.
#[multiversion(targets("x86_64+avx512f+avx512bw+avx512cd+avx512dq+avx512vl+avx2+bmi1+bmi2", "x86_64+avx2+bmi1+bmi2"))]
pub(super) fn exponentials(top: f64, values: &mut [f64]) {
    for x in values {
        *x = exp(*x - top).0;
    }
}

/// ln(1 - q + q e^l) for every l, to 12 units of itself and 12 of |y| / (1 + y) with y = q (e^l - 1).
pub(super) fn mixtures(rate: f64, values: &[f64]) -> Vec<f64> {
    let mut all = values.to_vec();
    if rate < 1.0 {
        mix(rate, &mut all);
        for (all, l) in all.iter_mut().zip(values) {
            // NaN too.
            if l.is_nan() || l.abs() > LARGEST_EXPONENT {
                *all = if *l > 0.0 { l + libm::log(rate) } else { libm::log1p(rate * libm::expm1(*l)) };
            }
        }
    }
    all
}

/// Roughly the l where ln(1 - q + q e^l) has these values, all above ln(1 - q).
pub(super) fn unmixed(rate: f64, values: &mut [f64]) {
    if rate < 1.0 {
        unmix(rate, values);
    }
}

/// ln(1 + y) for every y, to 6 units.
pub(super) fn logarithms(values: &[f64]) -> Vec<f64> {
    let mut all = values.to_vec();
    log_all(&mut all);
    for (all, y) in all.iter_mut().zip(values) {
        // NaN, infinity and what lies out of range take the slow path.
        if !(*y > -1.0 && *y < 1e300) {
            *all = libm::log1p(*y);
        }
    }
    all
}

#[multiversion(targets("x86_64+avx512f+avx512bw+avx512cd+avx512dq+avx512vl+avx2+bmi1+bmi2", "x86_64+avx2+bmi1+bmi2"))]
fn mix(rate: f64, values: &mut [f64]) {
    for x in values {
        *x = ln_1p(rate * exp(if *x < LARGEST_EXPONENT { *x } else { LARGEST_EXPONENT }).1);
    }
}

#[multiversion(targets("x86_64+avx512f+avx512bw+avx512cd+avx512dq+avx512vl+avx2+bmi1+bmi2", "x86_64+avx2+bmi1+bmi2"))]
fn unmix(rate: f64, values: &mut [f64]) {
    for x in values {
        let odds = exp(if *x < LARGEST_EXPONENT { *x } else { LARGEST_EXPONENT }).1 / rate;
        *x = ln_1p(if odds > -1.0 + f64::EPSILON { odds } else { -1.0 + f64::EPSILON });
    }
}

#[multiversion(targets("x86_64+avx512f+avx512bw+avx512cd+avx512dq+avx512vl+avx2+bmi1+bmi2", "x86_64+avx2+bmi1+bmi2"))]
fn log_all(values: &mut [f64]) {
    for x in values {
        *x = ln_1p(*x);
    }
}

/// The integral of the normal density around `mean` over every cell, by one rule (nodes and weights on [-1, 1]). With s =
/// 1 / sigma^2 above zero, the density is corrected as that of a discrete Gaussian: see `cells`.
pub(super) fn bells(rule: &[(f64, f64)], mean: f64, s: f64, cells: (&[f64], &[f64]), masses: &mut [f64]) {
    masses.fill(0.0);
    for (node, weight) in rule {
        bell(*node, *weight, mean, s, cells.0, cells.1, masses);
    }
}

#[multiversion(targets("x86_64+avx512f+avx512bw+avx512cd+avx512dq+avx512vl+avx2+bmi1+bmi2", "x86_64+avx2+bmi1+bmi2"))]
fn bell(node: f64, weight: f64, mean: f64, s: f64, centres: &[f64], halves: &[f64], masses: &mut [f64]) {
    let weight = weight / std::f64::consts::TAU.sqrt();
    for ((centre, half), mass) in centres.iter().zip(halves).zip(masses) {
        let z = centre + half * node - mean;
        let x = z * z;
        let fourth = x * x - 6.0 * x + 3.0;
        let sixth = x * x * x - 15.0 * x * x + 45.0 * x - 15.0;
        let corrected = 1.0 - s * ((x - 1.0) / 24.0 - s * (7.0 * fourth / 5760.0 - s * 31.0 * sixth / 967_680.0));
        *mass += weight * half * (exp(-0.5 * x).0 * corrected);
    }
}

/// Integer powers of complex numbers and of bounds on them, multiplied onto products: (re, im, bound).
///
/// A multiplication of complex numbers is off by less than 3 units of the product's size (Higham 2002, Lemma 3.5, gives
/// 2^(3/2)), so a power of n by squaring, with everything that it is multiplied onto, by 3 units for each of its factors.
#[multiversion(targets("x86_64+avx512f+avx512bw+avx512cd+avx512dq+avx512vl+avx2+bmi1+bmi2", "x86_64+avx2+bmi1+bmi2"))]
pub(super) fn multiply_powers(count: u64, z: [&[f64]; 3], products: [&mut [f64]; 3]) {
    let [re, im, bound] = z;
    let [all_re, all_im, all_bound] = products;
    let blocks = re.chunks_exact(8).zip(im.chunks_exact(8)).zip(bound.chunks_exact(8));
    let targets = all_re.chunks_exact_mut(8).zip(all_im.chunks_exact_mut(8)).zip(all_bound.chunks_exact_mut(8));
    for (((re, im), bound), ((all_re, all_im), all_bound)) in blocks.zip(targets) {
        let (mut x, mut y, mut b) = ([0.0; 8], [0.0; 8], [0.0; 8]);
        let (mut u, mut v, mut w) = ([0.0; 8], [0.0; 8], [0.0; 8]);
        x.copy_from_slice(re);
        y.copy_from_slice(im);
        b.copy_from_slice(bound);
        u.copy_from_slice(all_re);
        v.copy_from_slice(all_im);
        w.copy_from_slice(all_bound);
        let mut rest = count;
        loop {
            if rest & 1 == 1 {
                for k in 0..8 {
                    (u[k], v[k]) = (u[k] * x[k] - v[k] * y[k], u[k] * y[k] + v[k] * x[k]);
                    w[k] *= b[k];
                }
            }
            rest >>= 1;
            if rest == 0 {
                break;
            }
            for k in 0..8 {
                (x[k], y[k]) = (x[k] * x[k] - y[k] * y[k], 2.0 * x[k] * y[k]);
                b[k] *= b[k];
            }
        }
        all_re.copy_from_slice(&u);
        all_im.copy_from_slice(&v);
        all_bound.copy_from_slice(&w);
    }
}

/// cos(u y) and sin(u y) for every y.
pub(super) fn circle(u: f64, angles: &[f64], cos: &mut [f64], sin: &mut [f64]) {
    // NaN and infinity take the slow path, and stay NaN.
    let small = angles.iter().fold(true, |small, y| small & ((u * y).abs() <= LARGEST_ANGLE));
    if small {
        small_circle(u, angles, cos, sin);
    } else {
        for ((y, cos), sin) in angles.iter().zip(cos).zip(sin) {
            (*sin, *cos) = libm::sincos(u * y);
        }
    }
}

#[multiversion(targets("x86_64+avx512f+avx512bw+avx512cd+avx512dq+avx512vl+avx2+bmi1+bmi2", "x86_64+avx2+bmi1+bmi2"))]
fn small_circle(u: f64, angles: &[f64], cos: &mut [f64], sin: &mut [f64]) {
    for ((y, cos), sin) in angles.iter().zip(cos).zip(sin) {
        (*sin, *cos) = sin_cos(u * y);
    }
}

/// Multiplies each z by its turn. Four units are lost of each.
#[multiversion(targets("x86_64+avx512f+avx512bw+avx512cd+avx512dq+avx512vl+avx2+bmi1+bmi2", "x86_64+avx2+bmi1+bmi2"))]
pub(super) fn turn(re: &mut [f64], im: &mut [f64], turn_re: &[f64], turn_im: &[f64]) {
    for (((x, y), a), b) in re.iter_mut().zip(im).zip(turn_re).zip(turn_im) {
        (*x, *y) = (*x * a - *y * b, *x * b + *y * a);
    }
}

/// The scalar product, in sixteen running sums.
#[multiversion(targets("x86_64+avx512f+avx512bw+avx512cd+avx512dq+avx512vl+avx2+bmi1+bmi2", "x86_64+avx2+bmi1+bmi2"))]
pub(super) fn dot(a: &[f64], b: &[f64]) -> f64 {
    let mut sums = [0.0; 16];
    let (a_parts, b_parts) = (a.chunks_exact(16), b.chunks_exact(16));
    let rest: f64 = a_parts.remainder().iter().zip(b_parts.remainder()).map(|(x, y)| x * y).sum();
    for (x, y) in a_parts.zip(b_parts) {
        for k in 0..16 {
            sums[k] += x[k] * y[k];
        }
    }
    sums.iter().sum::<f64>() + rest
}

/// The sum, in eight running sums.
pub(super) fn sum(values: &[f64]) -> f64 {
    let parts = values.chunks_exact(8);
    let rest: f64 = parts.remainder().iter().sum();
    let mut sums = [0.0; 8];
    for part in parts {
        for k in 0..8 {
            sums[k] += part[k];
        }
    }
    sums.iter().sum::<f64>() + rest
}

/// Mean and variance of values with weights of this total.
#[multiversion(targets("x86_64+avx512f+avx512bw+avx512cd+avx512dq+avx512vl+avx2+bmi1+bmi2", "x86_64+avx2+bmi1+bmi2"))]
pub(super) fn mean_and_variance(values: &[f64], weights: &[f64], total: f64) -> (f64, f64) {
    let mut sums = [0.0; 8];
    let parts = || values.chunks_exact(8).zip(weights.chunks_exact(8));
    let rest = || {
        let done = values.len() / 8 * 8;
        values[done..].iter().zip(&weights[done..])
    };
    for (x, w) in parts() {
        for k in 0..8 {
            sums[k] += w[k] * x[k];
        }
    }
    let mean = (sums.iter().sum::<f64>() + rest().map(|(x, w)| w * x).sum::<f64>()) / total;
    sums = [0.0; 8];
    for (x, w) in parts() {
        for k in 0..8 {
            sums[k] += w[k] * ((x[k] - mean) * (x[k] - mean));
        }
    }
    let around = |(x, w): (&f64, &f64)| w * ((x - mean) * (x - mean));
    (mean, (sums.iter().sum::<f64>() + rest().map(around).sum::<f64>()) / total)
}

#[cfg(test)]
mod tests {
    use super::*;

    const UNIT: f64 = 0.5 * f64::EPSILON;

    /// `libm` is within one unit in the last place, two of ours; at least half of each bound must remain unused.
    #[test]
    fn errors_stay_well_within_their_bounds() {
        let mut worst = [0.0_f64; 6];
        let mut note = |which: usize, found: f64, truth: f64, scale: f64| {
            let off = (found - truth).abs() / (scale * UNIT);
            assert!(!off.is_nan(), "{which}: {found} and {truth}");
            worst[which] = worst[which].max(off);
        };
        for i in -200_000..=200_000_i32 {
            let t = f64::from(i) / 200_000.0;
            for x in [t, 700.0 * t, 3.0 * t, 1e-6 * t] {
                let (grown, less_one) = exp(x);
                note(0, grown, libm::exp(x), libm::exp(x));
                note(1, less_one, libm::expm1(x), libm::expm1(x).abs().max(1e-300));
                note(5, super::less_one(0.01 * x), libm::expm1(0.01 * x), libm::expm1(0.01 * x).abs().max(1e-300));
            }
            for y in [
                t * 0.999_999,
                1e-9 * t,
                libm::exp(690.0 * t) - 0.9,
                t.abs() * 5.0,
                -1.0 + libm::exp(-30.0 * t.abs()) + 1e-15,
            ] {
                note(2, ln_1p(y), libm::log1p(y), libm::log1p(y).abs().max(1e-300));
            }
            for x in [t * 10.0, t * LARGEST_ANGLE, t * 1e-4, f64::from(i) * std::f64::consts::FRAC_PI_4] {
                let (sin, cos) = sin_cos(x);
                note(3, sin, libm::sin(x), 1.0);
                note(4, cos, libm::cos(x), 1.0);
            }
        }
        println!("largest errors, in units of 2^-53: {worst:?}");
        for (worst, bound) in worst.iter().zip([4.0, 8.0, 6.0, 4.0, 4.0, 3.0]) {
            assert!(*worst <= 0.75 * bound + 2.0, "{worst} of {bound}");
        }
    }

    #[test]
    fn ends_of_the_range() {
        assert_eq!(exp(0.0), (1.0, 0.0));
        assert!(exp(-1e300).0 < 1e-307 && exp(-1e300).1 == -1.0);
        assert_eq!(ln_1p(0.0), 0.0);
        assert!((ln_1p(1e304) - libm::log(1e304)).abs() < 1e-12);
        assert_eq!(sin_cos(0.0), (0.0, 1.0));
        let (mut cos, mut sin) = ([0.0], [0.0]);
        circle(1.0, &[1e9], &mut cos, &mut sin);
        assert_eq!((sin[0], cos[0]), libm::sincos(1e9));
    }
}
