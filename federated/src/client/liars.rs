//! Dealers that lie, made of the parts of an honest client. Each lie has its moment of truth, and its author is named.

use super::seat::Stage as Now;
use super::{Client, Party, Seat, Shared, checked_neighbors, deal};
use crate::encoding::Update;
use crate::keys::{self, End, RoundSecrets};
use crate::message::{self, Directory, Kind};
use crate::round::{Cohort, Roster, RoundId, Setup};
use crate::{Error, Server};
use std::sync::Arc;
use veilsum_crypto::Identity;

#[derive(Clone, Copy, PartialEq)]
enum Lie {
    None,
    /// Shares of a seed that is not the one it promised.
    Seed,
    /// Shares of a mask key that does not belong to the one it advertised.
    MaskKey,
    /// To client 0, shares that are not those it committed to.
    Share,
}

const LIAR: u32 = 5;

fn share(seat: &mut Seat, directory: &[u8], lie: Lie) -> Vec<u8> {
    let Now::Advertised(Client { party, stage }) = std::mem::replace(&mut seat.stage, Now::Moving) else {
        panic!("advertised")
    };
    let body = message::open_from_server(Kind::Directory, party.context(), directory).expect("honest");
    let directory = Directory::decode(body, party.config()).expect("honest");
    let graph = party.graph(&directory.graph_seed).expect("honest");
    let neighbors = checked_neighbors(&party, &graph, &stage.secrets, directory.adverts).expect("honest");
    let (mut dealt, other) = (stage.secrets.copied(), RoundSecrets::draw().expect("entropy"));
    match lie {
        Lie::Seed => dealt.seed = other.seed,
        Lie::MaskKey => dealt.mask = other.mask,
        Lie::None | Lie::Share => {}
    }
    let (mut entries, own_shares) = deal(&party, &graph, &dealt, &neighbors).expect("entropy");
    if lie == Lie::Share {
        let end = End::of(LIAR, &stage.secrets.share);
        let key = end.share_key(party.context(), 0, &neighbors[0].1.share_key).expect("a good key");
        let bound = keys::share_context(party.context(), LIAR, 0, &entries[0].commitments);
        entries[0].sealed = key.seal(&[7; message::SHARES], &bound).expect("entropy");
    }
    let bytes = party.seal(Kind::Share, &message::encode_share(&entries));
    let stage = Shared { secrets: stage.secrets, graph_seed: directory.graph_seed, neighbors, own_shares };
    seat.stage = Now::Shared(Client { party, stage });
    bytes
}

/// A round of six in which the last one lies, and is lost before it uploads or not.
fn played(lie: Lie, lost: bool) -> Result<(), Error> {
    let config = Arc::new(Setup::new(6, 2, 1.0, Cohort::Counts { corrupt: 1, dropouts: 1 }).check()?);
    let identities: Vec<_> = (0..6).map(|_| Arc::new(Identity::generate().expect("entropy"))).collect();
    let roster = Roster::new(identities.iter().map(|identity| identity.peer().clone()))?;
    let id = RoundId::default();
    let mut server = Server::new(config.clone(), roster.clone(), &id)?;
    let mut seats: Vec<Seat> = (0..)
        .zip(identities)
        .map(|(number, identity)| Seat::enrol(Party::new(config.clone(), identity, roster.clone(), number, &id)?))
        .collect::<Result<_, _>>()?;
    for seat in &mut seats {
        server.receive(seat.number(), &seat.advertise()?)?;
    }
    let directories = server.finish_stage()?;
    for seat in &mut seats {
        let number = seat.number();
        let directory = &directories[&number];
        let bytes = if number == LIAR { share(seat, directory, lie) } else { seat.share(directory)? };
        server.receive(number, &bytes)?;
    }
    let deliveries = server.finish_stage()?;
    seats.truncate(6 - usize::from(lost));
    for seat in &mut seats {
        let number = seat.number();
        server.receive(number, &seat.upload(&deliveries[&number], Update::Vector(&[0.1; 2]), 1, &[])?)?;
    }
    let survivors = server.finish_stage()?;
    for seat in &mut seats {
        server.receive(seat.number(), &seat.confirm(&survivors[&seat.number()])?)?;
    }
    let quorums = server.finish_stage()?;
    for seat in &mut seats {
        server.receive(seat.number(), &seat.unmask(&quorums[&seat.number()])?)?;
    }
    server.finish_stage()?;
    Ok(())
}

#[test]
fn every_lie_is_found_and_its_author_named() {
    for lost in [false, true] {
        assert_eq!(played(Lie::None, lost), Ok(()));
        let found = played(Lie::Share, lost).expect_err("a lie").to_string();
        assert!(found.contains("client 5 dealt a share that is not the one it committed to"), "{found}");
    }
    for (lie, lost) in [(Lie::Seed, false), (Lie::MaskKey, true)] {
        let found = played(lie, lost).expect_err("a lie").to_string();
        assert!(found.contains("client 5 dealt shares that do not rebuild what it advertised"), "{found}");
        // The other secret is not asked for.
        assert_eq!(played(lie, !lost), Ok(()));
    }
}
