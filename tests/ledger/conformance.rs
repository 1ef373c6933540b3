//! What every ledger must do, wherever it keeps its rows.

use veilsum_dp_core::Error;
use veilsum_dp_core::accounting::Event;
use veilsum_dp_core::accounting::filter::Order;
use veilsum_dp_core::ledger::{Budget, Ledger, Policy, Spend};
use veilsum_dp_core::privacy::{Delta, Epsilon, Positive, Rational};
use veilsum_dp_core::sensitivity::Neighbors;

pub(crate) type Make<'a> = &'a mut dyn FnMut(Policy) -> Box<dyn Ledger>;

pub(crate) fn epsilon(x: f64) -> Epsilon {
    Epsilon::from_decimal(x).expect("valid epsilon")
}

pub(crate) fn delta(x: f64) -> Delta {
    Delta::from_decimal(x).expect("valid delta")
}

fn number(text: &str) -> Rational {
    text.parse().expect("a number")
}

pub(crate) fn policy(budget: Budget) -> Policy {
    Policy { dataset: "survey".into(), unit: "person".into(), neighbors: Neighbors::AddRemove, budget }
}

pub(crate) fn zcdp_policy() -> Policy {
    policy(Budget::zcdp(epsilon(1.0), delta(1e-6)).expect("valid"))
}

/// Policies that differ from [`zcdp_policy`] in one field each, and the field's name.
pub(crate) fn other_policies(made: &Policy) -> Vec<(Policy, &'static str)> {
    let budget = |budget: Result<Budget, Error>| Policy { budget: budget.expect("valid"), ..made.clone() };
    vec![
        (Policy { dataset: "another".into(), ..made.clone() }, "dataset"),
        (Policy { unit: "household".into(), ..made.clone() }, "unit"),
        (Policy { neighbors: Neighbors::ReplaceOne, ..made.clone() }, "neighbors"),
        (budget(Ok(Budget::Basic { epsilon: epsilon(1.0), delta: delta(1e-6) })), "filter"),
        (budget(Budget::zcdp(epsilon(1.1), delta(1e-6))), "epsilon"),
        (budget(Budget::zcdp(epsilon(1.0), delta(1e-5))), "delta"),
        (budget(Budget::zcdp_with_event_delta(epsilon(1.0), delta(1e-6), number("1e-7"))), "event_delta"),
        (
            budget(
                Order::new(number("32"))
                    .and_then(|order| Budget::zcdp_at_order(epsilon(1.0), delta(1e-6), number("5e-7"), order)),
            ),
            "order",
        ),
    ]
}

pub(crate) fn pure(total: f64) -> Policy {
    policy(Budget::Pure { epsilon: epsilon(total) })
}

pub(crate) fn spend_of(x: f64) -> Spend {
    Spend::new(Event::Pure { epsilon: epsilon(x) })
}

pub(crate) fn gaussian(noise_multiplier: f64) -> Event {
    Event::Gaussian { noise_multiplier: Positive::from_f64("z", noise_multiplier).expect("valid") }
}

/// Runs every check on fresh ledgers from `make`.
pub(crate) fn suite(make: Make<'_>) {
    exact_sum(&*make(pure(1.0)), 100);
    mixed_denominators(make);
    hostile_denominators(make);
    refusals(make);
    basic(make);
    zcdp(make);
    replace_one(make);
    keys(make);
    crash_between(make);
    race_under_one_key(make);
    history_and_head(make);
    threads(make);
}

/// `n` spends of 1/n are exactly one.
pub(crate) fn exact_sum(ledger: &dyn Ledger, n: u32) {
    let part = Rational::new(1, i128::from(n)).expect("n > 0");
    let spend = Spend::new(Event::Pure { epsilon: Epsilon::new(part.clone()).expect("> 0") });
    for _ in 0..n {
        ledger.spend(&spend).expect("it fits");
    }
    assert_eq!(ledger.spent().expect("readable").epsilon, Rational::one());
    assert_eq!(ledger.remaining().expect("readable").epsilon, Rational::zero());
    assert!(matches!(ledger.spend(&spend), Err(Error::BudgetExceeded { .. })));
    assert!(matches!(ledger.spend(&spend_of(2.3e-308)), Err(Error::BudgetExceeded { .. })));
    ledger.verify(None).expect("whole");
}

fn mixed_denominators(make: Make<'_>) {
    let ledger = make(pure(1.0));
    for text in ["1/3", "1/7", "1/2", "1/42"] {
        let spend = Spend::new(Event::Pure { epsilon: Epsilon::new(number(text)).expect("> 0") });
        ledger.spend(&spend).expect("it fits");
    }
    assert_eq!(ledger.spent().expect("readable").epsilon, Rational::one());
}

/// Sums with ever new denominators stay at or above the truth, and small.
fn hostile_denominators(make: Make<'_>) {
    let ledger = make(pure(1000.0));
    let mut truth = 0.0;
    for i in 0..600_u64 {
        let denominator = i128::from(u64::MAX - 2 * i);
        let part = Rational::new(i128::from(1_u64 << 62), denominator).expect("not zero");
        truth += part.nearest();
        ledger.spend(&Spend::new(Event::Pure { epsilon: Epsilon::new(part).expect("> 0") })).expect("it fits");
    }
    let spent = ledger.spent().expect("readable").epsilon;
    assert!((spent.nearest() / truth - 1.0).abs() < 1e-12);
    assert!(spent.to_string().len() < 3000, "the sum grew to {} digits", spent.to_string().len());
    ledger.verify(None).expect("whole");
}

fn refusals(make: Make<'_>) {
    let ledger = make(pure(1.0));
    for (event, kind) in [
        (gaussian(1.0), "gaussian"),
        (Event::Approximate { epsilon: number("0.1"), delta: delta(1e-6) }, "approximate"),
        (Event::RandomizedResponse { epsilon: epsilon(0.1), categories: 2 }, "randomized_response"),
        (Event::PoissonSampled { rate: number("0.1"), event: Box::new(gaussian(1.0)) }, "poisson_sampled"),
    ] {
        match ledger.spend(&Spend::new(event)) {
            Err(Error::UnsupportedEvent { event, .. }) => assert_eq!(event, kind),
            other => panic!("{kind}: {other:?}"),
        }
    }
    for event in [
        Event::Approximate { epsilon: Rational::zero(), delta: delta(0.0) },
        Event::Approximate { epsilon: number("-0.1"), delta: delta(0.0) },
        Event::Approximate { epsilon: number("1e-320"), delta: delta(0.0) },
        Event::Composed { events: vec![] },
        Event::Composed { events: vec![(Event::Pure { epsilon: epsilon(0.1) }, 0)] },
        Event::DiscreteLaplace { scale: Positive::one(), sensitivity: 0 },
    ] {
        assert!(matches!(ledger.spend(&Spend::new(event.clone())), Err(Error::OutOfRange { .. })), "{event:?}");
    }
    assert_eq!(ledger.spent().expect("readable").epsilon, Rational::zero());
    let laplace = Event::Laplace { noise_multiplier: Positive::from_f64("z", 4.0).expect("valid") };
    ledger.spend(&Spend::new(laplace.clone())).expect("a quarter");
    ledger.spend(&Spend::new(Event::Composed { events: vec![(laplace, 2)] })).expect("two quarters");
    assert_eq!(ledger.remaining().expect("readable").epsilon, number("1/4"));
    assert!(matches!(ledger.spend(&spend_of(0.26)), Err(Error::BudgetExceeded { .. })));
    ledger.spend(&spend_of(0.25)).expect("the last quarter");
}

fn basic(make: Make<'_>) {
    let ledger = make(policy(Budget::Basic { epsilon: epsilon(1.0), delta: delta(1e-6) }));
    let part = Spend::new(Event::Approximate { epsilon: number("0.1"), delta: delta(4e-7) });
    ledger.spend(&part).expect("it fits");
    ledger.spend(&part).expect("it fits");
    assert!(matches!(ledger.spend(&part), Err(Error::BudgetExceeded { .. })), "delta is the limit here");
    ledger.spend(&spend_of(0.8)).expect("the rest of epsilon");
    assert_eq!(ledger.remaining().expect("readable").delta, number("2e-7"));
    assert!(matches!(ledger.spend(&Spend::new(gaussian(10.0))), Err(Error::UnsupportedEvent { .. })));
}

fn zcdp(make: Make<'_>) {
    let budget = Budget::zcdp(epsilon(1.0), delta(1e-6)).expect("valid");
    let ledger = make(policy(budget));
    let small = Spend::new(Event::Pure { epsilon: epsilon(0.01) });
    let (mut spends, mut before) = (0, Rational::zero());
    while ledger.spend(&small).is_ok() {
        spends += 1;
        let spent = ledger.spent().expect("readable");
        assert!(spent.epsilon >= before && spent.epsilon <= Rational::one() && spent.delta <= number("1e-6"));
        before = spent.epsilon;
    }
    assert!(spends > 200, "{spends} spends of 0.01: better than summing");
    assert!(matches!(ledger.spend(&small), Err(Error::BudgetExceeded { rule: "zcdp", .. })));

    // Gaussian noise: rho at the limit is (sqrt(1 + L) - sqrt(L))^2 or a little more, with L = ln(2e6).
    let ledger = make(policy(Budget::zcdp(epsilon(1.0), delta(1e-6)).expect("valid")));
    let noise = Spend::new(gaussian(50.0));
    let fitted = (0..).take_while(|_| ledger.spend(&noise).is_ok()).count();
    assert!((85..130).contains(&fitted), "{fitted} Gaussians of multiplier 50");
    assert!(ledger.spent().expect("readable").epsilon > number("0.98"));

    // Deltas of events add up in their own share.
    let ledger = make(policy(Budget::zcdp(epsilon(1.0), delta(1e-6)).expect("valid")));
    let part = Spend::new(Event::Approximate { epsilon: number("0.01"), delta: delta(2e-7) });
    ledger.spend(&part).expect("it fits");
    ledger.spend(&part).expect("it fits");
    assert!(matches!(ledger.spend(&part), Err(Error::BudgetExceeded { .. })));
    let skellam =
        Event::Skellam { variance: Positive::from_f64("variance", 1e4).expect("valid"), l1: 10, squared_l2: 4 };
    ledger.spend(&Spend::new(skellam)).expect("it fits");
    let sampled = Event::PoissonSampled { rate: number("0.01"), event: Box::new(gaussian(1.0)) };
    assert!(matches!(ledger.spend(&Spend::new(sampled)), Err(Error::UnsupportedEvent { .. })));
    ledger.verify(None).expect("whole");
}

fn replace_one(make: Make<'_>) {
    let budget = Budget::Pure { epsilon: epsilon(1.0) };
    let ledger = make(Policy { neighbors: Neighbors::ReplaceOne, ..policy(budget) });
    let answer = Event::RandomizedResponse { epsilon: epsilon(0.5), categories: 3 };
    ledger.spend(&Spend::new(answer)).expect("its relation");
}

fn keys(make: Make<'_>) {
    let ledger = make(pure(1.0));
    let keyed = spend_of(0.5).key("cell 1");
    let first = ledger.spend(&keyed).expect("it fits");
    let second = ledger.spend(&keyed).expect("the same");
    assert!(!first.repeated && second.repeated && first.row == second.row);
    assert_eq!(ledger.spent().expect("readable").epsilon, number("1/2"));
    for other in [spend_of(0.4).key("cell 1"), spend_of(0.5).key("cell 1").provenance("bounds", "[0, 1]")] {
        assert!(matches!(ledger.spend(&other), Err(Error::LedgerKey { row: 1, .. })));
    }
    // A spend that was paid for a release elsewhere does not pay for one here.
    assert!(matches!(ledger.release(&keyed, &mut || panic!("must not run")), Err(Error::LedgerKey { .. })));

    let keyed = spend_of(0.25).key("cell 2");
    let answer = ledger.release(&keyed, &mut || Ok(b"42".to_vec())).expect("it fits");
    let again = ledger.release(&keyed, &mut || panic!("must not run")).expect("stored");
    assert_eq!((answer.bytes, again.bytes), (b"42".to_vec(), b"42".to_vec()));
    assert!(again.receipt.repeated);
    assert_eq!(ledger.remaining().expect("readable").epsilon, number("1/4"));
    let unpaid = spend_of(0.5).key("cell 3");
    assert!(matches!(ledger.release(&unpaid, &mut || panic!("must not run")), Err(Error::BudgetExceeded { .. })));
    ledger.verify(None).expect("whole");
}

/// A mechanism that dies after the debit costs budget; the same key then answers without a second debit.
fn crash_between(make: Make<'_>) {
    let ledger = make(pure(1.0));
    let keyed = spend_of(0.5).key("cell");
    assert_eq!(ledger.release(&keyed, &mut || Err(Error::Entropy)).map(|_| ()), Err(Error::Entropy));
    assert_eq!(ledger.spent().expect("readable").epsilon, number("1/2"));
    let answer = ledger.release(&keyed, &mut || Ok(vec![7])).expect("reserved");
    assert_eq!((answer.bytes, answer.receipt.repeated), (vec![7], true));
    assert_eq!(ledger.spent().expect("readable").epsilon, number("1/2"));
    let lost = ledger.release(&spend_of(0.5), &mut || Err(Error::Entropy));
    assert!(lost.is_err() && ledger.remaining().expect("readable").epsilon == Rational::zero());
}

/// While one caller's mechanism runs, another pays nothing under the same key and stores its answer first: both hand out
/// that one.
fn race_under_one_key(make: Make<'_>) {
    let ledger = make(pure(1.0));
    let keyed = spend_of(0.5).key("k");
    let mut inner = None;
    let slow = ledger.release(&keyed, &mut || {
        inner = Some(ledger.release(&keyed, &mut || Ok(b"first".to_vec())));
        Ok(b"second".to_vec())
    });
    let first = inner.expect("ran").expect("reserved");
    assert_eq!([first.bytes, slow.expect("reserved").bytes], [b"first", b"first"]);
    assert_eq!(ledger.spent().expect("readable").epsilon, number("0.5"));
    assert_eq!(ledger.release(&keyed, &mut || panic!("must not run")).expect("stored").bytes, b"first");
    ledger.verify(None).expect("whole");
}

fn history_and_head(make: Make<'_>) {
    let ledger = make(pure(1.0));
    let empty = ledger.head().expect("readable");
    let spend = spend_of(0.5).label("mean age").provenance("bounds", "[0, 120], stated");
    let receipt = ledger.spend(&spend).expect("it fits");
    let head = ledger.head().expect("readable");
    assert_eq!((receipt.row, receipt.head, head.row()), (1, head, 1));
    assert_eq!(head.to_string().parse::<veilsum_dp_core::ledger::Head>().expect("prints what it parses"), head);
    let history = ledger.history().expect("readable");
    assert_eq!(history.len(), 1);
    assert_eq!(history[0].label, "mean age");
    assert_eq!(history[0].provenance["bounds"], "[0, 120], stated");
    assert_eq!(history[0].charge.epsilon, Some(number("1/2")));
    assert!(!history[0].version.is_empty() && history[0].time > 1_600_000_000_000);
    for pinned in [empty, head] {
        ledger.verify(Some(&pinned)).expect("it continues both");
    }
    let later = make(pure(1.0)).head().expect("readable");
    assert!(matches!(ledger.verify(Some(&later)), Err(Error::LedgerDamaged { row: 0, .. })), "another ledger's head");
    let ahead = format!("9:{}", "0".repeat(64)).parse().expect("a head");
    assert!(matches!(ledger.verify(Some(&ahead)), Err(Error::LedgerDamaged { row: 2, .. })), "a head from later");
}

/// Sixteen threads never overspend, and stop for nothing but the budget.
fn threads(make: Make<'_>) {
    let ledger = make(pure(1.0));
    let accepted: usize = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..16)
            .map(|_| {
                scope.spawn(|| {
                    let mut accepted = 0;
                    loop {
                        match ledger.spend(&spend_of(0.01)) {
                            Ok(_) => accepted += 1,
                            Err(Error::BudgetExceeded { .. }) => return accepted,
                            Err(other) => panic!("{other}"),
                        }
                    }
                })
            })
            .collect();
        workers.into_iter().map(|worker| worker.join().expect("no panic")).sum()
    });
    assert_eq!(accepted, 100);
    assert_eq!(ledger.spent().expect("readable").epsilon, Rational::one());
}
