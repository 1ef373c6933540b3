//! An analyst's session: one table, one budget, many questions.

use super::partial::Partial;
use super::plan::Plan;
use super::release::Release;
use crate::Error;
use crate::privacy::{Delta, Epsilon, Rational};
use std::sync::Mutex;

/// A budget for one session. If there is a ledger behind it, both must cover a question.
///
/// Sums are exact and by basic composition, which holds for questions that depend on earlier answers.
#[derive(Debug)]
pub struct Session {
    epsilon: Epsilon,
    delta: Delta,
    spent: Mutex<(Rational, Rational)>,
}

impl Session {
    /// A session that may spend this much.
    #[must_use]
    pub fn new(epsilon: Epsilon, delta: Delta) -> Self {
        Self { epsilon, delta, spent: Mutex::new((Rational::zero(), Rational::zero())) }
    }

    /// What was spent: (epsilon, delta).
    #[must_use]
    pub fn spent(&self) -> (Rational, Rational) {
        self.spent.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).clone()
    }

    /// What is left: (epsilon, delta).
    #[must_use]
    pub fn remaining(&self) -> (Rational, Rational) {
        let (epsilon, delta) = self.spent();
        (self.epsilon.rational() - &epsilon, self.delta.rational() - &delta)
    }

    /// Releases a complete partial if the session's budget covers it and `pay` succeeds, and charges the session first.
    ///
    /// `pay` is the ledger behind the session: it records [`Plan::event`] durably, or refuses; without one it is
    /// `|| Ok(())`. It runs only if the session's budget covers the plan.
    ///
    /// # Errors
    /// [`Error::BudgetExceeded`], and those of `pay`. Nothing was spent then.
    pub fn release(
        &self,
        plan: &Plan,
        partial: Partial,
        pay: impl FnOnce() -> Result<(), Error>,
    ) -> Result<Release, Error> {
        plan.release_after(partial, || {
            let mut spent = self.spent.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
            let next = self.check(&spent, plan)?;
            pay()?;
            *spent = next;
            Ok(())
        })
    }

    /// Whether the session's own budget covers a plan, without spending: so that a refusal costs no work.
    ///
    /// # Errors
    /// [`Error::BudgetExceeded`].
    pub fn covers(&self, plan: &Plan) -> Result<(), Error> {
        self.check(&self.spent(), plan).map(drop)
    }

    fn check(&self, (epsilon, delta): &(Rational, Rational), plan: &Plan) -> Result<(Rational, Rational), Error> {
        let (more_epsilon, more_delta) = plan.cost();
        let next = (epsilon + &more_epsilon, delta + &more_delta);
        if next.0 > *self.epsilon.rational() || next.1 > *self.delta.rational() {
            let (left_epsilon, left_delta) = (self.epsilon.rational() - epsilon, self.delta.rational() - delta);
            let shown = |epsilon: Rational, delta: Rational| {
                format!("epsilon {} and delta {}", epsilon.nearest(), delta.nearest())
            };
            return Err(Error::BudgetExceeded {
                asked: shown(more_epsilon, more_delta),
                remaining: shown(left_epsilon, left_delta),
                rule: "basic",
            });
        }
        Ok(next)
    }
}
