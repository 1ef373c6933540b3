//! Attacks on messages, streams and sealed messages: each must be refused, and say nothing about why.

use std::io::{Cursor, Read, Seek, SeekFrom, Write};
use std::sync::OnceLock;

use proptest::prelude::*;
use veilsum_crypto::{
    Error, Identity, Kem, Key, Keyring, Member, MessageId, PeerSet, Protection, Purpose, Recipients, ReplayGuard, Role,
    RoundKey, RoundOffer, Suite, Threads, UnixTime, hazmat, seal_anonymously, secret::Secret,
};

const CHUNK: usize = 16 * 1024;
const SEALED: usize = CHUNK + 16;
/// Header, salt and commitment.
const START: usize = 8 + 56;
/// A recipient's id, encapsulated X-Wing key and wrapped file key.
const STANZA: usize = 32 + 1120 + 48;
const NOW: UnixTime = UnixTime(1_790_000_000);

fn key() -> &'static Key {
    static KEY: OnceLock<Key> = OnceLock::new();
    KEY.get_or_init(|| Key::generate().expect("entropy"))
}

struct People {
    alice: Identity,
    bob: Identity,
    carol: Identity,
    mallory: Identity,
    listed: PeerSet,
}

fn people() -> &'static People {
    static PEOPLE: OnceLock<People> = OnceLock::new();
    PEOPLE.get_or_init(|| {
        let [alice, bob, carol, mallory] = std::array::from_fn(|_| Identity::generate().expect("entropy"));
        let listed = PeerSet::new([&alice, &bob, &carol].map(|identity| identity.peer().clone()));
        People { alice, bob, carol, mallory, listed }
    })
}

fn sealed_by_alice(to: &[&Identity], data: &[u8], context: &[u8]) -> Vec<u8> {
    let recipients = Recipients::new(to.iter().map(|identity| identity.peer())).expect("a few");
    people().alice.seal_to(&recipients, data, context).expect("sealed")
}

fn pattern(length: usize) -> Vec<u8> {
    (0..length).map(|i| (i * 7 + i / 251) as u8).collect()
}

/// Opens every way there is: at once, into a buffer (which must be wiped on a refusal), in place, and as a stream.
fn open_every_way(key: &Key, sealed: &[u8], context: &[u8]) -> Result<Vec<u8>, Error> {
    let once = key.open(sealed, context);
    let mut buffer = vec![0xAA; sealed.len()];
    let into = key.open_into(sealed, &mut buffer, context, Threads::ONE);
    match (&once, &into) {
        (Ok(data), Ok(length)) => assert_eq!(data[..], buffer[..*length]),
        (Err(one), Err(other)) => {
            assert_eq!(one, other);
            assert!(buffer.iter().all(|byte| *byte == 0), "the buffer was not wiped");
        }
        _ => panic!("{once:?} at once, {into:?} into a buffer"),
    }
    let mut place = sealed.to_vec();
    let in_place = key.open_in_place(&mut place, context, Threads::Auto);
    match (&once, &in_place) {
        (Ok(data), Ok(())) => assert_eq!(data, &place),
        (Err(one), Err(other)) => {
            assert_eq!(one, other);
            assert!(place.is_empty());
        }
        _ => panic!("{once:?} at once, {in_place:?} in place"),
    }
    let mut streamed = Vec::new();
    let stream = key.reader(sealed, context, Threads::ONE).and_then(|mut reader| reader.read_to_end(&mut streamed));
    match (&once, stream) {
        (Ok(data), Ok(_)) => assert_eq!(data, &streamed),
        (Err(one), Err(other)) => assert_eq!(Error::inside(&other), Some(one)),
        (once, stream) => panic!("{once:?} at once, {stream:?} as a stream"),
    }
    once
}

fn refused(key: &Key, sealed: &[u8], context: &[u8], what: &str) {
    assert_eq!(open_every_way(key, sealed, context), Err(Error::Rejected), "{what}");
}

#[test]
fn every_length_comes_back_every_way() {
    let lengths = [0, 1, 15, 16, 17, CHUNK - 1, CHUNK, CHUNK + 1, 2 * CHUNK, 5 * CHUNK + 7, 200 * CHUNK + 1];
    for length in lengths {
        let data = pattern(length);
        let sealed = key().seal(&data, b"context").expect("sealed");
        assert_eq!(Some(sealed.len()), Key::sealed_length(length));
        assert_eq!(open_every_way(key(), &sealed, b"context").expect("opened"), data, "{length}");

        let mut place = data.clone();
        key().seal_in_place(&mut place, b"context", Threads::Auto).expect("sealed");
        assert_eq!(open_every_way(key(), &place, b"context").expect("opened"), data, "{length} in place");

        for threads in [Threads::ONE, Threads::Auto] {
            let mut writer = key().writer(Vec::new(), b"context", threads).expect("started");
            for piece in data.chunks(10_007) {
                writer.write_all(piece).expect("written");
            }
            let streamed = writer.finish().expect("finished");
            assert_eq!(streamed.len(), sealed.len());
            assert_eq!(open_every_way(key(), &streamed, b"context").expect("opened"), data, "{length} streamed");
        }
    }
}

#[test]
fn every_bit_of_the_header_and_prefix_counts() {
    let sealed = key().seal(b"data", b"context").expect("sealed");
    for bit in 0..8 * sealed.len() {
        let mut changed = sealed.clone();
        changed[bit / 8] ^= 1 << (bit % 8);
        let error = open_every_way(key(), &changed, b"context").expect_err("a changed bit");
        if bit >= 64 {
            assert_eq!(error, Error::Rejected, "bit {bit}");
        } else {
            assert!(matches!(error, Error::Malformed { .. } | Error::Rejected), "bit {bit}: {error:?}");
        }
    }
}

#[test]
fn every_truncation_is_refused() {
    let sealed = key().seal(&pattern(2 * CHUNK + 100), b"context").expect("sealed");
    let interesting = (0..START + 40)
        .chain(START + SEALED - 20..START + SEALED + 40)
        .chain(START + 2 * SEALED - 20..sealed.len())
        .chain((0..sealed.len()).step_by(977));
    for length in 8..sealed.len() {
        assert_eq!(key().open(&sealed[..length], b"context"), Err(Error::Rejected), "{length}");
    }
    for length in interesting {
        let error = open_every_way(key(), &sealed[..length], b"context").expect_err("a cut message");
        match length {
            0..8 => assert!(matches!(error, Error::Malformed { .. }), "{length}: {error:?}"),
            _ => assert_eq!(error, Error::Rejected, "{length}"),
        }
    }
}

#[test]
fn chunks_cannot_be_dropped_swapped_repeated_appended_or_spliced() {
    let data = pattern(4 * CHUNK + 5);
    let sealed = key().seal(&data, b"context").expect("sealed");
    let other = key().seal(&data, b"context").expect("sealed");
    let (start, body) = sealed.split_at(START);
    let chunks: Vec<&[u8]> = body.chunks(SEALED).collect();
    let others: Vec<&[u8]> = other[START..].chunks(SEALED).collect();
    let joined = |pieces: &[&[u8]]| [start, &pieces.concat()].concat();
    assert_eq!(key().open(&joined(&chunks), b"context").as_ref(), Ok(&data));
    let [a, b, c, d, e] = chunks[..] else { panic!("five chunks") };
    for (pieces, what) in [
        (vec![b, c, d, e], "first dropped"),
        (vec![a, c, d, e], "one dropped"),
        (vec![a, b, c, d], "last dropped"),
        (vec![a, b, c, e], "last but one dropped"),
        (vec![b, a, c, d, e], "swapped"),
        (vec![a, b, c, d, d, e], "repeated"),
        (vec![a, b, c, d, e, e], "last repeated"),
        (vec![a, b, c, d, e, a], "appended"),
        (vec![a, others[1], c, d, e], "spliced"),
        (vec![a, b, c, d, others[4]], "last spliced"),
        (others.clone(), "all spliced"),
        (vec![a, b, c, d, e, b"x"], "a byte appended"),
        (vec![], "all dropped"),
    ] {
        refused(key(), &joined(&pieces), b"context", what);
    }
}

#[test]
fn wrong_key_context_suite_and_version() {
    let sealed = key().seal(b"data", b"context").expect("sealed");
    refused(&Key::generate().expect("entropy"), &sealed, b"context", "another key");
    for context in [&b""[..], b"contex", b"context ", b"Context"] {
        refused(key(), &sealed, context, "another context");
    }
    let bytes = [9; 32];
    let aes = hazmat::key_from_secret(Secret::copied_from(&bytes), Suite::Aes256Gcm);
    let chacha = hazmat::key_from_secret(Secret::copied_from(&bytes), Suite::ChaCha20Poly1305);
    let by_aes = aes.seal(b"data", b"context").expect("sealed");
    refused(&chacha, &by_aes, b"context", "the same bytes as a key of another suite");
    let mut relabelled = by_aes.clone();
    relabelled[6] = 2;
    refused(&chacha, &relabelled, b"context", "a header that was changed to the other suite");
    assert_eq!(chacha.open(&chacha.seal(b"data", b"c").expect("sealed"), b"c").as_deref(), Ok(&b"data"[..]));
    let mut version = sealed;
    version[4] = 2;
    assert!(matches!(key().open(&version, b"context"), Err(Error::Malformed { .. })));
}

/// No second key opens a message, even with the commitment that it would have itself. (A chunk that *is* valid under two
/// keys is made in the crate's own tests, `cobblestone/two_keys.rs`.)
#[test]
fn one_message_opens_under_one_key() {
    let sealed = hazmat::cobblestone256_encrypt(key(), b"data", b"context").expect("sealed");
    for byte in 0..=255 {
        let other = hazmat::key_from_secret(Secret::copied_from(&[byte; 32]), Suite::Aes256Gcm);
        assert_eq!(hazmat::cobblestone256_decrypt(&other, &sealed, b"context"), Err(Error::Rejected));
        let theirs = hazmat::cobblestone256_encrypt(&other, b"data", b"context").expect("sealed");
        let grafted = [&theirs[..56], &sealed[56..]].concat();
        assert_eq!(hazmat::cobblestone256_decrypt(&other, &grafted, b"context"), Err(Error::Rejected));
        assert_eq!(hazmat::cobblestone256_decrypt(key(), &grafted, b"context"), Err(Error::Rejected));
    }
}

/// What fails in the middle of a large message leaves nothing in the buffer, whichever thread found out.
#[test]
fn a_failed_open_wipes_the_whole_buffer() {
    let data = vec![0x55; 300 * CHUNK];
    let sealed = key().seal(&data, b"context").expect("sealed");
    for chunk in [0, 1, 150, 299, 300] {
        let mut changed = sealed.clone();
        let at = (START + chunk * SEALED + 3).min(changed.len() - 1);
        changed[at] ^= 1;
        for threads in [Threads::ONE, Threads::Auto] {
            let mut buffer = vec![0x55; data.len() + 100];
            assert_eq!(key().open_into(&changed, &mut buffer, b"context", threads), Err(Error::Rejected));
            assert!(buffer.iter().all(|byte| *byte == 0), "chunk {chunk}");
        }
    }
}

#[test]
fn buffers_of_the_wrong_length_are_refused() {
    let mut short = vec![0; Key::sealed_length(10).expect("small") - 1];
    assert!(matches!(key().seal_into(&[0; 10], &mut short, b"", Threads::ONE), Err(Error::OutOfRange { .. })));
    let sealed = key().seal(&[1; 10], b"").expect("sealed");
    let mut short = vec![0; 9];
    assert!(matches!(key().open_into(&sealed, &mut short, b"", Threads::ONE), Err(Error::OutOfRange { .. })));
}

#[test]
fn a_stream_without_its_end_is_refused_and_keeps_failing() {
    let mut sealed = Vec::new();
    let mut writer = key().writer(&mut sealed, b"context", Threads::ONE).expect("started");
    writer.write_all(&pattern(3 * CHUNK)).expect("written");
    writer.flush().expect("flushed");
    drop(writer);
    let mut reader = key().reader(&sealed[..], b"context", Threads::ONE).expect("a good beginning");
    let mut data = Vec::new();
    let error = reader.read_to_end(&mut data).expect_err("no final chunk");
    assert_eq!(Error::inside(&error), Some(&Error::Rejected));
    for _ in 0..3 {
        let error = reader.read(&mut [0; 10]).expect_err("still failing");
        assert_eq!(Error::inside(&error), Some(&Error::Rejected));
    }
}

#[test]
fn a_writer_that_ended_takes_nothing_more() {
    let mut writer = key().writer(Vec::new(), b"", Threads::ONE).expect("started");
    writer.end().expect("ended");
    assert!(writer.write_all(b"more").is_err() && writer.end().is_err() && writer.flush().is_err());
}

#[test]
fn seeking_finds_every_place_and_refuses_a_cut_source() {
    let data = pattern(5 * CHUNK + 1000);
    let sealed = key().seal(&data, b"context").expect("sealed");
    // The source need not begin with the message.
    let mut source = Cursor::new([&b"before"[..], &sealed].concat());
    source.set_position(6);
    let mut reader = key().reader(source, b"context", Threads::ONE).expect("opened");
    reader.read_exact(&mut [0; 100]).expect("some");
    for at in [0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 4 * CHUNK + 17, data.len() - 1, data.len(), 3] {
        assert_eq!(reader.seek(SeekFrom::Start(at as u64)).expect("found"), at as u64);
        let mut rest = Vec::new();
        reader.read_to_end(&mut rest).expect("read");
        assert_eq!(rest[..], data[at..], "{at}");
    }
    assert_eq!(reader.seek(SeekFrom::End(-10)).expect("found"), data.len() as u64 - 10);
    assert_eq!(reader.seek(SeekFrom::Current(5)).expect("found"), data.len() as u64 - 5);
    assert_eq!(reader.seek(SeekFrom::Start(1 << 60)).expect("the end"), data.len() as u64);
    assert!(reader.seek(SeekFrom::End(-(1 << 40))).is_err());
    assert_eq!(reader.length().expect("known"), data.len() as u64);

    for cut in [1, 17, 1016, 1017, SEALED] {
        let cut = &sealed[..sealed.len() - cut];
        let mut reader = key().reader(Cursor::new(cut), b"context", Threads::ONE).expect("a good beginning");
        let error = reader.seek(SeekFrom::Start(0)).expect_err("the length is not the sealed one");
        assert_eq!(Error::inside(&error), Some(&Error::Rejected));
    }
}

#[test]
fn sealed_messages_reach_their_recipients_alone() {
    let People { alice, bob, carol, mallory, listed } = people();
    for (kem, suite) in [
        (Kem::XWing, Suite::Aes256Gcm),
        (Kem::X25519, Suite::Aes256Gcm),
        (Kem::XWing, Suite::ChaCha20Poly1305),
        (Kem::X25519, Suite::ChaCha20Poly1305),
    ] {
        let recipients = Recipients::new([bob.peer(), carol.peer()]).expect("two").by(kem).expect("peers have both");
        let sealed = alice.seal_to(&recipients.with_suite(suite), b"data", b"context").expect("sealed");
        for recipient in [bob, carol] {
            let opened = recipient.open_from(listed, NOW, &sealed, b"context").expect("opened");
            assert_eq!((&opened.data[..], &opened.sender), (&b"data"[..], alice.peer()));
        }
        assert!(matches!(mallory.open_from(listed, NOW, &sealed, b"context"), Err(Error::NoKey { .. })));
        assert_eq!(bob.open_from(listed, NOW, &sealed, b"other").map(drop), Err(Error::Rejected));
    }
}

#[test]
fn every_bit_of_a_sealed_message_counts() {
    let People { bob, carol, listed, .. } = people();
    let sealed = sealed_by_alice(&[bob, carol], b"data", b"context");
    // Each costs a key agreement: of the encapsulated keys, every 17th bit.
    let encapsulated = |bit: usize| [11, 11 + STANZA].iter().any(|at| (at + 32..at + 32 + 1120).contains(&(bit / 8)));
    for bit in (0..8 * sealed.len()).filter(|bit| !encapsulated(*bit) || bit % 17 == 0) {
        let mut changed = sealed.clone();
        changed[bit / 8] ^= 1 << (bit % 8);
        let error = bob.open_from(listed, NOW, &changed, b"context").expect_err("a changed bit");
        match bit / 8 {
            0..11 => assert!(!matches!(error, Error::KeyExhausted { .. }), "bit {bit}"),
            // A recipient's id that was changed names someone else, or breaks the order of the ids.
            _ => assert!(matches!(error, Error::Rejected | Error::NoKey { .. } | Error::Malformed { .. })),
        }
        if bit / 8 >= 11 + 2 * STANZA {
            assert_eq!(error, Error::Rejected, "bit {bit}");
        }
    }
    for length in (0..sealed.len()).step_by(13) {
        bob.open_from(listed, NOW, &sealed[..length], b"context").expect_err("a cut message");
    }
}

/// A relay cannot take a recipient's stanza out and pass the rest on.
#[test]
fn stanzas_cannot_be_removed_or_replaced() {
    let People { bob, carol, listed, .. } = people();
    let both = sealed_by_alice(&[bob, carol], b"data", b"context");
    for (kept, recipient) in [(11..11 + STANZA, 0), (11 + STANZA..11 + 2 * STANZA, 1)] {
        let mut alone = both[..11].to_vec();
        alone[9..11].copy_from_slice(&1_u16.to_be_bytes());
        alone.extend_from_slice(&both[kept]);
        alone.extend_from_slice(&both[11 + 2 * STANZA..]);
        let first = if bob.peer().id() < carol.peer().id() { [bob, carol] } else { [carol, bob] };
        let error = first[recipient].open_from(listed, NOW, &alone, b"context").expect_err("a stanza is missing");
        assert_eq!(error, Error::Rejected);
    }
}

/// Bob, who may read Alice's message, passes it on to Carol. (What he can do with its file key is tried in the crate's own
/// tests, `seal.rs`.)
#[test]
fn surreptitious_forwarding_is_refused() {
    let People { bob, carol, listed, .. } = people();
    let to_bob = sealed_by_alice(&[bob], b"I owe you 10", b"context");
    // Whole, it names Bob alone.
    assert!(matches!(carol.open_from(listed, NOW, &to_bob, b"context"), Err(Error::NoKey { .. })));
    // Resealed by Bob, it is Bob's.
    let opened = bob.open_from(listed, NOW, &to_bob, b"context").expect("his");
    let forwarded =
        bob.seal_to(&Recipients::new([carol.peer()]).expect("one"), &opened.data, b"context").expect("sealed");
    let seen = carol.open_from(listed, NOW, &forwarded, b"context").expect("from Bob");
    assert_eq!(&seen.sender, bob.peer());
}

#[test]
fn unlisted_early_late_and_unsuited_senders_are_refused() {
    let People { alice, bob, mallory, .. } = people();
    let to_bob = Recipients::new([bob.peer()]).expect("one");
    let sealed = mallory.seal_to(&to_bob, b"data", b"context").expect("sealed");
    let by_alice = alice.seal_to(&to_bob, b"data", b"context").expect("sealed");
    let member = Member {
        roles: [Role::new("client").expect("a name")].into(),
        from: UnixTime(100),
        until: UnixTime(200),
        ..alice.peer().clone().into()
    };
    let listed = PeerSet::of([member]);
    let open = |peers: &PeerSet, now: u64, sealed: &[u8]| {
        bob.open_from(peers, UnixTime(now), sealed, b"context").map(|opened| opened.data)
    };
    assert_eq!(open(&listed, 150, &by_alice).as_deref(), Ok(&b"data"[..]));
    assert_eq!(open(&listed, 150, &sealed), Err(Error::Rejected), "unlisted");
    assert_eq!(open(&listed, 99, &by_alice), Err(Error::Rejected), "early");
    assert_eq!(open(&listed, 200, &by_alice), Err(Error::Rejected), "late");
    assert_eq!(open(&PeerSet::default(), 150, &by_alice), Err(Error::Rejected), "nobody is listed");
    let clients = listed.with_role(&Role::new("client").expect("a name"));
    assert_eq!(open(&clients, 150, &by_alice).as_deref(), Ok(&b"data"[..]));
    let servers = listed.with_role(&Role::new("server").expect("a name"));
    assert_eq!(open(&servers, 150, &by_alice), Err(Error::Rejected), "not a server");
}

#[test]
fn anonymous_and_signed_messages_do_not_pass_for_each_other() {
    let People { bob, listed, .. } = people();
    let to_bob = Recipients::new([bob.peer()]).expect("one");
    let anonymous = seal_anonymously(&to_bob, b"data", b"context").expect("sealed");
    assert_eq!(bob.open_anonymous(&anonymous, b"context").as_deref(), Ok(&b"data"[..]));
    assert!(matches!(bob.open_from(listed, NOW, &anonymous, b"context"), Err(Error::Malformed { .. })));
    let signed = sealed_by_alice(&[bob], b"data", b"context");
    assert!(matches!(bob.open_anonymous(&signed, b"context"), Err(Error::Malformed { .. })));
    for (mut message, kind) in [(anonymous, 3), (signed, 4)] {
        message[5] = kind;
        assert!(bob.open_from(listed, NOW, &message, b"context").is_err());
        assert!(bob.open_anonymous(&message, b"context").is_err());
    }
}

#[test]
fn sealed_streams_are_sealed_messages_and_verify_at_their_end() {
    let People { alice, bob, mallory, listed, .. } = people();
    let to_bob = Recipients::new([bob.peer()]).expect("one");
    for length in [0, 1, 95, 96, 97, CHUNK - 96, CHUNK, 10 * CHUNK + 3] {
        let data = pattern(length);
        let mut writer = alice.sealing_writer(&to_bob, Vec::new(), b"context", Threads::ONE).expect("started");
        writer.write_all(&data).expect("written");
        let sealed = writer.finish().expect("finished");
        assert_eq!(bob.open_from(listed, NOW, &sealed, b"context").expect("opened").data, data);
        let mut reader =
            bob.opening_reader(listed, NOW, &sealed[..], b"context", Threads::ONE).expect("a good beginning");
        let mut streamed = Vec::new();
        reader.read_to_end(&mut streamed).expect("read");
        assert_eq!(streamed, data);
        assert_eq!(&reader.finish().expect("verified").0, alice.peer());

        let unlisted = PeerSet::new([mallory.peer().clone()]);
        let mut reader =
            bob.opening_reader(&unlisted, NOW, &sealed[..], b"context", Threads::ONE).expect("a good beginning");
        let error = reader.read_to_end(&mut Vec::new()).expect_err("an unlisted sender");
        assert_eq!(Error::inside(&error), Some(&Error::Rejected));
        assert!(reader.finish().is_err());
    }
}

#[test]
fn recipients_are_one_to_1024_and_each_once() {
    let bob = people().bob.peer();
    assert!(matches!(Recipients::new([bob, bob]), Err(Error::OutOfRange { .. })));
    assert!(matches!(Recipients::new(Vec::<&veilsum_crypto::Peer>::new()), Err(Error::OutOfRange { .. })));
    let many: Vec<Identity> = (0..40).map(|_| Identity::generate().expect("entropy")).collect();
    let recipients = Recipients::new(many.iter().map(Identity::peer)).expect("forty");
    let sealed = people().alice.seal_to(&recipients, b"data", b"").expect("sealed");
    for one in &many {
        assert_eq!(one.open_from(&people().listed, NOW, &sealed, b"").expect("opened").data, b"data");
    }
}

/// Lengths that a header claims are compared with what is there before anything is done with them.
#[test]
fn huge_claims_allocate_nothing() {
    let People { alice, bob, listed, .. } = people();
    let mut claim = sealed_by_alice(&[bob], b"", b"")[..11].to_vec();
    claim[9..11].copy_from_slice(&1024_u16.to_be_bytes());
    assert!(matches!(bob.open_from(listed, NOW, &claim, b""), Err(Error::Malformed { .. })));
    claim[9..11].copy_from_slice(&u16::MAX.to_be_bytes());
    assert!(matches!(bob.open_from(listed, NOW, &claim, b""), Err(Error::Malformed { .. })));
    let mut list = b"VEIL\x01\x06\x00\x00\0\0\0\0\0\0\0\x01\xff\xff\xff\xff".to_vec();
    let signature = alice.sign("veilsum.peer-set.v1", &list);
    list.extend_from_slice(&signature);
    assert!(matches!(PeerSet::verify(&list, alice.peer(), None), Err(Error::Malformed { .. })));
}

#[test]
fn lists_of_peers_are_signed_and_do_not_roll_back() {
    let People { alice, bob, mallory, listed, .. } = people();
    let signed = listed.sign(alice, 5).expect("few roles");
    let read = PeerSet::verify(&signed, alice.peer(), Some(5)).expect("the same number again");
    assert_eq!((read.len(), read.number()), (3, Some(5)));
    assert_eq!(PeerSet::verify(&signed, alice.peer(), Some(6)).map(drop), Err(Error::Rejected), "rollback");
    assert_eq!(PeerSet::verify(&signed, bob.peer(), None).map(drop), Err(Error::Rejected), "another signer");
    let forged = PeerSet::new([mallory.peer().clone()]).sign(mallory, 9).expect("few roles");
    assert_eq!(PeerSet::verify(&forged, alice.peer(), None).map(drop), Err(Error::Rejected), "forged");
    for bit in (0..8 * signed.len()).step_by(11) {
        let mut changed = signed.clone();
        changed[bit / 8] ^= 1 << (bit % 8);
        assert!(PeerSet::verify(&changed, alice.peer(), None).is_err(), "bit {bit}");
    }
    for length in (0..signed.len()).step_by(29) {
        assert!(PeerSet::verify(&signed[..length], alice.peer(), None).is_err(), "{length}");
    }
}

#[test]
fn replays_are_refused_in_bounded_memory() {
    let People { bob, listed, alice, .. } = people();
    let sealed = sealed_by_alice(&[bob], b"data", b"round 7");
    let mut guard = ReplayGuard::new(2, 3);
    let opened = bob.open_from(listed, NOW, &sealed, b"round 7").expect("opened");
    assert_eq!(guard.admit(opened.sender.id(), 7, opened.message), Ok(()));
    let again = bob.open_from(listed, NOW, &sealed, b"round 7").expect("opening alone does not remember");
    assert_eq!(guard.admit(again.sender.id(), 7, again.message), Err(Error::Rejected));

    let id = alice.peer().id();
    assert_eq!(guard.admit(id, 7, MessageId([1; 32])), Ok(()));
    assert_eq!(guard.admit(id, 8, MessageId([1; 32])), Ok(()), "another round");
    assert_eq!(guard.admit(id, 8, MessageId([2; 32])), Err(Error::Rejected), "memory is full: new ones are refused");
    assert_eq!(guard.admit(id, 7, opened.message), Err(Error::Rejected), "and old ones stay refused");
    guard.advance_to(8);
    assert_eq!(guard.admit(id, 7, opened.message), Err(Error::Rejected), "an old round");
    assert_eq!(guard.admit(id, 8, MessageId([1; 32])), Err(Error::Rejected), "still remembered");
    assert_eq!(guard.admit(id, 8, MessageId([2; 32])), Ok(()), "room again");
    guard.advance_to(3);
    assert_eq!(guard.admit(id, 7, MessageId([9; 32])), Err(Error::Rejected), "the floor never falls");
    assert_eq!(guard.admit(bob.peer().id(), 8, MessageId([1; 32])), Ok(()));
    assert_eq!(
        guard.admit(people().carol.peer().id(), 8, MessageId([1; 32])),
        Err(Error::Rejected),
        "too many senders"
    );
}

#[test]
fn round_keys_expire_and_belong_to_their_round_and_owner() {
    let People { alice, bob, carol, listed, .. } = people();
    let round = RoundKey::generate(bob, 7, UnixTime(NOW.0 + 60)).expect("entropy");
    let bytes = round.offer().to_bytes();
    let offer = RoundOffer::verify(&bytes, bob.peer(), 7, NOW).expect("good");
    for (owner, number, now, what) in [
        (carol.peer(), 7, NOW, "another owner"),
        (bob.peer(), 8, NOW, "another round"),
        (bob.peer(), 7, UnixTime(NOW.0 + 60), "expired"),
    ] {
        assert_eq!(RoundOffer::verify(&bytes, owner, number, now).map(drop), Err(Error::Rejected), "{what}");
    }
    for bit in (0..8 * bytes.len()).step_by(5) {
        let mut changed = bytes.clone();
        changed[bit / 8] ^= 1 << (bit % 8);
        assert!(RoundOffer::verify(&changed, bob.peer(), 7, NOW).is_err(), "bit {bit}");
    }
    let recipients = Recipients::new([&offer]).expect("one");
    assert!(recipients.clone().by(Kem::X25519).is_err(), "round keys have X-Wing alone");
    let sealed = alice.seal_to(&recipients, b"data", b"context").expect("sealed");
    assert_eq!(round.open_from(listed, NOW, &sealed, b"context").expect("opened").data, b"data");
    assert!(
        matches!(bob.open_from(listed, NOW, &sealed, b"context"), Err(Error::NoKey { .. })),
        "not his long-term key"
    );
    let late = round.open_from(listed, UnixTime(NOW.0 + 60), &sealed, b"context");
    assert!(matches!(late, Err(Error::NoKey { .. })), "expired");
    round.close();
}

#[test]
fn keyrings_find_keys_by_id_and_obey_states() {
    let (updates, shares) = (Purpose::new("updates").expect("a name"), Purpose::new("shares").expect("a name"));
    let mut ring = Keyring::new();
    assert!(matches!(ring.seal(&updates, b"", b""), Err(Error::NoKey { .. })), "no key yet");
    let first = ring.generate(&updates).expect("entropy");
    ring.generate(&shares).expect("entropy");
    let sealed = ring.seal(&updates, b"data", b"context").expect("sealed");
    assert_eq!(ring.open(&sealed, b"context").as_deref(), Ok(&b"data"[..]));
    assert_eq!(ring.open(&sealed, b"other"), Err(Error::Rejected));
    let pending = ring.generate(&updates).expect("entropy");
    assert_eq!(ring.rotate(&updates), Ok(pending), "the pending key comes first");
    assert_eq!(ring.open(&sealed, b"context").as_deref(), Ok(&b"data"[..]), "the old one still opens");
    let by_second = ring.seal(&updates, b"data", b"context").expect("sealed");
    assert_eq!(&by_second[8..24], pending.as_bytes());
    ring.disable(first).expect("there");
    assert!(matches!(ring.open(&sealed, b"context"), Err(Error::NoKey { .. })), "disabled");
    ring.enable(first).expect("there");
    assert_eq!(ring.open(&sealed, b"context").as_deref(), Ok(&b"data"[..]));
    ring.destroy(first).expect("there");
    assert!(matches!(ring.open(&sealed, b"context"), Err(Error::NoKey { .. })), "destroyed");
    assert!(ring.enable(first).is_err() && ring.disable(first).is_err() && ring.destroy(first).is_err());

    let kek = Key::generate().expect("entropy");
    let stored = ring.to_stored(&Protection::Key(&kek)).expect("stored");
    let read = Keyring::from_stored(&stored, &Protection::Key(&kek)).expect("read");
    assert_eq!(read.keys().collect::<Vec<_>>(), ring.keys().collect::<Vec<_>>(), "states and counts come back");
    assert_eq!(read.open(&by_second, b"context").as_deref(), Ok(&b"data"[..]));
    let mut relabelled = by_second.clone();
    let of_shares = ring.keys().find(|facts| facts.purpose == shares).expect("there").id;
    relabelled[8..24].copy_from_slice(of_shares.as_bytes());
    assert_eq!(ring.open(&relabelled, b"context"), Err(Error::Rejected), "another key's id");
    for bit in 0..8 * stored.len() {
        let mut changed = stored.clone();
        changed[bit / 8] ^= 1 << (bit % 8);
        assert!(Keyring::from_stored(&changed, &Protection::Key(&kek)).is_err(), "bit {bit}");
    }
}

#[test]
fn stored_keys_need_their_passphrase_and_kind() {
    let words = Protection::passphrase("correct horse battery staple").expect("words");
    let wrong = Protection::passphrase("correct horse battery stapl").expect("words");
    assert!(matches!(Protection::passphrase(""), Err(Error::OutOfRange { .. })));
    let folder = std::env::temp_dir().join(format!("veilsum-{}-{:?}", std::process::id(), std::thread::current().id()));
    std::fs::create_dir_all(&folder).expect("a folder");
    let path = folder.join("key");
    key().save(&path, &words).expect("saved");
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        assert_eq!(std::fs::metadata(&path).expect("there").permissions().mode() & 0o777, 0o600);
    }
    let loaded = Key::load(&path, &words).expect("loaded");
    assert_eq!(loaded.id(), key().id());
    assert_eq!(loaded.open(&key().seal(b"data", b"").expect("sealed"), b"").as_deref(), Ok(&b"data"[..]));
    let error = Key::load(&path, &wrong).expect_err("a wrong passphrase");
    assert_eq!(Error::inside(&error), Some(&Error::Rejected));
    let error = Identity::load(&path, &words).expect_err("a key, no identity");
    assert!(matches!(Error::inside(&error), Some(Error::Malformed { .. })));
    let mut greedy = std::fs::read(&path).expect("there");
    greedy[10..14].copy_from_slice(&u32::MAX.to_be_bytes());
    assert!(matches!(Key::from_stored(&greedy, &words), Err(Error::Malformed { .. })), "4 TiB for Argon2");

    let identity = people().alice.to_stored(&words).expect("stored");
    assert_eq!(Identity::from_stored(&identity, &words).expect("read").peer(), people().alice.peer());
    assert_eq!(std::fs::read_dir(&folder).expect("there").count(), 1, "nothing is left beside the file");
    std::fs::remove_dir_all(&folder).expect("removed");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(if std::env::var_os("VEILSUM_DEEP").is_some() { 20_000 } else { 300 }))]

    /// Any message, any context: what is sealed opens, and no mutation of it does.
    #[test]
    fn sealed_opens_and_mutations_do_not(
        data in prop::collection::vec(any::<u8>(), 0..40_000),
        context in prop::collection::vec(any::<u8>(), 0..40),
        position in any::<prop::sample::Index>(),
        by in 1_u8..,
        cut in any::<prop::sample::Index>(),
    ) {
        let sealed = key().seal(&data, &context).expect("sealed");
        prop_assert_eq!(&key().open(&sealed, &context).expect("opened"), &data);
        let mut changed = sealed.clone();
        changed[position.index(sealed.len())] ^= by;
        prop_assert!(key().open(&changed, &context).is_err());
        prop_assert!(key().open(&sealed[..cut.index(sealed.len())], &context).is_err());
    }

    /// However a stream is cut into writes and reads, the bytes are the same.
    #[test]
    fn pieces_do_not_matter(
        data in prop::collection::vec(any::<u8>(), 0..70_000),
        writes in prop::collection::vec(1_usize..30_000, 1..8),
        reads in prop::collection::vec(1_usize..30_000, 1..8),
    ) {
        let mut writer = key().writer(Vec::new(), b"context", Threads::ONE).expect("started");
        let mut left = &data[..];
        for size in writes.iter().cycle() {
            if left.is_empty() { break; }
            let (now, later) = left.split_at((*size).min(left.len()));
            writer.write_all(now).expect("written");
            left = later;
        }
        let sealed = writer.finish().expect("finished");
        let mut reader = key().reader(&sealed[..], b"context", Threads::ONE).expect("started");
        let mut back = Vec::new();
        for size in reads.iter().cycle() {
            let mut piece = vec![0; *size];
            let read = reader.read(&mut piece).expect("read");
            if read == 0 { break; }
            back.extend_from_slice(&piece[..read]);
        }
        prop_assert_eq!(back, data);
    }
}
