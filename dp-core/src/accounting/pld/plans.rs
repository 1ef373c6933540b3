//! Plans of real Fourier transforms, which take longer to make than to carry out: kept for a thread's next answers.

use realfft::{RealFftPlanner, RealToComplex};
use std::cell::RefCell;
use std::sync::Arc;

/// Plans are forgotten before they are for more points than this together, of some 24 bytes each, but for the last one's own.
const MOST_KEPT: usize = 1 << 19;

#[derive(Default)]
struct Plans {
    planner: Option<RealFftPlanner<f64>>,
    lengths: Vec<usize>,
}

thread_local! {
    static PLANS: RefCell<Plans> = RefCell::default();
}

/// The transform of so many real points.
pub(super) fn forward(points: usize) -> Arc<dyn RealToComplex<f64>> {
    PLANS.with_borrow_mut(|Plans { planner, lengths }| {
        if !lengths.contains(&points) {
            if lengths.iter().sum::<usize>() + points > MOST_KEPT {
                (*planner, *lengths) = (None, Vec::new());
            }
            lengths.push(points);
        }
        planner.get_or_insert_with(RealFftPlanner::new).plan_fft_forward(points)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plans_are_kept_while_they_are_short_and_few() {
        let first = forward(96);
        assert!(Arc::ptr_eq(&first, &forward(96)));
        forward(1 << 19);
        assert!(!Arc::ptr_eq(&first, &forward(96)), "forgotten for a long one");
        assert_eq!(PLANS.with_borrow(|plans| plans.lengths.clone()), [96], "which goes in its turn");
    }
}
