//! Laws cut into cells: intervals of losses with the exact probabilities of both P and Q.
//!
//! A cell bounds its law from both sides. Merging its outcomes is post-processing, so one outcome of loss ln(p / q) is a
//! lower bound; moving them to the two ends with p and q preserved spreads the likelihood ratio, so two outcomes are an
//! upper one (connect-the-dots, Doroshenko et al. 2022).

use super::elementary::bells;
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

/// What the cells of a law leave out.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Outside {
    /// P's probability of an infinite loss, or of losses above the last cell: rounded to the side.
    pub(crate) infinite: f64,
    /// Q's probability of outcomes that are impossible under P, or of losses below the first cell.
    pub(crate) missed: f64,
}

impl Outside {
    /// As much on the upper side; nothing on the lower one.
    fn charged(side: Side, infinite: f64, missed: f64) -> Self {
        if side == Side::Upper { Self { infinite, missed } } else { Self { infinite: 0.0, missed: 0.0 } }
    }
}

/// How finely to cut.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Resolution {
    /// Largest width of a cell, as a part of the width over which the law's density is smooth; at most 1.
    pub(crate) fineness: f64,
    /// ln of the tail that may be cut off.
    pub(crate) log_floor: f64,
}

/// Losses in increasing order, between the two given ones, at which cells must end.
pub(crate) type Stops<'a> = &'a dyn Fn(f64, f64) -> Vec<f64>;

/// The law in cells, by increasing loss, some at a time. None straddles a stop.
pub(crate) fn cells(
    law: &Law,
    side: Side,
    resolution: Resolution,
    stops: Stops<'_>,
    each: &mut dyn FnMut(&[Cell]),
) -> Outside {
    match law {
        Law::Gaussian(law) => {
            let sigma = side.opposite().of(law.multiplier);
            normal_cells(1.0 / sigma, side, resolution, None, stops, each)
        }
        Law::SmoothDiscreteGaussian(law) => {
            let sigma = side.opposite().of(law.sigma);
            normal_cells(law.shift / sigma, side, resolution, Some(sigma), stops, each)
        }
        Law::Laplace(law) => laplace_cells(side.of(law.largest), resolution, stops, each),
        Law::Atoms(law) => atom_cells(law, side, each),
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
fn rule(x: f64) -> usize {
    if x < 1.4e-3 {
        0
    } else if x < 0.035 {
        1
    } else {
        2
    }
}

/// How far from the centre of a normal law its tail is e^log_floor, or less.
pub(super) fn normal_reach(log_floor: f64) -> f64 {
    (-2.0 * log_floor).sqrt().max(3.0)
}

/// Beyond so many standard deviations e^(-z^2 / 2) is evaluated with care: it may underflow.
const FAR: f64 = 37.0;

/// Most cells of one law; one that takes more is not known at all.
const MOST_CELLS: f64 = 1e6;

/// N(shift, 1) against N(0, 1): the loss at z is shift (z - shift / 2).
///
/// Cells are so narrow that (|z| + 3.2) w <= 1/2 at both centres, and integrated by Gauss and Legendre. Where the two laws
/// hardly meet, what lies between them is charged as what lies outside is.
///
/// With a grid (a discrete Gaussian of that sigma >= 100) cells end at half-integers, and the density is corrected term by
/// term so that its integral over them is the sum over the integers inside (Euler-Maclaurin for midpoints).
fn normal_cells(
    shift: f64,
    side: Side,
    resolution: Resolution,
    grid: Option<f64>,
    stops: Stops<'_>,
    each: &mut dyn FnMut(&[Cell]),
) -> Outside {
    let reach = normal_reach(resolution.log_floor);
    let least = grid.map_or(0.0, |sigma| 1.0 / sigma);
    let tail = normal_tail(Interval::point(reach * (1.0 - 1e-12) - 2.0 * least)).hi;
    // P's outcomes below the first cell are charged to infinity with those above the last; so is Q's probability, on both
    // sides, to what is missed.
    let ranges: &[(f64, f64)] = if shift > 2.0 * reach + 1.0 {
        &[(-reach, reach), (shift - reach, shift + reach)]
    } else {
        &[(-reach, shift + reach)]
    };
    let expected = 8.0 * reach * (shift + reach + 3.2) / resolution.fineness;
    if expected.is_nan() || expected > MOST_CELLS {
        return Outside::charged(side, 1.0, 1.0);
    }
    for range in ranges {
        let loss = |z: f64| shift * (z - 0.5 * shift);
        // The last cell may end beyond the range, and on a grid the first begin below it.
        let stops = stops(loss(range.0 - 2.0 * least), loss(range.1 + 0.2 + 2.0 * least));
        normal_edges(shift, *range, resolution.fineness, grid, &stops, &mut |edges| {
            each(&normal_range(shift, edges, grid));
        });
    }
    Outside::charged(side, 2.0 * tail, 2.0 * tail)
}

/// The cells between these edges.
fn normal_range(shift: f64, edges: &[Edge], grid: Option<f64>) -> Vec<Cell> {
    let least = grid.map_or(0.0, |sigma| 1.0 / sigma);
    let s = least * least;
    let loss = |z: f64| shift * (z - 0.5 * shift);
    let count = edges.len() - 1;
    let (mut centres, mut halves) = (Vec::with_capacity(count), Vec::with_capacity(count));
    for ends in edges.windows(2) {
        halves.push(0.5 * (ends[1].z - ends[0].z));
        centres.push(0.5 * (ends[0].z + ends[1].z));
    }
    let (mut p, mut q) = (vec![0.0; count], vec![0.0; count]);
    let mut k = 0;
    for run in edges[..count].chunk_by(|a, b| a.rule == b.rule) {
        let here = k..k + run.len();
        let places = (&centres[here.clone()], &halves[here.clone()]);
        bells(GAUSS[run[0].rule], shift, s, places, &mut p[here.clone()]);
        bells(GAUSS[run[0].rule], 0.0, s, places, &mut q[here.clone()]);
        k = here.end;
    }
    let mut cells = Vec::with_capacity(count);
    for (k, ends) in edges.windows(2).enumerate() {
        let (z, next) = (ends[0].z, ends[1].z);
        if z.abs().max(next.abs()).max((z - shift).abs()).max((next - shift).abs()) > FAR {
            let slow = |mean| slow_bell(GAUSS[ends[0].rule], mean, s, centres[k], halves[k]);
            (p[k], q[k]) = (slow(shift), slow(0.0));
        }
        // One of them may underflow, where the loss is large.
        if p[k] > 0.0 || q[k] > 0.0 {
            let far = (next.abs() + z.abs()).max((next - shift).abs() + (z - shift).abs());
            let rounding = 6e-15 + far * far * 8e-16;
            // The first term that was left out, 127 / 154828800 He_8(z) / sigma^8, with |He_8(z)| <= (|z| + 3.2)^8.
            let euler = grid.map_or(0.0, |sigma| 3e-14 + 2e-6 * ((far + 3.2) / sigma).powi(8));
            let (low, high) = (loss(z + 0.5 * least), loss(next - 0.5 * least));
            let high = if high < low { low } else { high };
            cells.push(Cell { low, high, p: p[k], q: q[k], error: rounding + euler });
        }
    }
    cells
}

/// As `bells`, one cell by one, and without its floor.
fn slow_bell(rule: &[(f64, f64)], mean: f64, s: f64, centre: f64, half: f64) -> f64 {
    let density = |z: f64| {
        let x = z * z;
        let fourth = x * x - 6.0 * x + 3.0;
        let sixth = x * x * x - 15.0 * x * x + 45.0 * x - 15.0;
        let corrected = 1.0 - s * ((x - 1.0) / 24.0 - s * (7.0 * fourth / 5760.0 - s * 31.0 * sixth / 967_680.0));
        libm::exp(-0.5 * x) * corrected / std::f64::consts::TAU.sqrt()
    };
    rule.iter().map(|(x, w)| w * density(centre + half * x - mean)).sum::<f64>() * half
}

/// Where a cell begins, and the rule for it.
#[derive(Clone, Copy)]
struct Edge {
    z: f64,
    rule: usize,
}

/// Where cells begin and end, from one end of the range to the other, some at a time; `stops` are losses.
fn normal_edges(
    shift: f64,
    ends: (f64, f64),
    fineness: f64,
    grid: Option<f64>,
    stops: &[f64],
    each: &mut dyn FnMut(&[Edge]),
) {
    let (from, to) = ends;
    let snap = |z: f64| match grid {
        Some(sigma) => ((z * sigma).floor() + 0.5) / sigma,
        None => z,
    };
    let least = grid.map_or(0.0, |sigma| 1.0 / sigma);
    // Cells never straddle loss zero, where the joined curve of sampling without replacement has its kink.
    let middle = 0.5 * shift;
    let zero = snap(middle - 0.25 * least);
    let zero = if zero > middle { zero - least } else { zero };
    let mut edges = Vec::with_capacity(TOGETHER + 1);
    let mut stops = stops.iter().map(|l| l / shift + middle).peekable();
    let mut z = snap(from);
    while z < to {
        let smooth = 0.5 / (z.abs().max((z - shift).abs()) + 3.2);
        let wanted = z + fineness * smooth;
        while stops.next_if(|stop| *stop <= z).is_some() {}
        let mut next = snap(stops.peek().map_or(wanted, |stop| if *stop < wanted { *stop } else { wanted }));
        if grid.is_some() {
            // At least one outcome; and that of loss zero, if there is one, has a cell of its own.
            if next <= z + 0.5 * least || (z < middle && next > middle) {
                next = snap(z + least);
            }
            if z < zero - 0.25 * least && next > zero + 0.25 * least {
                next = zero;
            }
        } else if z < middle && next > middle {
            next = middle;
        }
        edges.push(Edge { z, rule: rule((next - z) * 0.5 / smooth) });
        z = next;
        if edges.len() == TOGETHER {
            edges.push(Edge { z, rule: 0 });
            each(&edges);
            edges.clear();
        }
    }
    edges.push(Edge { z, rule: 0 });
    each(&edges);
}

/// So many cells are made at a time, few enough to stay in a cache.
const TOGETHER: usize = 512;

/// Losses between -t and t with densities e^(-(t - l) / 2) / 4 and e^(-(t + l) / 2) / 4, and an atom at each end.
fn laplace_cells(largest: f64, resolution: Resolution, stops: Stops<'_>, each: &mut dyn FnMut(&[Cell])) -> Outside {
    let t = largest;
    let stops = stops(-t, t);
    let mut stops = stops.iter().copied().peekable();
    let (atom, faint, error) = (0.5, 0.5 * libm::exp(-t), 4e-15 + t * 2.3e-16);
    let mut cells = vec![Cell { low: -t, high: -t, p: faint, q: atom, error }];
    let mut l = -t;
    while l < t {
        let wanted = l + resolution.fineness * (0.1 * t).min(1.0 + 0.1 * (t - l));
        while stops.next_if(|stop| *stop <= l).is_some() {}
        let mut next = stops.peek().map_or(wanted, |stop| if *stop < wanted { *stop } else { wanted }).min(t);
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
    each(&cells);
    Outside { infinite: 0.0, missed: 0.0 }
}

/// Probabilities below this are charged, not listed.
const TINY: f64 = 1e-290;

/// One cell for each atom.
fn atom_cells(law: &Atoms, side: Side, each: &mut dyn FnMut(&[Cell])) -> Outside {
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
    each(&cells);
    Outside { infinite: side.of(law.infinite) + dropped, missed }
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
            let stops = |_: f64, _: f64| Vec::new();
            let (mut p, mut q) = (0.0, 0.0);
            let all = cells(&law, Side::Upper, resolution, &stops, &mut |cells| {
                p += cells.iter().map(|cell| cell.p).sum::<f64>();
                q += cells.iter().map(|cell| cell.q).sum::<f64>();
            });
            // Q beyond the last cell is paired with P's infinite losses, and so need not be anywhere.
            let reach = normal_reach(log_floor);
            let beyond = normal_tail(Interval::point(1.0 / sigma + reach)).hi;
            assert!(p < 1.0 - 1e-9 && p + all.infinite >= 1.0 - 1e-13, "sigma {sigma}: {p} and {}", all.infinite);
            assert!(q + all.missed + beyond >= 1.0 - 1e-13, "sigma {sigma}: {q} and {}", all.missed);
            let lower = cells(&law, Side::Lower, resolution, &stops, &mut |_| {});
            assert_eq!((lower.infinite, lower.missed), (0.0, 0.0));
        }
    }

    /// Masses by quadrature, wide and narrow, beside differences of the tail.
    #[test]
    fn masses_are_within_their_errors() {
        for (sigma, step) in [(0.3, 0.5), (1.0, 0.02), (1.0, 10.0), (3.0, 0.001), (0.05, 100.0)] {
            let law = Law::Gaussian(Gaussian { multiplier: Interval::point(sigma) });
            let shift = 1.0 / sigma;
            let stops = |low: f64, high: f64| {
                let (first, last) = ((low / step).ceil() as i64, (high / step).floor() as i64);
                (first..=last).map(|k| k as f64 * step).collect()
            };
            let resolution = Resolution { fineness: 1.0, log_floor: -100.0 };
            cells(&law, Side::Upper, resolution, &stops, &mut |cells| {
                for cell in cells {
                    let place =
                        |loss: f64| Interval::point(loss) / Interval::point(shift) + Interval::point(0.5 * shift);
                    for (mass, mean) in [(cell.p, shift), (cell.q, 0.0)] {
                        let (a, b) =
                            (place(cell.low) - Interval::point(mean), place(cell.high) - Interval::point(mean));
                        // Where the cell lies below the mean, by its mirror image.
                        let exact = if a.lo >= 0.0 {
                            normal_tail(a) - normal_tail(b)
                        } else {
                            normal_tail(-b) - normal_tail(-a)
                        };
                        let room = cell.error * mass + 2.0 * (exact.hi - exact.lo) + 1e-300;
                        assert!((mass - exact.mid()).abs() <= room, "sigma {sigma}: {cell:?}, {exact:?}");
                    }
                }
            });
        }
    }
}
