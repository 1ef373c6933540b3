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
    /// Largest width of a cell, as a part of the width over which the law's density is smooth; at most 1.
    pub(crate) fineness: f64,
    /// ln of the tail that may be cut off.
    pub(crate) log_floor: f64,
}

/// The law in cells. None straddles a stop: `stop(l)` is the next loss above l at which a cell must end.
pub(crate) fn cells(law: &Law, side: Side, resolution: Resolution, stop: &dyn Fn(f64) -> f64) -> Cells {
    match law {
        Law::Gaussian(law) => {
            let sigma = side.opposite().of(law.multiplier);
            normal_cells(1.0 / sigma, side, resolution, None, stop)
        }
        Law::SmoothDiscreteGaussian(law) => {
            let sigma = side.opposite().of(law.sigma);
            normal_cells(law.shift / sigma, side, resolution, Some(sigma), stop)
        }
        Law::Laplace(law) => laplace_cells(side.of(law.largest), resolution, stop),
        Law::Atoms(law) => atom_cells(law, side),
    }
}

/// Nodes and weights of the Gauss-Legendre rules on [-1, 1].
const GAUSS: [&[(f64, f64)]; 3] = [
    &[(-0.577_350_269_189_625_8, 1.0), (0.577_350_269_189_625_8, 1.0)],
    &[
        (-0.774_596_669_241_483_4, 0.555_555_555_555_555_6),
        (0.0, 0.888_888_888_888_888_8),
        (0.774_596_669_241_483_4, 0.555_555_555_555_555_6),
    ],
    &[
        (-0.906_179_845_938_664, 0.236_926_885_056_189_08),
        (-0.538_469_310_105_683_1, 0.478_628_670_499_366_47),
        (0.0, 0.568_888_888_888_888_9),
        (0.538_469_310_105_683_1, 0.478_628_670_499_366_47),
        (0.906_179_845_938_664, 0.236_926_885_056_189_08),
    ],
];

/// The rule for cells of x = (|z| + 3.2) w. With n points it is off by w^(2n + 1) (n!)^4 / ((2n + 1) (2n)!^3) max |f^(2n)|,
/// and |He_k(z)| <= (|z| + 3.2)^k for k <= 10: relative to the cell 2.4e-4 x^4, 5e-7 x^6 and 2.4e-13 x^10 (at x = 1/2, with
/// what the density varies over the cell, 4e-16): below 1e-15 each.
fn rule(x: f64) -> &'static [(f64, f64)] {
    if x < 1.4e-3 {
        GAUSS[0]
    } else if x < 0.035 {
        GAUSS[1]
    } else {
        GAUSS[2]
    }
}

/// N(shift, 1) against N(0, 1): the loss at z is shift (z - shift / 2).
///
/// Cells are so narrow that (|z| + 3.2) w <= 1/2 at both centres, and integrated by Gauss and Legendre.
///
/// With a grid (a discrete Gaussian of that sigma >= 100) cells end at half-integers, and the density is corrected term by
/// term so that its integral over them is the sum over the integers inside (Euler-Maclaurin for midpoints).
fn normal_cells(shift: f64, side: Side, resolution: Resolution, grid: Option<f64>, stop: &dyn Fn(f64) -> f64) -> Cells {
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
    // Cells never straddle loss zero, where the joined curve of sampling without replacement has its kink.
    let middle = 0.5 * shift;
    let mut cells = Vec::new();
    let mut z = snap(from);
    while z < to {
        let smooth = 0.5 / (z.abs().max((z - shift).abs()) + 3.2);
        let wanted = z + resolution.fineness * smooth;
        let stop = stop(loss(z)) / shift + 0.5 * shift;
        let mut next = snap(if stop < wanted { stop } else { wanted });
        if grid.is_some() {
            // At least one outcome; and that of loss zero, if there is one, has a cell of its own.
            let zero = snap(middle - 0.25 * least);
            let zero = if zero > middle { zero - least } else { zero };
            if next <= z + 0.5 * least || (z < middle && next > middle) {
                next = snap(z + least);
            }
            if z < zero - 0.25 * least && next > zero + 0.25 * least {
                next = zero;
            }
        } else if z < middle && next > middle {
            next = middle;
        }
        let (half, centre) = (0.5 * (next - z), 0.5 * (z + next));
        let nodes = rule((next - z) * 0.5 / smooth);
        let mass = |offset: f64| -> f64 {
            nodes.iter().map(|(x, w)| w * density(centre + half * x - offset)).sum::<f64>() * half
        };
        let (p, q) = (mass(shift), mass(0.0));
        // One of them may underflow, where the loss is large.
        if p > 0.0 || q > 0.0 {
            let far = (next.abs() + z.abs()).max((next - shift).abs() + (z - shift).abs());
            let rounding = 6e-15 + far * far * 8e-16;
            // The first term that was left out, 127 / 154828800 He_8(z) / sigma^8, with |He_8(z)| <= (|z| + 3.2)^8.
            let euler = grid.map_or(0.0, |sigma| 3e-14 + 2e-6 * ((far + 3.2) / sigma).powi(8));
            let (low, high) = (loss(z + 0.5 * least), loss(next - 0.5 * least));
            let high = if high < low { low } else { high };
            cells.push(Cell { low, high, p, q, error: rounding + euler });
        }
        z = next;
    }
    let tail = normal_tail(Interval::point(reach * (1.0 - 1e-12) - 2.0 * least)).hi;
    // P's outcomes below the first cell are charged to infinity with those above the last.
    let (infinite, missed) = if side == Side::Upper { (2.0 * tail, tail) } else { (0.0, 0.0) };
    Cells { cells, infinite, missed }
}

/// Losses between -t and t with densities e^(-(t - l) / 2) / 4 and e^(-(t + l) / 2) / 4, and an atom at each end.
fn laplace_cells(largest: f64, resolution: Resolution, stop: &dyn Fn(f64) -> f64) -> Cells {
    let t = largest;
    let (atom, faint, error) = (0.5, 0.5 * libm::exp(-t), 4e-15 + t * 2.3e-16);
    let mut cells = vec![Cell { low: -t, high: -t, p: faint, q: atom, error }];
    let mut l = -t;
    while l < t {
        let wanted = l + resolution.fineness * (0.1 * t).min(1.0 + 0.1 * (t - l));
        let stop = stop(l);
        let mut next = (if stop < wanted { stop } else { wanted }).min(t);
        if l < 0.0 && next > 0.0 {
            next = 0.0;
        }
        if t - next < 1e-12 * t || next <= l {
            next = t;
        }
        let half = 0.5 * (next - l);
        let p = 0.5 * libm::exp(-0.5 * (t - l)) * libm::expm1(half);
        let q = -0.5 * libm::exp(-0.5 * (t + l)) * libm::expm1(-half);
        if p > 0.0 || q > 0.0 {
            cells.push(Cell { low: l, high: next, p, q, error });
        }
        l = next;
    }
    cells.push(Cell { low: t, high: t, p: atom, q: faint, error });
    Cells { cells, infinite: 0.0, missed: 0.0 }
}

/// Probabilities below this are charged, not listed.
const TINY: f64 = 1e-290;

/// One cell for each atom.
fn atom_cells(law: &Atoms, side: Side) -> Cells {
    let mut cells: Vec<Cell> = Vec::with_capacity(law.atoms.len());
    let mut dropped = 0.0;
    for atom in &law.atoms {
        let (mut p, mut q) = (side.of(atom.p), atom.q.mid());
        if p <= TINY && q <= TINY {
            dropped += TINY;
            continue;
        }
        // The loss is known better than a partner that underflowed.
        let loss = atom.loss.mid();
        let mut error = (atom.loss.hi - atom.loss.lo) + 4.0 * f64::EPSILON * (1.0 + loss.abs());
        if p > TINY {
            error += (atom.p.hi - atom.p.lo) / p;
            q = p * libm::exp(-loss);
        } else {
            error += (atom.q.hi - atom.q.lo) / q;
            p = q * libm::exp(loss);
        }
        cells.push(Cell { low: atom.loss.lo, high: atom.loss.hi, p, q, error });
    }
    let (missed, dropped) = if side == Side::Upper { (law.missed + dropped, dropped) } else { (0.0, 0.0) };
    Cells { cells, infinite: side.of(law.infinite) + dropped, missed }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::accounting::law::Gaussian;

    /// On the upper side nothing of either law is lost, however coarse the cut: what is outside the cells is charged.
    #[test]
    fn what_is_cut_off_is_charged() {
        for (sigma, log_floor) in [(0.3, -5.0), (1.0, -6.0), (2.0, -9.0), (20.0, -12.0)] {
            let law = Law::Gaussian(Gaussian { multiplier: Interval::point(sigma) });
            let resolution = Resolution { fineness: 1.0, log_floor };
            let stop = |_: f64| f64::INFINITY;
            let all = cells(&law, Side::Upper, resolution, &stop);
            let p: f64 = all.cells.iter().map(|cell| cell.p).sum();
            let q: f64 = all.cells.iter().map(|cell| cell.q).sum();
            // Q beyond the last cell is paired with P's infinite losses, and so need not be anywhere.
            let reach = (-2.0_f64 * log_floor).sqrt().max(3.0);
            let beyond = normal_tail(Interval::point(1.0 / sigma + reach)).hi;
            assert!(p < 1.0 - 1e-9 && p + all.infinite >= 1.0 - 1e-13, "sigma {sigma}: {p} and {}", all.infinite);
            assert!(q + all.missed + beyond >= 1.0 - 1e-13, "sigma {sigma}: {q} and {}", all.missed);
            let lower = cells(&law, Side::Lower, resolution, &stop);
            assert_eq!((lower.infinite, lower.missed), (0.0, 0.0));
        }
    }
}
