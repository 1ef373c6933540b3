//! What a release does with its budget, measured on what it releases.
//!
//! Statistics of n draws are held to eight standard deviations; with n in thousands they are nearly normal, and a right
//! library fails with probability below 1e-13 each.

use super::*;
use crate::accounting::Event;
use crate::domain::Bounds;
use crate::ledger::{Budget, MemoryLedger, Policy};
use crate::privacy::{Delta, Epsilon, Positive, Rational};
use crate::sensitivity::Neighbors;

const GROUPS: i64 = 4000;

fn epsilon(text: &str) -> Epsilon {
    Epsilon::new(text.parse().expect("a number")).expect("positive")
}

fn delta(value: f64) -> Delta {
    Delta::from_decimal(value).expect("valid")
}

fn spec(groups: Groups, noise: Noise, limits: Limits) -> Spec {
    let bounds = Bounds::new(0.0, 10.0).expect("valid");
    let measure = |name: &str, aggregate| Measure { name: name.into(), aggregate, epsilon: epsilon("1/10") };
    let sum = Aggregate::Sum { column: "x".into(), bounds };
    let measures = vec![measure("rows", Aggregate::Rows), measure("sum", sum), measure("people", Aggregate::People)];
    Spec {
        unit: Unit::Column("person".into()),
        neighbors: Neighbors::AddRemove,
        limits,
        groups,
        measures,
        noise,
        seed: [5; 16],
    }
}

fn public() -> Groups {
    Groups::Public { by: vec!["key".into()], keys: (0..GROUPS).map(|k| vec![Key::Int(k.into())]).collect() }
}

fn laws() -> [Noise; 2] {
    [Noise::Laplace, Noise::Gaussian { epsilon: epsilon("3"), delta: delta(1e-6) }]
}

/// A table of one row for each of these people, in the group of the same number.
fn table(people: i64) -> Batch<'static> {
    let numbers = || Column::new(Values::Signed((0..people).collect::<Vec<_>>().into()));
    let columns = vec![("person", numbers()), ("key", numbers()), ("x", numbers())];
    Batch::new(people as usize, columns).expect("same length")
}

fn release(plan: &Plan, people: i64) -> Release {
    let partial = plan.partial(&[table(people)], Range::whole(), 1).expect("right types");
    plan.release_after(partial, || Ok(())).expect("complete")
}

fn number(value: Option<Value>) -> f64 {
    match value {
        Some(Value::Count(count)) => count as f64,
        Some(Value::Number(number)) => number,
        other => panic!("{other:?} is not one number"),
    }
}

/// Nobody is in the table, so what is released is noise: once, of the scale that is reported, and its own in every group.
#[test]
fn noise_is_added_once_to_each_number() {
    for (noise, mean_size, spread) in
        laws().into_iter().zip([(1.0, 1.0), (0.7979, 0.7555)]).map(|(n, (m, s))| (n, m, s))
    {
        let limits = Limits::new(12, Some(6), Some(3)).expect("valid");
        let plan = Plan::new(spec(public(), noise, limits)).expect("a plan");
        let released = release(&plan, 0);
        let n = GROUPS as f64;
        let draws: Vec<Vec<f64>> = (0..3)
            .map(|measure| {
                let scale = released.scale(measure).expect("a scale");
                (0..GROUPS as usize).map(|group| number(released.value(measure, group)) / scale).collect()
            })
            .collect();
        for all in &draws {
            let size = all.iter().map(|z| z.abs()).sum::<f64>() / n / mean_size;
            assert!((size - 1.0).abs() < 8.0 * spread / n.sqrt() + 0.01, "{size}");
        }
        let variance = if mean_size == 1.0 { 2.0 } else { 1.0 };
        let together = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(x, y)| x * y).sum::<f64>() / n / variance;
        for (a, b) in [(&draws[0][1..], &draws[0][..]), (&draws[0][..], &draws[1][..]), (&draws[1][..], &draws[2][..])]
        {
            assert!(together(a, b).abs() < 8.0 / n.sqrt(), "{}", together(a, b));
        }
    }
}

/// The event holds everything that was done, and each part of it within its budget.
#[test]
fn events_are_within_the_budgets_and_leave_nothing_out() {
    let limits = Limits::new(12, Some(6), Some(3)).expect("valid");
    for noise in laws() {
        let groups = Groups::Private { by: vec!["key".into()], epsilon: epsilon("1/5"), delta: delta(1e-5) };
        let plan = Plan::new(spec(groups, noise, limits)).expect("a plan");
        let Event::Composed { events } = plan.event() else { panic!("four things were done") };
        assert_eq!(events[0].0, Event::Approximate { epsilon: "1/5".parse().expect("a number"), delta: delta(1e-5) });
        assert_eq!(events.len(), 4);
        for (event, count) in &events[1..] {
            let (square, scale) = match event {
                Event::DiscreteLaplace { scale, sensitivity } => (u128::from(*sensitivity).pow(2), scale),
                Event::DiscreteGaussianVector { sigma, squared_l2 } => (u128::from(*squared_l2), sigma),
                other => panic!("{other} is not of this plan"),
            };
            let spent = &Rational::from(square) / &(scale * scale);
            assert!(*count == 1 && spent <= "1/100".parse().expect("a number"), "{event}");
            assert!(spent.nearest() > 0.01 * (1.0 - 1e-12), "{event}: more noise than needed");
        }
        let (_, spent) = plan.cost();
        assert!(spent >= "1/100000".parse().expect("a number"));
    }
}

/// A key of one person is named with probability delta, split over all keys that a person can have.
#[test]
fn keys_of_one_person_are_named_as_often_as_delta_allows() {
    for (neighbors, expected) in [(Neighbors::AddRemove, 0.125), (Neighbors::ReplaceOne, 0.0625)] {
        let groups = Groups::Private { by: vec!["key".into()], epsilon: epsilon("1"), delta: delta(0.5) };
        let limits = Limits::new(4, None, Some(1)).expect("valid");
        let plan = Plan::new(Spec { neighbors, ..spec(groups, Noise::Laplace, limits) }).expect("a plan");
        let named = release(&plan, GROUPS).keys().len() as f64 / GROUPS as f64;
        let deviation = (expected * (1.0 - expected) / GROUPS as f64).sqrt();
        assert!((named - expected).abs() < 8.0 * deviation, "{neighbors}: {named}");
    }
}

/// A ledger that adds up epsilons is charged what a Gaussian plan states.
#[test]
fn basic_ledgers_are_charged_the_stated_budget() {
    let noise = laws()[1].clone();
    let plan = Plan::new(spec(public(), noise, Limits::one_row())).expect("a plan");
    let budget = Budget::Basic { epsilon: epsilon("3"), delta: delta(1e-6) };
    let policy = Policy { dataset: "d".into(), unit: "person".into(), neighbors: Neighbors::AddRemove, budget };
    let ledger = MemoryLedger::new(policy).expect("a ledger");
    let partial = || plan.partial(&[table(9)], Range::whole(), 1).expect("right types");
    plan.release(partial(), &ledger, "").expect("covered");
    plan.release(partial(), &ledger, "").expect_err("spent");
    let whole = Positive::new("epsilon", "3".parse().expect("a number")).expect("positive");
    assert_eq!(plan.cost().0, *whole.rational());
}

/// Who is in two partials would count twice.
#[test]
fn partials_that_own_the_same_people_do_not_merge() {
    let plan = Plan::new(spec(public(), Noise::Laplace, Limits::one_row())).expect("a plan");
    let part = |i, n| plan.partial(&[table(50)], Range::part(i, n).expect("a part"), 1).expect("right types");
    for (a, b) in [((0, 1), (0, 1)), ((0, 2), (0, 2)), ((0, 2), (1, 3)), ((0, 1), (6, 7))] {
        assert!(part(a.0, a.1).merge(part(b.0, b.1)).is_err(), "{a:?} {b:?}");
    }
    assert!(part(0, 2).merge(part(1, 2)).is_ok() && part(0, 3).merge(part(2, 3)).is_ok());
}

/// A list of rows and a table of counts are the same counts: in one thread and several, whole and in parts.
#[test]
fn counts_in_a_list_and_in_a_table_are_the_same() {
    let rows = 3000;
    let numbers = |of: fn(i64) -> i64| Column::new(Values::Signed((0..rows).map(of).collect::<Vec<_>>().into()));
    let columns = vec![
        ("person", numbers(|row| row * 7919 % 1500)),
        ("key", numbers(|row| row % 3)),
        ("x", numbers(|row| row * row % 101)),
    ];
    let table = Batch::new(rows as usize, columns).expect("same length");
    let bounds = Bounds::new(0.0, 100.0).expect("valid");
    for (unit, limits) in
        [(Unit::Row, Limits::one_row()), (Unit::Column("person".into()), Limits::new(2, None, None).expect("valid"))]
    {
        // Candidates that are few, and so many that there is never a table.
        for (step, is_table) in [(1.0, true), (1e-5, false)] {
            let aggregate = Aggregate::Quantiles {
                column: "x".into(),
                bounds,
                at: vec![Rational::one()],
                step: Positive::from_f64("step", step).ok(),
                interval: None,
            };
            let groups = Groups::Public { by: vec!["key".into()], keys: (0..2).map(|k| vec![Key::Int(k)]).collect() };
            let measures = vec![Measure { name: "q".into(), aggregate, epsilon: epsilon("1") }];
            let spec = spec(groups, Noise::Laplace, limits);
            let plan = Plan::new(Spec { unit: unit.clone(), measures, ..spec }).expect("a plan");
            assert_eq!(plan.row_bytes() < 40, is_table);
            let partial =
                |range, threads| plan.partial(std::slice::from_ref(&table), range, threads).expect("right types");
            let whole = partial(Range::whole(), 1);
            // Counted by hand: all rows of the two groups, since nobody has more than two.
            let counts: Vec<_> =
                whole.clone().complete(&plan).expect("of everyone").iter().map(|g| g.cells[0].clone()).collect();
            for (group, runs) in counts.iter().enumerate() {
                let mut by_hand = std::collections::BTreeMap::new();
                for row in (0..rows).filter(|row| row % 3 == group as i64) {
                    let cell = ((row * row % 101).min(100) as f64 / step).round() as u32;
                    *by_hand.entry(cell).or_insert(0_u64) += 1;
                }
                assert_eq!(runs.iter().collect::<Vec<_>>(), by_hand.into_iter().collect::<Vec<_>>());
            }
            let parts = (0..4).map(|i| partial(Range::part(i, 4).expect("a part"), 2));
            let merged = parts.reduce(|a, b| a.merge(b).expect("disjoint")).expect("four");
            assert_eq!(merged.to_bytes(), whole.to_bytes());
        }
    }
}
