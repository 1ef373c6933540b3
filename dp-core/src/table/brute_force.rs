//! Every claim about sensitivity against every neighbour of small random tables, in the integers that noise is added to.

use super::noise::Law;
use super::partial::GroupState;
use super::plan::{Map, Part};
use super::quantile::{Ranks, Target};
use super::*;
use crate::accounting::Event;
use crate::domain::Bounds;
use crate::privacy::{Delta, Epsilon, Positive, Rational};
use crate::sensitivity::Neighbors;
use proptest::prelude::*;

/// (person, key, value); `None` is missing.
type Row = (Option<i64>, Option<i64>, f64);

fn epsilon() -> Epsilon {
    Epsilon::from_decimal(0.7).expect("valid")
}

fn plan(unit: Unit, neighbors: Neighbors, limits: Limits, groups: Groups, bounds: (f64, f64), noise: Noise) -> Plan {
    let bounds = Bounds::new(bounds.0, bounds.1).expect("valid");
    let column = || "x".to_owned();
    // Sixteen candidates, so that all of them can be looked at.
    let step = Positive::from_f64("step", (bounds.upper() - bounds.lower()) / 16.0).ok();
    let at = vec![Rational::zero(), "1/3".parse().expect("number"), Rational::one()];
    let mut aggregates = vec![
        Aggregate::Rows,
        Aggregate::People,
        Aggregate::Sum { column: column(), bounds },
        Aggregate::Mean { column: column(), bounds },
        Aggregate::Variance { column: column(), bounds },
        Aggregate::Quantiles { column: column(), bounds, at, step, interval: None },
    ];
    // The square of these bounds' width is no float, so they have no variance.
    aggregates.retain(|a| !matches!(a, Aggregate::Variance { bounds, .. } if bounds.upper() - bounds.lower() > 1e140));
    let measure = |aggregate: Aggregate| Measure { name: aggregate.kind().into(), aggregate, epsilon: epsilon() };
    let measures = aggregates.into_iter().map(measure).collect();
    Plan::new(Spec { unit, neighbors, limits, groups, measures, noise, seed: [3; 16] }).expect("a valid plan")
}

fn partial(plan: &Plan, rows: &[Row], range: Range) -> Partial {
    let ints = |values: Vec<Option<i64>>| {
        let valid: Vec<bool> = values.iter().map(Option::is_some).collect();
        let values = Values::Signed(values.into_iter().map(|v| v.unwrap_or(99)).collect::<Vec<_>>().into());
        Column::with_validity(values, Validity::Bytes(valid.into())).expect("same length")
    };
    let columns = vec![
        ("person", ints(rows.iter().map(|row| row.0).collect())),
        ("key", ints(rows.iter().map(|row| row.1).collect())),
        ("x", Column::new(Values::Float(rows.iter().map(|row| row.2).collect::<Vec<_>>().into()))),
    ];
    plan.partial(&[Batch::new(rows.len(), columns).expect("same length")], range, 1)
        .expect("a table of the right types")
}

fn states(plan: &Plan, rows: &[Row]) -> Vec<GroupState> {
    partial(plan, rows, Range::whole()).complete(plan).expect("of everyone")
}

/// Both tables' states, group by group; a group that only one has is empty in the other.
fn paired<'a>(plan: &Plan, a: &'a [GroupState], b: &'a [GroupState]) -> Vec<(GroupState, GroupState)> {
    let mut keys: Vec<_> = a.iter().chain(b).map(|group| group.key.clone()).collect();
    keys.sort();
    keys.dedup();
    let empty = |key: &Vec<Key>| GroupState {
        key: key.clone(),
        slots: vec![0; plan.layout().slots],
        cells: vec![Default::default(); plan.layout().counters],
    };
    let of = |all: &'a [GroupState], key: &Vec<Key>| all.iter().find(|g| g.key == *key).cloned();
    keys.iter()
        .map(|key| (of(a, key).unwrap_or_else(|| empty(key)), of(b, key).unwrap_or_else(|| empty(key))))
        .collect()
}

/// Gaussian noise for a plan, with room for all of its parts.
fn gaussian() -> Noise {
    Noise::Gaussian {
        epsilon: Epsilon::from_decimal(50.0).expect("valid"),
        delta: Delta::from_decimal(1e-6).expect("valid"),
    }
}

fn noise() -> impl Strategy<Value = Noise> {
    prop::sample::select(vec![Noise::Laplace, gaussian()])
}

/// Observed changes of one measure's integers over all groups, coordinate by coordinate.
fn changes(part: &Part, pairs: &[(GroupState, GroupState)]) -> Vec<u128> {
    let width = part.map.slots();
    let slots = |group: &GroupState| group.slots[part.slot..][..width].to_vec();
    pairs.iter().flat_map(|(a, b)| slots(a).into_iter().zip(slots(b))).map(|(x, y)| x.abs_diff(y)).collect()
}

/// What is observed, and what the event of the noise claims of it: in L1, or squared in L2.
fn observed_and_claimed(part: &Part, law: &Law, pairs: &[(GroupState, GroupState)]) -> (u128, u128) {
    let changes = changes(part, pairs);
    match law.event() {
        Event::DiscreteLaplace { sensitivity, .. } | Event::DiscreteGaussian { sensitivity, .. } => {
            (changes.iter().sum(), sensitivity.into())
        }
        Event::DiscreteGaussianVector { squared_l2, .. } => (changes.iter().map(|x| x * x).sum(), squared_l2.into()),
        other => panic!("{other} is not the event of such noise"),
    }
}

fn check_neighbours(plan: &Plan, before: &[Row], after: &[Row]) {
    let pairs = paired(plan, &states(plan, before), &states(plan, after));
    for (part, measure) in plan.layout().parts.iter().zip(&plan.spec().measures) {
        if let Some(law) = &part.noise {
            let (observed, claimed) = observed_and_claimed(part, law, &pairs);
            assert!(observed <= claimed, "{}: {observed} > {claimed}\n{before:?}\n{after:?}", measure.name);
        }
        if let (Map::Cells(lattice), Aggregate::Quantiles { at, .. }) = (&part.map, &measure.aggregate) {
            for q in at {
                let target =
                    Target::new(q, &epsilon(), &plan.limits(), plan.spec().neighbors, plan.grouped()).expect("valid");
                let costs = |group: &GroupState| {
                    let ranks = Ranks::new(&group.cells[part.slot], lattice.last(), 0).expect("in range");
                    target.costs(&ranks)
                };
                let moved = |(a, b): &(GroupState, GroupState)| {
                    costs(a).into_iter().zip(costs(b)).map(|(x, y)| x.abs_diff(y)).max().unwrap_or(0)
                };
                let observed: u128 = pairs.iter().map(moved).sum();
                let claimed = target.claimed(&epsilon()).nearest() + 1e-6;
                assert!(observed as f64 <= claimed, "quantile {q}: {observed} > {claimed}\n{before:?}\n{after:?}");
            }
        }
    }
    if plan.layout().selection.is_some() {
        let people = plan.layout().people.expect("selection counts people");
        let moved: Vec<_> = pairs.iter().map(|(a, b)| a.slots[people].abs_diff(b.slots[people])).collect();
        let most =
            u128::from(plan.limits().groups()) * if plan.spec().neighbors == Neighbors::ReplaceOne { 2 } else { 1 };
        assert!(moved.iter().all(|m| *m <= 1) && moved.iter().sum::<u128>() <= most, "{moved:?} of {most}");
    }
}

fn value() -> impl Strategy<Value = f64> {
    let far = (1_u64 << 50) as f64;
    prop_oneof![
        4 => prop::sample::select(vec![0.0, -0.0, 1.0, 2.5, 9.75, 10.0, far, far + 1.0, far + 0.25]),
        2 => prop::sample::select(vec![1e300, -1e300, f64::NAN, f64::INFINITY, f64::NEG_INFINITY, 5e-324]),
        2 => -5.0..15.0,
    ]
}

fn key() -> impl Strategy<Value = Option<i64>> {
    prop_oneof![1 => Just(None), 6 => (0_i64..4).prop_map(Some)]
}

fn rows(people: std::ops::Range<i64>) -> impl Strategy<Value = Vec<Row>> {
    let person = prop_oneof![1 => Just(None), 12 => people.prop_map(Some)];
    prop::collection::vec((person, key(), value()), 0..9)
}

fn bounds() -> impl Strategy<Value = (f64, f64)> {
    let far = (1_u64 << 50) as f64;
    prop::sample::select(vec![
        (0.0, 10.0),
        (-3.0, 7.5),
        (1.0, 2.0),
        (-5.0, -1.0),
        (0.1, 0.3),
        (far, far + 1.0),
        (-1e280, 1e280),
    ])
}

fn groups() -> impl Strategy<Value = Groups> {
    let by = || vec!["key".to_owned()];
    let (epsilon, delta) = (epsilon(), Delta::from_decimal(1e-6).expect("valid"));
    prop::sample::select(vec![
        Groups::Whole,
        Groups::Public { by: by(), keys: [2, 0, 7].map(|k| vec![Key::Int(k)]).to_vec() },
        Groups::Private { by: by(), epsilon, delta },
    ])
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(if std::env::var_os("VEILSUM_DEEP").is_some() { 20_000 } else { 400 }))]

    /// People of several rows: remove each, and replace each by another set of rows.
    #[test]
    fn no_person_moves_a_result_by_more_than_claimed(
        table in rows(0..4),
        others in prop::collection::vec((key(), value()), 0..7),
        bounds in bounds(),
        groups in groups(),
        noise in noise(),
        m in 1_u32..5, g in 1_u32..4, r in 1_u32..4,
    ) {
        let limits = Limits::new(m, Some(g), Some(r)).expect("valid");
        let unit = || Unit::Column("person".into());
        let remove = plan(unit(), Neighbors::AddRemove, limits, groups.clone(), bounds, noise.clone());
        let replace = plan(unit(), Neighbors::ReplaceOne, limits, groups, bounds, noise);
        for person in 0..4 {
            let without: Vec<Row> = table.iter().copied().filter(|row| row.0 != Some(person)).collect();
            check_neighbours(&remove, &table, &without);
            check_neighbours(&replace, &table, &without);
            let mut replaced = without;
            replaced.extend(others.iter().map(|(key, x)| (Some(person), *key, *x)));
            check_neighbours(&replace, &table, &replaced);
        }
    }

    /// Rows as people: drop each, and replace each.
    #[test]
    fn no_row_moves_a_result_by_more_than_claimed(
        table in rows(0..4), other in (key(), value()), bounds in bounds(), groups in groups(), noise in noise(),
    ) {
        let remove = plan(Unit::Row, Neighbors::AddRemove, Limits::one_row(), groups.clone(), bounds, noise.clone());
        let replace = plan(Unit::Row, Neighbors::ReplaceOne, Limits::one_row(), groups, bounds, noise);
        for i in 0..table.len() {
            let mut without = table.clone();
            without.remove(i);
            check_neighbours(&remove, &table, &without);
            let mut replaced = table.clone();
            replaced[i] = (None, other.0, other.1);
            check_neighbours(&replace, &table, &replaced);
        }
    }

    /// The order of rows and the number of partitions change not one byte.
    #[test]
    fn partials_depend_on_the_set_of_rows_alone(
        (table, shuffled) in rows(0..3).prop_flat_map(|t| (Just(t.clone()), Just(t).prop_shuffle())),
        groups in groups(), m in 1_u32..4, count in 1_u32..5, by_row in any::<bool>(),
    ) {
        let (unit, limits) = match by_row {
            true => (Unit::Row, Limits::one_row()),
            false => (Unit::Column("person".into()), Limits::new(m, None, None).expect("valid")),
        };
        let plan = plan(unit, Neighbors::AddRemove, limits, groups, (0.0, 10.0), Noise::Laplace);
        let whole = partial(&plan, &table, Range::whole()).to_bytes();
        prop_assert_eq!(&partial(&plan, &shuffled, Range::whole()).to_bytes(), &whole);
        let mut parts = (0..count).map(|i| partial(&plan, &shuffled, Range::part(i, count).expect("in range")));
        let first = parts.next().expect("count >= 1");
        let merged = parts.try_fold(first, |sum, part| part.merge(sum)).expect("disjoint");
        prop_assert_eq!(&merged.to_bytes(), &whole);
        // Rows without a person belong to nobody.
        let somebody: Vec<Row> = table.iter().copied().filter(|row| by_row || row.0.is_some()).collect();
        prop_assert_eq!(&partial(&plan, &somebody, Range::whole()).to_bytes(), &whole);
        prop_assert_eq!(Partial::from_bytes(&whole).expect("canonical").to_bytes(), whole);
    }
}

/// The claims are reached, so the property above is not satisfied by claims that are too large.
#[test]
fn claims_are_reached() {
    let limits = Limits::new(3, None, Some(1)).expect("valid");
    let keys = Groups::Public { by: vec!["key".into()], keys: (0..6).map(|k| vec![Key::Int(k)]).collect() };
    let person = |keys: [i64; 3], x: f64| -> Vec<Row> { (0..9).map(|i| (Some(1), Some(keys[i % 3]), x)).collect() };
    for noise in [Noise::Laplace, gaussian()] {
        for (bounds, neighbors, after) in [
            ((0.0, 10.0), Neighbors::AddRemove, vec![]),
            ((0.0, 10.0), Neighbors::ReplaceOne, person([3, 4, 5], 10.0)),
            ((-10.0, 10.0), Neighbors::ReplaceOne, person([0, 1, 2], -10.0)),
        ] {
            let plan = plan(Unit::Column("person".into()), neighbors, limits, keys.clone(), bounds, noise.clone());
            let (before, after) = (states(&plan, &person([0, 1, 2], 10.0)), states(&plan, &after));
            let pairs = paired(&plan, &before, &after);
            for (part, measure) in plan.layout().parts.iter().zip(&plan.spec().measures) {
                // People and rows cannot move by as much if both persons are in the same groups.
                let all = bounds.0 == 0.0;
                if let Some(law) = part.noise.as_ref().filter(|_| all || matches!(part.map, Map::Sum(_) | Map::Mean(_)))
                {
                    let (observed, claimed) = observed_and_claimed(part, law, &pairs);
                    // A square is held as that of a float.
                    let slack = claimed >> 50;
                    assert!(
                        observed <= claimed && observed + slack >= claimed,
                        "{}: {observed} of {claimed}, {noise:?}",
                        measure.name
                    );
                }
            }
        }
    }
}

/// A person with several rows in a group: packed as tightly as the limits allow, no further.
#[test]
fn packed_rows_reach_the_square_that_is_claimed() {
    let limits = Limits::new(5, Some(4), Some(3)).expect("valid");
    let keys = Groups::Public { by: vec!["key".into()], keys: (0..4).map(|k| vec![Key::Int(k)]).collect() };
    let plan = plan(Unit::Column("person".into()), Neighbors::AddRemove, limits, keys, (0.0, 10.0), gaussian());
    let rows: Vec<Row> = [0, 0, 0, 1, 1].map(|key| (Some(1), Some(key), 10.0)).to_vec();
    let pairs = paired(&plan, &states(&plan, &rows), &states(&plan, &[]));
    let part = &plan.layout().parts[0];
    let law = part.noise.as_ref().expect("counts have noise");
    assert_eq!(observed_and_claimed(part, law, &pairs), (9 + 4, 13));
    assert!(law.scale() >= 13_f64.sqrt() / 0.7 && law.scale() < 13_f64.sqrt() / 0.7 * (1.0 + 1e-14));
}

/// One person with 10^4 rows is at most m rows, whatever they hold, and everyone has the same chance to be chosen.
#[test]
fn the_choice_of_rows_is_uniform() {
    let limits = Limits::new(1, None, None).expect("valid");
    let plan =
        plan(Unit::Column("person".into()), Neighbors::AddRemove, limits, Groups::Whole, (0.0, 1.0), Noise::Laplace);
    // 4000 people with nine rows of 0 and one of 1: Binomial(4000, 1/10) ones, within 8 standard deviations.
    let rows: Vec<Row> = (0..40_000).map(|i| (Some(i / 10), None, if i % 10 == 0 { 1.0 } else { 0.0 })).collect();
    let state = states(&plan, &rows);
    let Map::Mean(lattice) = &plan.layout().parts[3].map else { panic!("the fourth measure is a mean") };
    let ones = state[0].slots[plan.layout().parts[3].slot] as f64 * lattice.step();
    assert!((ones - 400.0).abs() < 8.0 * 19.0, "{ones}");
    let heavy: Vec<Row> = (0..10_000).map(|i| (Some(7), None, i as f64)).collect();
    assert_eq!(states(&plan, &heavy)[0].slots[plan.layout().parts[0].slot], 1);
}
