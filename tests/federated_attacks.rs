//! Attacks from the literature on secure aggregation, each with the outcome that must hold.
//!
//! The attacker is the server, which relays every byte, together with corrupt clients whose identities it may use.

use std::collections::BTreeMap;
use std::sync::Arc;
use veilsum_crypto::{Identity, Peer};
use veilsum_federated::client::{Party, Seat};
use veilsum_federated::coin::{Coin, Signed};
use veilsum_federated::{Cohort as Losses, Error, Roster, RoundConfig, RoundId, Setup, Stage, Update};
use veilsum_tests::cohort::{Cohort, HEADER, Messages, SIGNATURE, bitmap, from_server, signed};

fn six() -> Setup {
    Setup::new(6, 3, 1.0, Losses::Counts { corrupt: 1, dropouts: 1 })
}

fn refused<T: std::fmt::Debug>(result: Result<T, Error>, about: &str) {
    match result {
        Err(error @ (Error::Refused { .. } | Error::Malformed { .. } | Error::OutOfOrder { .. })) => {
            assert!(error.to_string().contains(about), "refused for another reason: {error}");
        }
        other => panic!("not refused: {other:?}"),
    }
}

/// The list items of a directory: (client, mask key, share key, commitment, signature), 4 + 96 + 64 bytes each.
fn directory_entry(message: &mut [u8], place: usize) -> &mut [u8] {
    let at = HEADER + 32 + 4 + place * (4 + 96 + SIGNATURE);
    &mut message[at..at + 4 + 96 + SIGNATURE]
}

#[test]
fn both_kinds_of_share_are_never_given() {
    let mut cohort = Cohort::new(six());
    let survivors = cohort.run_until(Stage::Confirm);
    let context = cohort.context();
    let quorum = cohort.stage(Stage::Confirm, &survivors, &[]).expect("honest");
    // Client 0 answered for everyone; now the server claims that client 5 was lost.
    let first = cohort.answer(Stage::Unmask, 0, &quorum[&0]).expect("honest");
    let without = from_server(0x83, &context, &bitmap(6, &[0, 1, 2, 3, 4]));
    refused(cohort.answer(Stage::Confirm, 0, &without), "confirm cannot follow finished");
    refused(cohort.answer(Stage::Unmask, 0, &quorum[&1][..HEADER]), "unmask cannot follow finished");
    // The same request gets the same bytes.
    assert_eq!(cohort.answer(Stage::Unmask, 0, &quorum[&0]).expect("a repeat"), first);
    // A client that has signed one set signs no other, and opens nothing for the other.
    refused(cohort.answer(Stage::Confirm, 1, &without), "confirm cannot follow confirmed");
}

#[test]
fn split_survivor_lists_open_nothing() {
    let mut cohort = Cohort::new(six());
    let _ = cohort.run_until(Stage::Confirm);
    let context = cohort.context();
    // Half of the clients are told that 5 was lost, the other half that 0 was.
    let (left, right) = (bitmap(6, &[0, 1, 2, 3, 4]), bitmap(6, &[1, 2, 3, 4, 5]));
    let mut signatures: Vec<(u32, Vec<u8>)> = Vec::new();
    for client in 0..6 {
        let list = if client < 3 { &left } else { &right };
        let bytes = cohort.answer(Stage::Confirm, client, &from_server(0x83, &context, list)).expect("a plausible set");
        signatures.push((client, bytes[bytes.len() - SIGNATURE..].to_vec()));
    }
    let quorum = |who: &[u32]| {
        let mut body = (who.len() as u32).to_be_bytes().to_vec();
        who.iter().for_each(|&w| body.extend([&w.to_be_bytes()[..], &signatures[w as usize].1].concat()));
        from_server(0x84, &context, &body)
    };
    refused(cohort.answer(Stage::Unmask, 0, &quorum(&[0, 1, 2])), "3 clients confirmed the survivor set, and 4 must");
    refused(cohort.answer(Stage::Unmask, 0, &quorum(&[0, 1, 2, 3])), "the signature of client 3");
    refused(cohort.answer(Stage::Unmask, 3, &quorum(&[1, 3, 4, 5])), "the signature of client 1");
    refused(cohort.answer(Stage::Unmask, 0, &quorum(&[0, 1, 1, 2])), "out of order");
}

#[test]
fn forged_and_stale_signatures_do_not_count() {
    let mut cohort = Cohort::new(six());
    let survivors = cohort.run_until(Stage::Confirm);
    let quorum = cohort.stage(Stage::Confirm, &survivors, &[]).expect("honest");
    let mut forged = quorum[&0].clone();
    *forged.last_mut().expect("bytes") ^= 1;
    // Four of six are a quorum against one corrupt client, and the list stops there.
    refused(cohort.answer(Stage::Unmask, 0, &forged), "the signature of client 3");
    // Signatures of an earlier round of the same people, relabelled as this round's.
    let mut earlier = cohort.again(RoundId { number: 1, ..cohort.id.clone() });
    let before = earlier.run_until(Stage::Unmask);
    let relabelled = from_server(0x84, &cohort.context(), &before[&0][HEADER..]);
    refused(cohort.answer(Stage::Unmask, 0, &relabelled), "the signature of client 0");
    refused(cohort.answer(Stage::Unmask, 0, &before[&0]), "another round");
    assert!(cohort.answer(Stage::Unmask, 0, &quorum[&0]).is_ok());
}

#[test]
fn substituted_reflected_and_repeated_keys_are_refused() {
    let mut cohort = Cohort::new(six());
    let context = cohort.context();
    let directories = cohort.run_until(Stage::Share);
    for place in [0, 3] {
        for byte in [4, 40, 70, 101] {
            let mut changed = directories[&0].clone();
            directory_entry(&mut changed, place)[byte] ^= 1;
            let about = if place == 0 && byte < 100 {
                "not its own"
            } else if place == 0 {
                ""
            } else {
                "the signature"
            };
            if place == 0 && byte == 101 {
                // A client compares its own advert; the signature on it is of no use to it.
                continue;
            }
            refused(cohort.answer(Stage::Share, 0, &changed), about);
        }
    }
    // Corrupt client 5 advertises the keys of client 0 as its own, properly signed.
    let mut reflected = directories[&0].clone();
    let stolen = directory_entry(&mut reflected, 0)[4..100].to_vec();
    let message = signed(&cohort.identities[5], 1, &context, 5, &stolen);
    let entry = directory_entry(&mut reflected, 5);
    entry[4..100].copy_from_slice(&stolen);
    entry[100..].copy_from_slice(&message[message.len() - SIGNATURE..]);
    refused(cohort.answer(Stage::Share, 0, &reflected), "someone passes off another's keys");
    // A key of low order gives a shared secret that everyone knows: nothing is sealed under it.
    let mut low = directories[&0].clone();
    let body = [[2; 32], [0; 32], [2; 32]].concat();
    let message = signed(&cohort.identities[5], 1, &context, 5, &body);
    let entry = directory_entry(&mut low, 5);
    entry[4..100].copy_from_slice(&body);
    entry[100..].copy_from_slice(&message[message.len() - SIGNATURE..]);
    refused(cohort.answer(Stage::Share, 0, &low), "client 5 advertised a public key of low order");
}

#[test]
fn rosters_are_not_padded() {
    let cohort = Cohort::new(six());
    let peers: Vec<_> = cohort.identities.iter().map(|i| i.peer().clone()).collect();
    // The same participant twice.
    let doubled: Vec<_> = peers[..5].iter().cloned().chain([peers[0].clone()]).collect();
    assert!(matches!(Roster::new(doubled), Err(Error::Parameter { .. })));
    // More or fewer than the round was set up for.
    for count in [5, 7] {
        let mut others = peers.clone();
        others.push(Identity::generate().expect("entropy").peer().clone());
        let roster = Roster::new(others[..count].to_vec()).expect("distinct");
        let party = Party::new(cohort.config.clone(), cohort.identities[0].clone(), roster, 0, &cohort.id);
        assert!(matches!(party, Err(Error::Parameter { .. })));
    }
    // A roster of the right size with a stranger in it: nobody's adverts verify under it.
    let mut strangers = peers;
    strangers[5] = Identity::generate().expect("entropy").peer().clone();
    let roster = Roster::new(strangers).expect("distinct");
    let party =
        Party::new(cohort.config.clone(), cohort.identities[0].clone(), roster, 0, &cohort.id).expect("at its place");
    let mut seat = Seat::enrol(party).expect("entropy");
    seat.advertise().expect("first stage");
    let mut honest = cohort.again(cohort.id.clone());
    let directories = honest.run_until(Stage::Share);
    refused(seat.share(&directories[&0]), "another round");
}

#[test]
fn the_server_chooses_no_graph() {
    let setup = || Setup::new(150, 2, 1.0, Losses::Fractions { corrupt: 0.02, dropouts: 0.04 });
    let mut cohort = Cohort::new(setup());
    assert!(!cohort.config.shape().is_complete());
    let without = RoundId { beacon: None, ..cohort.id.clone() };
    let party = Party::new(cohort.config.clone(), cohort.identities[0].clone(), cohort.roster.clone(), 0, &without);
    assert!(matches!(party, Err(Error::Parameter { what: "beacon", .. })));
    let directories = cohort.run_until(Stage::Share);
    let mut seeded = directories[&0].clone();
    seeded[HEADER] = 1;
    refused(cohort.answer(Stage::Share, 0, &seeded), "not its to draw");
    // Another model, number or session with the same beacon has the same neighbours; another beacon has others.
    let names = [
        (RoundId { model: b"another".to_vec(), number: 9, session: b"x".to_vec(), ..cohort.id.clone() }, true),
        (RoundId { beacon: Some([8; 32]), ..cohort.id.clone() }, false),
    ];
    for (id, same) in names {
        let others = cohort.again(id).run_until(Stage::Share);
        let listed = |message: &[u8]| {
            let entries = message[HEADER + 36..].chunks(4 + 96 + SIGNATURE);
            entries.map(|entry| entry[..4].to_vec()).collect::<Vec<_>>()
        };
        assert_eq!(listed(&others[&0]) == listed(&directories[&0]), same);
    }
    // The directory of another client lists strangers to this one.
    refused(cohort.answer(Stage::Share, 0, &directories[&75]), "");
}

/// Everyone's first attempt at a coin, and the corrupt clients' second, of the same topic and another value.
fn coins(cohort: &Cohort) -> Vec<Coin> {
    let coin =
        |identity: &Arc<Identity>| Coin::new(identity.clone(), cohort.roster.clone(), b"a session", &cohort.config);
    cohort.identities.iter().map(|identity| coin(identity).expect("on the roster")).collect()
}

fn listed(values: impl Iterator<Item = Signed>) -> BTreeMap<u32, Signed> {
    (0..).zip(values).collect()
}

#[test]
fn the_beacon_is_nobodys_choice() {
    let cohort = Cohort::new(six());
    let mut coins = self::coins(&cohort);
    // Corrupt client 5 has a second value up its sleeve, and commits to it once it has seen the others open.
    let mut sleeve = self::coins(&cohort).remove(5);
    let commitments = listed(coins.iter().map(Coin::commit));
    let mut changed = commitments.clone();
    changed.insert(5, sleeve.commit());
    let openings = listed(coins.iter_mut().map(|coin| coin.reveal(&commitments).expect("honest")));
    refused(coins[0].reveal(&changed), "against other commitments");
    let mut swapped = openings.clone();
    swapped.insert(5, sleeve.reveal(&changed).expect("it says so itself"));
    refused(coins[0].beacon(&swapped), "the signature of client 5 does not verify for this attempt and list");
    let beacons: Vec<_> = coins.iter().map(|coin| coin.beacon(&openings).expect("honest")).collect();
    assert!(beacons.iter().all(|beacon| *beacon == beacons[0]));
    // Two lists for two halves: no opening of one half counts in the other.
    let mut halves = self::coins(&cohort);
    let first = listed(halves.iter().map(Coin::commit));
    let mut second = first.clone();
    second.insert(5, sleeve.commit());
    let mixed: BTreeMap<u32, Signed> = (0..)
        .zip(&mut halves[..5])
        .map(|(client, coin)| (client, coin.reveal(if client < 3 { &first } else { &second }).expect("plausible")))
        .chain([(5, openings[&5])])
        .collect();
    refused(halves[0].beacon(&mixed), "the signature of client 3");
    // Before anything was opened against a list there is no beacon; without someone's opening neither.
    assert!(matches!(self::coins(&cohort)[0].beacon(&openings), Err(Error::OutOfOrder { .. })));
    let mut withheld = openings.clone();
    withheld.remove(&5);
    refused(coins[0].beacon(&withheld), "someone on the roster is missing");
}

#[test]
fn a_coin_is_tossed_again_as_often_as_clients_may_be_lost() {
    let setup =
        |struck| Setup { struck, ..Setup::new(150, 1, 1.0, Losses::Fractions { corrupt: 0.02, dropouts: 0.02 }) };
    let cohort = Cohort::new(setup(0));
    let least = cohort.config.shape().least_survivors();
    let mut peers: Vec<_> = cohort.identities.iter().map(|i| i.peer().clone()).collect();
    let mut coin = self::coins(&cohort).remove(0);
    for struck in 1..=3 {
        peers.pop();
        let config = setup(struck).check().expect("a round");
        assert_eq!((config.shape().corrupt, config.shape().least_survivors()), (3, least));
        coin = coin.again(Roster::new(peers.clone()).expect("distinct"), &config).expect("one more may be lost");
    }
    assert!(matches!(setup(4).check(), Err(Error::Parameter { what: "struck", .. })));
    // A roster that was made up anew, so that more are struck, or fewer assumed corrupt.
    peers.pop();
    let fresh =
        |corrupt, dropouts| Setup::new(146, 1, 1.0, Losses::Fractions { corrupt, dropouts }).check().expect("a round");
    let again = |peers: &[Peer], config: &RoundConfig| {
        let coin = self::coins(&cohort).remove(0);
        coin.again(Roster::new(peers.to_vec()).expect("distinct"), config)
    };
    refused(again(&peers, &fresh(0.0206, 0.01)), "too many would have been struck");
    refused(again(&peers, &fresh(0.01, 0.0)), "too many would have been struck");
    peers.swap(3, 4);
    refused(again(&peers, &fresh(0.0206, 0.0)), "less those who withheld");
}

#[test]
fn dropouts_and_thresholds_are_the_clients_to_limit() {
    let mut cohort = Cohort::new(six());
    let context = cohort.context();
    let survivors = cohort.run_until(Stage::Confirm);
    for members in [vec![0], vec![0, 1], vec![0, 1, 2, 3]] {
        let list = from_server(0x83, &context, &bitmap(6, &members));
        refused(cohort.answer(Stage::Confirm, 0, &list), "ends with no fewer than 5");
    }
    let list = from_server(0x83, &context, &bitmap(6, &[1, 2, 3, 4, 5]));
    refused(cohort.answer(Stage::Confirm, 0, &list), "leaves this client out");
    let mut padded = survivors[&0].clone();
    *padded.last_mut().expect("a byte") |= 0xC0;
    refused(cohort.answer(Stage::Confirm, 0, &padded), "beyond the roster");
    // Another threshold, ring, clip or cohort is another context.
    for other in [
        Setup { clip: 2.0, ..six() },
        Setup { value_bits: 12, ..six() },
        Setup { malicious_server: false, ..six() },
        Setup { cohort: Losses::Counts { corrupt: 0, dropouts: 1 }, ..six() },
        Setup { dimension: 4, ..six() },
    ] {
        let weak = Arc::new(other.check().expect("a round"));
        let party =
            Party::new(weak, cohort.identities[0].clone(), cohort.roster.clone(), 0, &cohort.id).expect("a party");
        let advert = Seat::enrol(party).expect("entropy").advertise().expect("first");
        let mut server = cohort.again(cohort.id.clone()).server;
        refused(server.receive(0, &advert), "another round");
    }
}

#[test]
fn a_thin_stretch_of_the_ring_is_refused() {
    let setup = Setup::new(150, 1, 1.0, Losses::Fractions { corrupt: 0.02, dropouts: 0.3 });
    let Ok(config) = setup.clone().check() else { panic!("a round") };
    assert!(!config.shape().is_complete());
    let mut cohort = Cohort::new(setup);
    let context = cohort.context();
    let _ = cohort.run_until(Stage::Confirm);
    // The ring as the specification draws it; the server drops a stretch of as many as it may.
    let ring = ring(&cohort.id.beacon.expect("needed"), 150);
    let lost = &ring[20..20 + cohort.config.shape().dropouts as usize];
    let members: Vec<u32> = (0..150).filter(|n| !lost.contains(n)).collect();
    let list = from_server(0x83, &context, &bitmap(150, &members));
    refused(cohort.answer(Stage::Confirm, ring[0], &list), "too thin");
    // As many lost all over the ring are fine.
    let scattered: Vec<u32> = ring.iter().copied().step_by(150 / lost.len()).take(lost.len()).collect();
    let members: Vec<u32> = (0..150).filter(|n| !scattered.contains(n)).collect();
    let list = from_server(0x83, &context, &bitmap(150, &members));
    assert!(cohort.answer(Stage::Confirm, members[0], &list).is_ok());
}

fn ring(beacon: &[u8; 32], clients: u32) -> Vec<u32> {
    use sha2::{Digest, Sha256};
    let hash = |parts: &[&[u8]]| -> [u8; 32] { Sha256::digest(parts.concat()).into() };
    let seed = hash(&[b"veilsum.federated.graph-seed.v1\0", beacon]);
    let mut words = (0_u64..).flat_map(|counter| {
        let block = hash(&[b"veilsum.federated.graph.v1\0", &seed, &counter.to_be_bytes()]);
        let word = |four: &[u8]| u32::from_be_bytes(four.try_into().expect("four bytes"));
        block.chunks(4).map(word).collect::<Vec<_>>()
    });
    let mut ring: Vec<u32> = (0..clients).collect();
    for last in (1..clients).rev() {
        let bound = u64::from(last) + 1;
        let whole = (1 << 32) / bound * bound;
        let word = words.find(|&word| u64::from(word) < whole).expect("endless");
        ring.swap(last as usize, (u64::from(word) % bound) as usize);
    }
    ring
}

#[test]
fn rounds_and_stages_are_not_replayed() {
    let mut first = Cohort::new(six());
    let adverts: Messages = (0..6).map(|c| (c, first.answer(Stage::Advertise, c, &[]).expect("first"))).collect();
    for (client, bytes) in &adverts {
        first.server.receive(*client, bytes).expect("honest");
        // A repeat changes nothing; another's name on it does not pass.
        first.server.receive(*client, bytes).expect("a repeat");
        refused(first.server.receive((client + 1) % 6, bytes), "another sender");
    }
    let directories = first.server.finish_stage().expect("enough");
    let shares: Messages =
        (0..6).map(|c| (c, first.answer(Stage::Share, c, &directories[&c]).expect("honest"))).collect();
    // Another round number: not even the header passes.
    let mut next = first.again(RoundId { number: 1, ..first.id.clone() });
    refused(next.server.receive(0, &adverts[&0]), "another round");
    // The same name used again by mistake: adverts pass, but keys are fresh, so old shares do not open.
    let mut again = first.again(first.id.clone());
    let directories = again.run_until(Stage::Share);
    for client in 0..5 {
        let bytes = again.answer(Stage::Share, client, &directories[&client]).expect("honest");
        again.server.receive(client, &bytes).expect("honest");
    }
    again.server.receive(5, &shares[&5]).expect("well formed, and of this name");
    let deliveries = again.server.finish_stage().expect("enough");
    refused(again.answer(Stage::Upload, 0, &deliveries[&0]), "the shares from client 5 do not open");
    // A stage's message at another stage.
    refused(again.server.receive(0, &shares[&0]), "another kind");
    refused(again.answer(Stage::Confirm, 0, &deliveries[&0]), "cannot follow");
}

#[test]
fn late_vectors_are_discarded() {
    let mut cohort = Cohort::new(six());
    let deliveries = cohort.run_until(Stage::Upload);
    let late = cohort.answer(Stage::Upload, 5, &deliveries[&5]).expect("honest");
    let survivors = cohort.stage(Stage::Upload, &deliveries, &[5]).expect("one may be lost");
    refused(cohort.server.receive(5, &late), "");
    let quorum = cohort.stage(Stage::Confirm, &survivors, &[]).expect("honest");
    refused(cohort.server.receive(5, &late), "");
    let opened = cohort.answer(Stage::Unmask, 0, &quorum[&0]).expect("honest");
    // What client 0 opened of client 5 is its mask key, never its seed: list items are (dealer, kind, share).
    let last = &opened[opened.len() - SIGNATURE - 37..opened.len() - SIGNATURE];
    assert_eq!((u32::from_be_bytes(last[..4].try_into().expect("4")), last[4]), (5, 1));
}

#[test]
fn tampered_shares_do_not_open_and_wrong_ones_are_named() {
    let mut cohort = Cohort::new(six());
    let deliveries = cohort.run_until(Stage::Upload);
    let start = HEADER + 1 + 4;
    for at in [start + 4, start + 4 + 32, start + 4 + 64 + 4 + 20, deliveries[&0].len() - 1] {
        let mut tampered = deliveries[&0].clone();
        tampered[at] ^= 1;
        refused(cohort.answer(Stage::Upload, 0, &tampered), "");
    }
    let survivors = cohort.stage(Stage::Upload, &deliveries, &[]).expect("honest");
    let quorum = cohort.stage(Stage::Confirm, &survivors, &[]).expect("honest");
    let context = cohort.context();
    for client in 0..5 {
        let bytes = cohort.answer(Stage::Unmask, client, &quorum[&client]).expect("honest");
        if client == 2 {
            // A corrupt client changes the share of client 4's seed, and signs it.
            let mut body = bytes[HEADER..bytes.len() - SIGNATURE].to_vec();
            body[4 + 4 * 37 + 5] ^= 1;
            let wrong = signed(&cohort.identities[2], 5, &context, 2, &body);
            refused(cohort.server.receive(2, &wrong), "client 2 sent a share of client 4's secret");
        } else {
            cohort.server.receive(client, &bytes).expect("honest");
        }
    }
    cohort.server.finish_stage().expect("four honest shares suffice");
    assert_eq!(cohort.server.result().expect("done").integers, cohort.expected(&[0, 1, 2, 3, 4, 5]));
}

#[test]
fn updates_that_are_not_finite_never_meet_a_mask() {
    let mut cohort = Cohort::new(six());
    let deliveries = cohort.run_until(Stage::Upload);
    for bad in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
        let update = [0.0, bad, 1.0];
        let result = cohort.seats[0].upload(&deliveries[&0], Update::Vector(&update), 1, &[]);
        assert!(matches!(result, Err(Error::Update { .. })));
    }
    for weight in [0, 2, u32::MAX] {
        let result = cohort.seats[0].upload(&deliveries[&0], Update::Vector(&[0.0; 3]), weight, &[]);
        assert!(matches!(result, Err(Error::Update { .. })));
    }
    // Refused updates leave the client where it was.
    assert!(cohort.stage(Stage::Upload, &deliveries, &[]).is_ok());
}

#[test]
fn a_restored_client_does_not_use_its_masks_twice() {
    let mut cohort = Cohort::new(six());
    let deliveries = cohort.run_until(Stage::Upload);
    let key = veilsum_crypto::Key::generate().expect("entropy");
    let before = cohort.seats[0].snapshot(&key).expect("entropy");
    let sent = cohort.answer(Stage::Upload, 0, &deliveries[&0]).expect("honest");
    let after = cohort.seats[0].snapshot(&key).expect("entropy");
    // From before the answer: another vector under the same masks is refused, and so is the same one.
    for update in [[0.5; 3], [1.0 / 64.0 / 6.0; 3]] {
        let mut copy = Seat::restore(cohort.party(0), &key, &before).expect("our snapshot");
        refused(copy.upload(&deliveries[&0], Update::Vector(&update), 1, &[]), "another copy");
    }
    // From after it: the same request gets the same bytes, another is refused.
    let mut copy = Seat::restore(cohort.party(0), &key, &after).expect("our snapshot");
    let same = cohort.updates[0].clone();
    assert_eq!(copy.upload(&deliveries[&0], Update::Vector(&same), 1, &[]).expect("a repeat"), sent);
    refused(copy.upload(&deliveries[&0], Update::Vector(&[0.5; 3]), 1, &[]), "another copy");
    // A snapshot is sealed to its key, round and client.
    let other = veilsum_crypto::Key::generate().expect("entropy");
    refused(Seat::restore(cohort.party(0), &other, &after), "does not open");
    refused(Seat::restore(cohort.party(1), &key, &after), "does not open");
    let mut cut = after.clone();
    cut.truncate(after.len() - 1);
    refused(Seat::restore(cohort.party(0), &key, &cut), "does not open");
}

#[test]
fn different_models_abort() {
    let mut cohort = Cohort::new(six());
    let mut misled = cohort.again(RoundId { model: b"another model".to_vec(), ..cohort.id.clone() });
    let advert = misled.answer(Stage::Advertise, 3, &[]).expect("first");
    refused(cohort.server.receive(3, &advert), "another round");
    // A server that relays it all the same: the header says another round, and relabelled the signature fails.
    let directories = cohort.run_until(Stage::Share);
    let mut mixed = directories[&0].clone();
    directory_entry(&mut mixed, 3)[4..100].copy_from_slice(&advert[HEADER..HEADER + 96]);
    let signature = &advert[advert.len() - SIGNATURE..];
    directory_entry(&mut mixed, 3)[100..].copy_from_slice(signature);
    refused(cohort.answer(Stage::Share, 0, &mixed), "the signature of client 3");
}

#[test]
fn floods_and_lies_about_length_cost_nothing() {
    let mut cohort = Cohort::new(six());
    let context = cohort.context();
    let directories = cohort.run_until(Stage::Share);
    // Announced lengths far beyond what is there.
    let mut lying = directories[&0].clone();
    lying[HEADER + 32..HEADER + 36].copy_from_slice(&u32::MAX.to_be_bytes());
    refused(cohort.answer(Stage::Share, 0, &lying), "longer than this round allows");
    // A quarter of a gigabyte: refused by its header, or by its length, without a copy.
    let flood = vec![1; 1 << 28];
    refused(cohort.server.receive(0, &flood), "");
    refused(cohort.answer(Stage::Share, 0, &flood), "");
    let deliveries = cohort.stage(Stage::Share, &directories, &[]).expect("honest");
    let huge = signed(&cohort.identities[1], 3, &context, 1, &flood);
    refused(cohort.server.receive(1, &huge), "length");
    // Trailing bytes after a message's last field.
    let trailing = [&deliveries[&0][..], &[0]].concat();
    refused(cohort.answer(Stage::Upload, 0, &trailing), "left over");
    for cut in [0, 1, HEADER - 1, HEADER, deliveries[&0].len() - 1] {
        refused(cohort.answer(Stage::Upload, 0, &deliveries[&0][..cut]), "");
    }
}

#[test]
fn unknown_versions_suites_and_kinds_are_typed_errors() {
    let mut cohort = Cohort::new(six());
    let directories = cohort.run_until(Stage::Share);
    for (place, value, about) in
        [(0, 2, "version"), (1, 2, "X-Wing"), (1, 9, "suite"), (2, 0x82, "kind"), (5, 0xAA, "round"), (38, 0, "sender")]
    {
        let mut changed = directories[&0].clone();
        assert_ne!(changed[place], value);
        changed[place] = value;
        refused(cohort.answer(Stage::Share, 0, &changed), about);
    }
}

/// The list items of a delivery behind its bitmap: (dealer, two commitments, length, sealed shares).
fn without_dealers(delivery: &[u8], clients: usize, hidden: &[u32]) -> Vec<u8> {
    let (head, mut rest) = delivery.split_at(HEADER + clients.div_ceil(8) + 4);
    let mut head = head.to_vec();
    hidden.iter().for_each(|&n| head[HEADER + n as usize / 8] &= !(1 << (n % 8)));
    let (mut kept, mut items) = (0_u32, Vec::new());
    let word = |bytes: &[u8]| u32::from_be_bytes(bytes[..4].try_into().expect("four bytes"));
    while !rest.is_empty() {
        let (item, behind) = rest.split_at(72 + word(&rest[68..]) as usize);
        if !hidden.contains(&word(item)) {
            items.extend_from_slice(item);
            kept += 1;
        }
        rest = behind;
    }
    let at = head.len() - 4;
    head[at..].copy_from_slice(&kept.to_be_bytes());
    [head, items].concat()
}

/// Two stretches of the ring are told, before they upload, that nobody beyond them shared: so they mask with the clients
/// between them alone. All of them stay in the survivor set, and a corrupt client at the far end of each stretch makes up
/// the number that opens their seeds. Were the others to answer, the sum of the stretches and of those between would come
/// off alone, though more than half of everyone has signed one and the same survivor set.
#[test]
fn walls_of_clients_that_were_told_another_story_cut_nothing_off() {
    let clients = 200;
    let mut cohort = Cohort::new(Setup::new(clients, 1, 1.0, Losses::Fractions { corrupt: 0.01, dropouts: 0.1 }));
    let (context, shape) = (cohort.context(), *cohort.config.shape());
    let half = shape.neighbors as usize / 2;
    // One corrupt client in a wall is what the threshold asks for there.
    assert!(!shape.is_complete() && shape.corrupt == 2 && shape.threshold as usize == half + 2);
    let deliveries = cohort.run_until(Stage::Upload);
    let ring = ring(&cohort.id.beacon.expect("needed"), clients);
    // Places of the walls from the near end to the far one, where the corrupt client sits; between them are 60 clients.
    let walls: [Vec<usize>; 2] = [(80..80 + half).collect(), (20 - half..20).rev().collect()];
    let mut told = deliveries.clone();
    for (wall, beyond) in walls.iter().zip([1, -1]) {
        for &place in &wall[..half - 1] {
            let end = wall[half - 1];
            let far: Vec<u32> = (1..=half)
                .map(|step| (place as i64 + beyond * step as i64).rem_euclid(200) as usize)
                .filter(|at| if beyond > 0 { *at > end } else { *at < end || *at > 150 })
                .map(|at| ring[at])
                .collect();
            let message = without_dealers(&deliveries[&ring[place]], clients as usize, &far);
            told.insert(ring[place], message);
        }
    }
    let survivors = cohort.stage(Stage::Upload, &told, &[]).expect("every list holds enough clients");
    let misled: Vec<u32> = walls.iter().flat_map(|wall| &wall[..half - 1]).map(|&place| ring[place]).collect();
    let mut signatures: BTreeMap<u32, Vec<u8>> = BTreeMap::new();
    for (client, message) in survivors {
        let answer = cohort.answer(Stage::Confirm, client, &message);
        if misled.contains(&client) {
            refused(answer, "a client that did not share");
            continue;
        }
        let bytes = answer.expect("a plausible set");
        cohort.server.receive(client, &bytes).expect("honest");
        signatures.insert(client, bytes[bytes.len() - SIGNATURE..].to_vec());
    }
    assert!(signatures.len() >= shape.quorum as usize);
    assert!(matches!(cohort.server.finish_stage(), Err(Error::Aborted { .. })), "an honest server sees it too");
    let mut body = (signatures.len() as u32).to_be_bytes().to_vec();
    signatures.iter().for_each(|(client, signature)| body.extend([&client.to_be_bytes()[..], signature].concat()));
    let quorum = from_server(0x84, &context, &body);
    for place in [50, 120] {
        refused(cohort.answer(Stage::Unmask, ring[place], &quorum), "too thin somewhere");
    }
}
