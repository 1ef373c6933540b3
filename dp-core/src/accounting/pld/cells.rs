//! Laws cut into cells: intervals of losses with the exact probabilities of both P and Q.
//!
//! A cell bounds its law from both sides. Merging its outcomes is post-processing, so one outcome of loss ln(p / q) is a
//! lower bound; moving them to the two ends with p and q preserved spreads the likelihood ratio, so two outcomes are an
//! upper one (connect-the-dots, Doroshenko et al. 2022).

use crate::accounting::interval::{Interval, normal_tail};
use crate::accounting::law::{Atoms, Law};

/// Which side of the truth to stay on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    Upper,
    Lower,
}

impl Side {
    /// The end of an interval of privacy that is on this side.
    pub(crate) fn of(self, interval: Interval) -> f64 {
        match self {
            Self::Upper => interval.hi,
            Self::Lower => interval.lo,
        }
    }

    pub(crate) fn opposite(self) -> Self {
        match self {
            Self::Upper => Self::Lower,
            Self::Lower => Self::Upper,
        }
    }
}

/// Outcomes with losses in [low, high], of probabilities p and q, each known to within a relative `error`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cell {
    pub(crate) low: f64,
    pub(crate) high: f64,
    pub(crate) p: f64,
    pub(crate) q: f64,
    pub(crate) error: f64,
}

/// A law in cells, by increasing loss.
#[derive(Clone, Debug)]
pub(crate) struct Cells {
    pub(crate) cells: Vec<Cell>,
    /// P's probability of an infinite loss, or of losses above the last cell: rounded to the side.
    pub(crate) infinite: f64,
    /// Q's probability of outcomes that are impossible under P, or of losses below the first cell.
    pub(crate) missed: f64,
}

/// How finely to cut.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Resolution {
    /// Width of a cell, in units of the loss after sampling.
    pub(crate) width: f64,
    /// Largest width of a cell in the law's own unit, as a part of the width over which its density is smooth.
    pub(crate) fineness: f64,
    /// ln of the tail that may be cut off.
    pub(crate) log_floor: f64,
    /// Power of e^loss under which the law will be tilted.
    pub(crate) tilt: f64,
    /// The sampling rate, by which small losses shrink.
    pub(crate) rate: f64,
    /// For additions, the loss is -ln(1 - q + q e^-l): flat at large l, not at small ones.
    pub(crate) mirrored: bool,
}

impl Resolution {
    /// How much faster l moves than the loss after sampling, at most a billion times.
    fn stretch(self, l: f64) -> f64 {
        let odds = self.rate * libm::exp(if self.mirrored { -l } else { l }.min(700.0));
        1.0 / (odds / (1.0 - self.rate + odds)).max(1e-9)
    }

    /// ln of the tilted probability at loss l, where the law has densities e^log_p and e^(log_p - l).
    fn importance(self, l: f64, log_p: f64) -> f64 {
        let mixed = |l: f64| {
            let t = libm::exp(-l.abs());
            l.max(0.0)
                + libm::log(if l > 0.0 { self.rate + (1.0 - self.rate) * t } else { 1.0 - self.rate + self.rate * t })
        };
        match (self.rate < 1.0, self.mirrored) {
            (false, _) => log_p + self.tilt * l,
            (true, true) => log_p - self.tilt * mixed(-l),
            (true, false) => log_p - l + (self.tilt + 1.0) * mixed(l),
        }
    }

    /// How much wider than `width` a cell may be where the tilted law has only e^log_part of its peak: the error of a cell
    /// grows with the square of its width.
    fn relief(log_part: f64) -> f64 {
        libm::exp((-log_part / 3.0).clamp(0.0, 10.0))
    }
}

pub(crate) fn cells(law: &Law, side: Side, resolution: Resolution) -> Cells {
    match law {
        Law::Gaussian(law) => {
            let sigma = side.opposite().of(law.multiplier);
            normal_cells(1.0 / sigma, side, resolution, None)
        }
        Law::SmoothDiscreteGaussian(law) => {
            let sigma = side.opposite().of(law.sigma);
            normal_cells(law.shift / sigma, side, resolution, Some(sigma))
        }
        Law::Laplace(law) => laplace_cells(side.of(law.largest), resolution),
        Law::Atoms(law) => atom_cells(law, side, resolution),
    }
}

/// Nodes and weights of the Gauss-Legendre rule with five points, on [-1, 1].
const GAUSS: [(f64, f64); 5] = [
    (-0.906_179_845_938_664, 0.236_926_885_056_189_08),
    (-0.538_469_310_105_683_1, 0.478_628_670_499_366_47),
    (0.0, 0.568_888_888_888_888_9),
    (0.538_469_310_105_683_1, 0.478_628_670_499_366_47),
    (0.906_179_845_938_664, 0.236_926_885_056_189_08),
];

/// N(shift, 1) against N(0, 1): the loss at z is shift (z - shift / 2).
///
/// Gauss-Legendre with five points is off by w^11 (5!)^4 / (11 (10!)^3) max |f^(10)|; with (|z| + 3.2) w <= 1/2 at both
/// centres that is below 1e-15 of the cell (|He_10(z)| <= (|z| + 3.2)^10).
///
/// With a grid (a discrete Gaussian of that sigma >= 100) cells end at half-integers, and the density is corrected term by
/// term so that its integral over them is the sum over the integers inside (Euler-Maclaurin for midpoints); the first term
/// left out is below 1e-12 within 13 sigma.
fn normal_cells(shift: f64, side: Side, resolution: Resolution, grid: Option<f64>) -> Cells {
    let reach = (-2.0 * resolution.log_floor).sqrt().max(3.0);
    let (from, to) = (-reach, shift + reach);
    let snap = |z: f64| match grid {
        Some(sigma) => ((z * sigma).floor() + 0.5) / sigma,
        None => z,
    };
    let least = grid.map_or(0.0, |sigma| 1.0 / sigma);
    let loss = |z: f64| shift * (z - 0.5 * shift);
    let density = |z: f64| {
        let corrected = grid.map_or(1.0, |sigma| {
            let (s, x) = (1.0 / (sigma * sigma), z * z);
            let fourth = x * x - 6.0 * x + 3.0;
            let sixth = x * x * x - 15.0 * x * x + 45.0 * x - 15.0;
            1.0 - s * ((x - 1.0) / 24.0 - s * (7.0 * fourth / 5760.0 - s * 31.0 * sixth / 967_680.0))
        });
        libm::exp(-0.5 * z * z) * corrected / std::f64::consts::TAU.sqrt()
    };
    let importance = |z: f64| resolution.importance(loss(z), -0.5 * (z - shift) * (z - shift));
    let peak = (0..=400).map(|i| importance(from + (to - from) * f64::from(i) / 400.0)).fold(f64::MIN, f64::max);
    // Cells never straddle loss zero, where the joined curve of sampling without replacement has its kink.
    let middle = 0.5 * shift;
    let mut cells = Vec::new();
    let mut z = snap(from);
    while z < to {
        let smooth = 0.5 / (z.abs().max((z - shift).abs()) + 3.2);
        let stretch = resolution.stretch(loss(z)) / shift;
        let wanted = resolution.width * Resolution::relief(importance(z) - peak) * stretch;
        let mut next = snap(z + (resolution.fineness * smooth).min(wanted));
        if grid.is_some() && next <= z + 0.5 * least {
            next = snap(z + least);
        }
        // On a grid the outcome of loss zero, if there is one, has a cell of its own.
        let stop = if grid.is_some() { snap(middle - 0.25 * least) } else { middle };
        let stop = if stop > middle { stop - least } else { stop };
        if z < stop - 0.25 * least && next > stop + 0.25 * least {
            next = stop;
        } else if grid.is_some() && z < middle && next > middle {
            next = snap(z + least);
        }
        let (half, centre) = (0.5 * (next - z), 0.5 * (z + next));
        let mass = |offset: f64| -> f64 {
            GAUSS.iter().map(|(x, w)| w * density(centre + half * x - offset)).sum::<f64>() * half
        };
        let (p, q) = (mass(shift), mass(0.0));
        if p > 0.0 && q > 0.0 {
            let error = if grid.is_some() { 3e-12 } else { 6e-15 + z.abs().max((z - shift).abs()).powi(2) * 4e-16 };
            cells.push(Cell { low: loss(z), high: loss(next), p, q, error });
        }
        z = next;
    }
    let tail = normal_tail(Interval::point(reach * (1.0 - 1e-12) - 2.0 * least)).hi;
    // P's outcomes below the first cell are charged to infinity with those above the last.
    let (infinite, missed) = if side == Side::Upper { (2.0 * tail, tail) } else { (0.0, 0.0) };
    Cells { cells, infinite, missed }
}

/// Losses between -t and t with densities e^(-(t - l) / 2) / 4 and e^(-(t + l) / 2) / 4, and an atom at each end.
fn laplace_cells(largest: f64, resolution: Resolution) -> Cells {
    let t = largest;
    let (atom, faint) = (0.5, 0.5 * libm::exp(-t));
    let mut cells = vec![Cell { low: -t, high: -t, p: faint, q: atom, error: 2e-15 }];
    let mut l = -t;
    let importance = |l: f64| resolution.importance(l, 0.5 * (l - t));
    let peak = importance(t).max(importance(-t));
    while l < t {
        let smooth = resolution.fineness * (0.1 * t).min(1.0 + 0.1 * (t - l));
        let width = (resolution.width * resolution.stretch(l) * Resolution::relief(importance(l) - peak)).min(smooth);
        let mut next = (l + width).min(t);
        if l < 0.0 && next > 0.0 {
            next = 0.0;
        }
        if t - next < 1e-12 * t || next <= l {
            next = t;
        }
        let half = 0.5 * (next - l);
        let p = 0.5 * libm::exp(-0.5 * (t - l)) * libm::expm1(half);
        let q = -0.5 * libm::exp(-0.5 * (t + l)) * libm::expm1(-half);
        if p > 0.0 && q > 0.0 {
            cells.push(Cell { low: l, high: next, p, q, error: 4e-15 + t * 2.3e-16 });
        }
        l = next;
    }
    cells.push(Cell { low: t, high: t, p: atom, q: faint, error: 2e-15 });
    Cells { cells, infinite: 0.0, missed: 0.0 }
}

/// Neighbouring atoms go into one cell where they are closer than the resolution.
fn atom_cells(law: &Atoms, side: Side, resolution: Resolution) -> Cells {
    let mut cells: Vec<Cell> = Vec::new();
    let (mut q_total, mut dropped) = (0.0, 0.0);
    let width = if resolution.width.is_finite() { resolution.width } else { 0.0 };
    for atom in &law.atoms {
        let (p, q) = (side.of(atom.p), atom.q.mid());
        let error = (atom.q.hi - atom.q.lo) / q.max(1e-320) + (atom.p.hi - atom.p.lo) / p.max(1e-320) + 1e-15;
        q_total += atom.q.lo;
        // An underflowed partner: the loss is known all the same.
        let q = if q > 1e-290 { q } else { p * libm::exp(-atom.loss.mid()) };
        if p <= 1e-290 {
            dropped += 1e-290;
            continue;
        }
        let (low, high) = (atom.loss.lo, atom.loss.hi);
        let error = error.min(1e-6);
        match cells.last_mut() {
            Some(last)
                if high - last.low <= width * resolution.stretch(if resolution.mirrored { last.low } else { high })
                    && (last.low >= 0.0) == (low >= 0.0)
                    && q > 0.0 =>
            {
                last.high = high;
                last.error = last.error.max(error) + 2e-16;
                last.p += p;
                last.q += q;
            }
            _ => cells.push(Cell { low, high, p, q: q.max(0.0), error }),
        }
    }
    let missed = match side {
        Side::Upper => (1.0 - q_total + 1e-13).max(0.0),
        Side::Lower => 0.0,
    };
    let dropped = if side == Side::Upper { dropped } else { 0.0 };
    Cells { cells, infinite: side.of(law.infinite) + dropped, missed }
}
