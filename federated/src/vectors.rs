//! The published vectors, which come from an independent implementation in plain Python.

use crate::keys::{self, End};
use crate::message::{self, Directory, Kind, Secret};
use crate::round::{Context, Graph, Setup, Shape};
use crate::{Cohort, mask, ring, shamir};
use serde_json::Value;
use x25519_dalek::StaticSecret;

fn vectors() -> Value {
    serde_json::from_str(include_str!("../../tests/vectors/federated.json")).expect("JSON")
}

fn bytes(hex: &Value) -> Vec<u8> {
    let hex = hex.as_str().expect("text").as_bytes();
    hex.chunks(2).map(|two| u8::from_str_radix(std::str::from_utf8(two).expect("ASCII"), 16).expect("hex")).collect()
}

fn array(hex: &Value) -> [u8; 32] {
    bytes(hex).try_into().expect("32 bytes")
}

fn numbers<T: std::str::FromStr>(list: &Value) -> Vec<T> {
    let text = |number: &Value| number.as_str().map_or_else(|| number.to_string(), str::to_owned);
    list.as_array().expect("list").iter().map(|number| text(number).parse().ok().expect("a number")).collect()
}

#[test]
fn keys_masks_and_commitments() {
    let all = vectors();
    let context = Context::from_bytes(array(&all["context"]));
    let pair = &all["pair"];
    let secrets = [0, 1].map(|i| StaticSecret::from(array(&pair["secrets"][i])));
    let clients: Vec<u32> = numbers(&pair["clients"]);
    let ends = [0, 1].map(|i| End::of(clients[i], &secrets[i]));
    let one = ends[0].pair_mask(&context, clients[1], &ends[1].public).expect("good keys");
    let other = ends[1].pair_mask(&context, clients[0], &ends[0].public).expect("good keys");
    assert_eq!((*one.key, *other.key), (array(&pair["mask_key"]), array(&pair["mask_key"])));
    assert!(one.sign != other.sign && one.sign == mask::Sign::Plus);
    let (mut narrow, mut wide) = ([0_u32; 4], [0_u64; 4]);
    let one = [one];
    mask::apply(&mut narrow, &one);
    mask::apply(&mut wide, &one);
    assert_eq!(narrow.to_vec(), numbers::<u32>(&pair["mask_words_26"]));
    assert_eq!(wide.to_vec(), numbers::<u64>(&pair["mask_words_40"]));

    let own = &all["self"];
    assert_eq!(*keys::self_mask(&context, 3, &array(&own["seed"])).key, array(&own["mask_key"]));
    assert_eq!(keys::seed_commitment(&context, 3, &array(&own["seed"])), array(&own["commitment"]));
    let share = &all["share"];
    let given = keys::share_commitment(&context, 3, 8, Secret::MaskKey, &array(&own["seed"]));
    assert_eq!(given, array(&share["commitment"]));
    let points: Vec<u16> = numbers(&share["points"]);
    let shares: Vec<[u8; 32]> = share["shares"].as_array().expect("list").iter().map(array).collect();
    for chosen in [[0, 1, 2], [3, 1, 0], [2, 3, 1]] {
        let weights = shamir::weights(&chosen.map(|i| points[i]));
        assert_eq!(*shamir::rebuild(chosen.iter().map(|&i| &shares[i]), &weights), array(&own["seed"]));
    }
}

/// A mask agreed for one model does not cancel one agreed for another: were the check of models removed, sums would be noise.
#[test]
fn masks_of_different_models_do_not_cancel() {
    let secrets = [1, 2].map(|i| StaticSecret::from([i; 32]));
    let ends = [0, 1].map(|i| End::of(i as u32, &secrets[i]));
    let contexts = [Context::from_bytes([1; 32]), Context::from_bytes([2; 32])];
    let masks = [
        ends[0].pair_mask(&contexts[0], 1, &ends[1].public).expect("good keys"),
        ends[1].pair_mask(&contexts[1], 0, &ends[0].public).expect("good keys"),
    ];
    let mut sum = vec![0_u32; 10_000];
    mask::apply(&mut sum, &masks);
    let ones: u32 = sum.iter().map(|word| word.count_ones()).sum();
    // 320,000 fair bits: off by 3,000 with probability 2 exp(-2 * 3000^2 / 320000) < 1e-24.
    assert!(ones.abs_diff(160_000) < 3_000);
}

#[test]
fn graphs_vectors_and_transcripts() {
    let all = vectors();
    let context = Context::from_bytes(array(&all["context"]));
    let drawn = &all["ring"];
    let order: Vec<u32> = numbers(&drawn["order"]);
    let config = Setup::new(6, 1, 1.0, Cohort::Counts { corrupt: 1, dropouts: 1 }).check().expect("a round");
    let shape = Shape { clients: 40, neighbors: 6, ..*config.shape() };
    let seed = crate::client::seed_of_graph(&[context.as_bytes(), &array(&drawn["graph_seed"])]);
    let graph = Graph::drawn(shape, &seed);
    let beacon = array(&all["ring_of_a_beacon"]["beacon"]);
    let of_beacon = Graph::drawn(shape, &crate::client::seed_of_graph(&[&beacon]));
    let next: Vec<u32> = numbers(&all["ring_of_a_beacon"]["order"]);
    assert_eq!(of_beacon.point(next[7], next[9]), 6);
    for (place, &client) in order.iter().enumerate() {
        let mut near: Vec<u32> = [37, 38, 39, 1, 2, 3].map(|step| order[(place + step) % 40]).into();
        near.sort_unstable();
        assert_eq!(graph.neighbors(client), near);
        assert_eq!(graph.point(client, order[(place + 2) % 40]), 6);
    }
    let packed = &all["packed"];
    let words: Vec<u32> = numbers(&packed["words"]);
    assert_eq!(ring::pack(&words, 26), bytes(&packed["bytes"]));
    let transcript = &all["transcript"];
    let members = |name: &str| {
        let numbers: Vec<usize> = numbers(&transcript[name]);
        (0..10).map(|client| numbers.contains(&client)).collect::<Vec<bool>>()
    };
    assert_eq!(message::transcript(&context, &members("present"), &members("included")), array(&transcript["digest"]));
}

#[test]
fn bad_messages_are_refused_and_the_good_one_is_not() {
    let all = vectors();
    let context = Context::from_bytes(array(&all["context"]));
    let config = Setup::new(6, 1, 1.0, Cohort::Counts { corrupt: 1, dropouts: 1 }).check().expect("a round");
    let open =
        |message: &[u8]| Directory::decode(message::open_from_server(Kind::Directory, &context, message)?, &config);
    assert!(open(&bytes(&all["good_directory"])).is_ok());
    for (fault, message) in all["bad_directories"].as_object().expect("cases") {
        assert!(open(&bytes(message)).is_err(), "{fault}");
    }
}
