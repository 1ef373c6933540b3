//! Private tables: partials from strangers, and plans as they come over a wire.

use veilsum_dp_core::table::{Batch, Column, Key, Partial, Plan, Range, Validity, Values};

/// Parsing a partial never panics; what parses is canonical, owns no one twice, and merges without a panic.
pub fn partial(data: &[u8]) {
    if let Ok(partial) = Partial::from_bytes(data) {
        assert_eq!(partial.to_bytes(), data, "one state, one encoding");
        let _ = partial.clone().merge(partial);
    }
}

/// Parsing a plan never panics; what parses prints to the same plan, and runs on a nasty table: in two parts, which
/// merge to the bytes of the whole.
pub fn plan(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let Ok(plan) = Plan::from_json(text) else { return };
    let again = Plan::from_json(&plan.to_json()).expect("what was printed parses");
    assert_eq!(plan.hash(), again.hash());
    plan.event().check().expect("events of plans are valid");
    let (epsilon, delta) = plan.cost();
    assert!(epsilon.is_positive() && !delta.is_negative());
    for rows in [None, Some(0), Some(100)] {
        let forecast = plan.forecast(rows).expect("a number of rows");
        assert!(forecast.iter().all(|f| f.scale > 0.0 && f.scale.is_finite()));
    }
    let batch = table();
    let part = |i, n| plan.partial(std::slice::from_ref(&batch), Range::part(i, n).expect("in range"), 1);
    let Ok(whole) = part(0, 1) else { return }; // a column that the table has not
    let merged = part(1, 2).expect("the same columns").merge(part(0, 2).expect("the same columns")).expect("disjoint");
    assert_eq!(merged.to_bytes(), whole.to_bytes());
    let release = plan.release_after(whole, || Ok(())).expect("a complete partial");
    for measure in 0..plan.spec().measures.len() {
        for group in 0..release.keys().len() {
            release.value(measure, group).expect("each has a value");
            if let Ok(intervals) = release.interval(measure, group, 0.5) {
                assert!(intervals.iter().all(|(low, high)| low <= high));
            }
        }
    }
}

/// Seven rows with everything that values can be.
fn table() -> Batch<'static> {
    let people = Column::with_validity(
        Values::Signed(vec![1, 1, 2, 2, 3, 3, i64::MIN].into()),
        Validity::Bits(&[0b1101_1111], 0),
    );
    let values = [f64::NAN, f64::INFINITY, -1e300, 1e300, 5e-324, -0.0, 0.5];
    let keys = vec![Some(Key::Text("a".into())), None, Some(Key::Int(1)), Key::from_f64(0.5)];
    let columns = vec![
        ("p", people.expect("one length")),
        ("x", Column::new(Values::Float(values.to_vec().into()))),
        ("k", Column::new(Values::Coded(vec![0, 1, 2, 3, 0, 9, 0].into(), keys))),
        ("d", Column::new(Values::Decimal(vec![i128::MAX, i128::MIN, 0, 10, 5, -1, 1].into(), 1))),
    ];
    Batch::new(7, columns).expect("one length")
}
