//! Secure aggregation: a server and a client that get a fuzzer's bytes, with and without a valid signature.

use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::sync::Arc;
use veilsum_crypto::Identity;
use veilsum_federated::client::{Party, Seat};
use veilsum_federated::round::Context;
use veilsum_federated::{Cohort, Roster, RoundConfig, RoundId, Server, Setup, Update};

/// Three clients and a server, `stages` stages into a round.
struct Round {
    config: Arc<RoundConfig>,
    identities: Vec<Arc<Identity>>,
    context: Context,
    seats: Vec<Seat>,
    server: Server,
    messages: BTreeMap<u32, Vec<u8>>,
}

impl Round {
    fn after(stages: u8) -> Self {
        let setup = Setup::new(4, 2, 1.0, Cohort::Counts { corrupt: 0, dropouts: 1 });
        let config = Arc::new(setup.check().expect("a safe round"));
        let identities: Vec<_> = (0..4).map(|_| Arc::new(Identity::generate().expect("entropy"))).collect();
        let roster = Roster::new(identities.iter().map(|i| i.peer().clone())).expect("distinct");
        let id = RoundId::default();
        let party = |number: u32| {
            Party::new(config.clone(), identities[number as usize].clone(), roster.clone(), number, &id).expect("enrolled")
        };
        let mut seats: Vec<Seat> = (0..4).map(|n| Seat::enrol(party(n)).expect("entropy")).collect();
        let context = Context::new(&config, &roster, &id).expect("a round");
        let mut server = Server::new(config.clone(), roster, &id).expect("a round");
        let mut messages: BTreeMap<u32, Vec<u8>> = BTreeMap::new();
        for stage in 0..stages {
            for seat in &mut seats {
                let message = messages.get(&seat.number()).cloned().unwrap_or_default();
                let bytes = answer(seat, stage, &message).expect("honest");
                server.receive(seat.number(), &bytes).expect("honest");
            }
            messages = server.finish_stage().expect("enough");
        }
        Self { config, identities, context, seats, server, messages }
    }
}

fn answer(seat: &mut Seat, stage: u8, message: &[u8]) -> Result<Vec<u8>, veilsum_federated::Error> {
    match stage {
        0 => seat.advertise(),
        1 => seat.share(message),
        2 => seat.upload(message, Update::Vector(&[0.5, -0.5]), 1, &[]),
        3 => seat.confirm(message),
        _ => seat.unmask(message),
    }
}

/// A server takes no bytes that are not a message, whatever is signed, and finishes with the exact sum or not at all.
pub fn server(data: &[u8]) {
    let Some((&[choice, sender], body)) = data.split_first_chunk::<2>() else { return };
    let stage = choice % 5;
    let mut round = Round::after(stage);
    let sender = u32::from(sender % 5);
    let _ = round.server.receive(sender, body);
    if sender < 4 {
        let header = [&[1, 1, stage + 1][..], round.context.as_bytes(), &sender.to_be_bytes()].concat();
        let identity = &round.identities[sender as usize];
        let signature =
            identity.sign("veilsum.federated.message.v1", &[&header[..], &Sha256::digest(body)].concat());
        let _ = round.server.receive(sender, &[&header[..], body, &signature].concat());
    }
    // The other three are honest, and three are enough.
    for now in stage..5 {
        for seat in &mut round.seats {
            if seat.number() == sender {
                continue;
            }
            let message = round.messages.get(&seat.number()).cloned().unwrap_or_default();
            if let Ok(bytes) = answer(seat, now, &message) {
                let _ = round.server.receive(seat.number(), &bytes);
            }
        }
        match round.server.finish_stage() {
            Ok(messages) => round.messages = messages,
            Err(_) => return,
        }
    }
    assert!(round.server.result().is_ok());
}

/// A client refuses what is not the message of its stage, stays where it was, and then answers the right one.
pub fn client(data: &[u8]) {
    let Some((&choice, body)) = data.split_first() else { return };
    let stage = 1 + choice % 4;
    let mut round = Round::after(stage);
    let seat = &mut round.seats[0];
    let right = round.messages[&0].clone();
    let kind = 0x80 + stage;
    let forged = [&[1, 1, kind][..], round.context.as_bytes(), &u32::MAX.to_be_bytes(), body].concat();
    for wrong in [body, &forged] {
        if wrong != right && answer(seat, stage, wrong).is_ok() {
            // Another message that this client may answer, such as another plausible survivor set; never two.
            assert!(answer(seat, stage, &right).is_err());
            return;
        }
    }
    assert!(answer(seat, stage, &right).is_ok());
    assert_eq!(round.config.shape().clients, 4);
}

/// A log that was altered never resumes into another sum.
pub fn log(data: &[u8]) {
    let round = Round::after(0);
    let roster = Roster::new(round.identities.iter().map(|i| i.peer().clone())).expect("distinct");
    if let Ok(resumed) = Server::resume(round.config.clone(), roster, &RoundId::default(), data) {
        assert!(resumed.whole <= data.len());
        assert!(resumed.server.result().is_err());
    }
}
