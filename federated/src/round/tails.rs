//! Exact tails of the hypergeometric distribution: how many bad ones a random neighbourhood holds.

/// Relative safety margin on every tail: logarithms of factorials below 2^17 are summed with an absolute error under
/// 1e-8, four of them enter each term, and the terms are positive, so a tail is off by less than 1e-7 of itself.
const OUTWARD: f64 = 1.0 + 1e-6;

/// Logarithms of factorials up to a population.
pub(crate) struct Factorials(Vec<f64>);

impl Factorials {
    pub(crate) fn up_to(population: u32) -> Self {
        let mut sums = Vec::with_capacity(population as usize + 1);
        // Kahan's compensated sum keeps the error near one unit in the last place of the total.
        let (mut sum, mut lost) = (0.0_f64, 0.0_f64);
        sums.push(0.0);
        for i in 1..=population {
            let term = f64::from(i).ln() - lost;
            let next = sum + term;
            lost = (next - sum) - term;
            sum = next;
            sums.push(sum);
        }
        Self(sums)
    }

    fn ln_choose(&self, n: u32, k: u32) -> f64 {
        self.0[n as usize] - self.0[k as usize] - self.0[(n - k) as usize]
    }

    /// An upper bound, tight to a millionth, on P[X >= least], where X counts the marked ones among `drawn` drawn
    /// without replacement from `population` of which `marked` are marked.
    pub(crate) fn at_least(&self, population: u32, marked: u32, drawn: u32, least: u32) -> f64 {
        let most = marked.min(drawn);
        let first = least.max((drawn + marked).saturating_sub(population));
        let all = self.ln_choose(population, drawn);
        let tail: f64 = (first..=most)
            .map(|i| (self.ln_choose(marked, i) + self.ln_choose(population - marked, drawn - i) - all).exp())
            .sum();
        (tail * OUTWARD).min(1.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tails_agree_with_whole_numbers() {
        let choose = |n: u128, k: u128| (0..k).fold(1_u128, |c, i| c * (n - i) / (i + 1));
        let factorials = Factorials::up_to(60);
        for (population, marked, drawn) in [(60, 11, 20), (45, 30, 9), (12, 5, 10), (10, 0, 4), (9, 9, 4)] {
            for least in 0..=drawn + 1 {
                let ways: u128 = (least..=drawn.min(marked))
                    .filter(|&i| drawn - i <= population - marked)
                    .map(|i| choose(marked.into(), i.into()) * choose((population - marked).into(), (drawn - i).into()))
                    .sum();
                let exact = ways as f64 / choose(population.into(), drawn.into()) as f64;
                let bound = factorials.at_least(population, marked, drawn, least);
                assert!(
                    exact <= bound && bound <= exact * (1.0 + 2e-6) + 1e-300,
                    "{population} {marked} {drawn} {least}"
                );
            }
        }
    }
}
