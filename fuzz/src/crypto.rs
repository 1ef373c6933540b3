//! Bodies for `veilsum-crypto`: parsers never panic, and nothing that was changed ever opens.

use std::io::{Cursor, Read, Seek, SeekFrom, Write};
use std::sync::OnceLock;

use veilsum_crypto::{
    Error, Identity, Key, Keyring, Peer, PeerSet, Protection, Purpose, Recipients, RoundOffer, Threads, UnixTime,
    hazmat, seal_anonymously,
};

/// Secrets of this process, so that no input can have been made with them.
struct Secrets {
    key: Key,
    ring: Keyring,
    alice: Identity,
    bob: Identity,
    listed: PeerSet,
}

fn secrets() -> &'static Secrets {
    static SECRETS: OnceLock<Secrets> = OnceLock::new();
    SECRETS.get_or_init(|| {
        let (alice, bob) = (Identity::generate().expect("entropy"), Identity::generate().expect("entropy"));
        let mut ring = Keyring::new();
        ring.generate(&purpose()).expect("entropy");
        let listed = PeerSet::new([alice.peer().clone()]);
        Secrets { key: Key::generate().expect("entropy"), ring, alice, bob, listed }
    })
}

fn purpose() -> Purpose {
    Purpose::new("fuzz").expect("a name")
}

/// Arbitrary bytes open as nothing.
pub fn envelope(data: &[u8]) {
    let Secrets { key, ring, bob, listed, .. } = secrets();
    let now = UnixTime(0);
    assert!(key.open(data, b"").is_err());
    assert!(key.open_in_place(&mut data.to_vec(), b"", Threads::ONE).is_err());
    assert!(ring.open(data, b"").is_err());
    assert!(bob.open_from(listed, now, data, b"").is_err());
    assert!(bob.open_anonymous(data, b"").is_err());
    let mut reader = match bob.opening_reader(listed, now, data, b"", Threads::ONE) {
        Ok(reader) => reader,
        Err(_) => return,
    };
    assert!(reader.read_to_end(&mut Vec::new()).is_err());
}

/// Sizes of writes and reads, and places to seek to, come from the input: what comes back is what went in.
pub fn stream(data: &[u8]) {
    let key = &secrets().key;
    let plaintext = data.repeat(1 + data.first().map_or(0, |times| usize::from(*times) * 8));
    let sizes: Vec<usize> = data.iter().map(|byte| 1 + usize::from(*byte) * 97).chain([5000]).collect();
    let mut writer = key.writer(Vec::new(), b"", Threads::ONE).expect("started");
    let mut left = &plaintext[..];
    for size in sizes.iter().cycle() {
        let (now, later) = left.split_at((*size).min(left.len()));
        writer.write_all(now).expect("written");
        left = later;
        if left.is_empty() {
            break;
        }
    }
    let sealed = writer.finish().expect("finished");
    assert_eq!(key.open(&sealed, b"").expect("opened"), plaintext);
    let mut reader = key.reader(Cursor::new(&sealed), b"", Threads::ONE).expect("started");
    for pair in data.chunks_exact(2) {
        let place = usize::from(pair[0]) * 331;
        let found = reader.seek(SeekFrom::Start(place as u64)).expect("found") as usize;
        assert_eq!(found, place.min(plaintext.len()));
        let mut piece = vec![0; usize::from(pair[1]) * 100 + 1];
        let read = reader.read(&mut piece).expect("read");
        assert_eq!(piece[..read], plaintext[found..found + read]);
    }
    // The bytes themselves as a stream.
    if let Ok(mut reader) = key.reader(Cursor::new(data), b"", Threads::ONE) {
        assert!(reader.read_to_end(&mut Vec::new()).is_err());
    }
}

/// Public parsers: what parses prints to what was parsed, and nobody's signature comes out of nothing.
pub fn peers(data: &[u8]) {
    let alice = secrets().alice.peer();
    if let Ok(peer) = Peer::from_bytes(data) {
        assert_eq!(peer.to_bytes(), data);
    }
    if let Ok(text) = std::str::from_utf8(data)
        && let Ok(peer) = Peer::from_text(text)
    {
        assert_eq!(peer.to_text(), text.trim());
    }
    assert!(PeerSet::verify(data, alice, None).is_err());
    assert!(RoundOffer::verify(data, alice, 0, UnixTime(0)).is_err());
    // Behind the signature, what Alice signed must still be a list.
    let signature = secrets().alice.sign("veilsum.peer-set.v1", data);
    let signed = [data, &signature].concat();
    if let Ok(list) = PeerSet::verify(&signed, alice, None) {
        let again = list.sign(&secrets().alice, list.number().expect("verified")).expect("few roles");
        assert_eq!(again, signed);
    }
}

/// A ring's bytes parse or are refused, and what parses is stored and read the same.
pub fn keyring(data: &[u8]) {
    let by = Protection::Key(&secrets().key);
    assert!(Keyring::from_stored(data, &by).is_err());
    if let Ok(ring) = hazmat::keyring_from_bytes(data) {
        let again = Keyring::from_stored(&ring.to_stored(&by).expect("stored"), &by).expect("read");
        assert!(ring.keys().eq(again.keys()));
        if let Ok(sealed) = ring.seal(&purpose(), b"data", b"") {
            assert_eq!(again.open(&sealed, b"").as_deref(), Ok(&b"data"[..]));
        }
    }
}

/// Good messages of every kind, each with an edit that the input describes: unless it changed nothing, it never opens.
pub fn open(data: &[u8]) {
    type Opener = fn(&Secrets, &[u8]) -> Result<Vec<u8>, Error>;
    static MESSAGES: OnceLock<Vec<(Vec<u8>, Opener)>> = OnceLock::new();
    let messages = MESSAGES.get_or_init(|| {
        let Secrets { key, ring, alice, bob, .. } = secrets();
        let to_bob = Recipients::new([bob.peer()]).expect("one");
        let large = vec![7; 40_000];
        let by_key: Opener = |secrets, message| secrets.key.open(message, b"context");
        vec![
            (key.seal(b"data", b"context").expect("sealed"), by_key),
            (key.seal(&large, b"context").expect("sealed"), by_key),
            (ring.seal(&purpose(), b"data", b"context").expect("sealed"), |secrets, message| {
                secrets.ring.open(message, b"context")
            }),
            (alice.seal_to(&to_bob, b"data", b"context").expect("sealed"), |secrets, message| {
                secrets.bob.open_from(&secrets.listed, UnixTime(0), message, b"context").map(|opened| opened.data)
            }),
            (seal_anonymously(&to_bob, b"data", b"context").expect("sealed"), |secrets, message| {
                secrets.bob.open_anonymous(message, b"context")
            }),
        ]
    });
    let Some((choice, edits)) = data.split_first() else { return };
    let (message, opener) = &messages[usize::from(*choice) % messages.len()];
    let mut changed = message.clone();
    for edit in edits.chunks_exact(4) {
        let place = u16::from_be_bytes([edit[1], edit[2]]) as usize % changed.len().max(1);
        match edit[0] % 5 {
            0 if !changed.is_empty() => changed[place] ^= edit[3],
            1 => changed.truncate(place),
            2 => changed.insert(place, edit[3]),
            3 if !changed.is_empty() => drop(changed.remove(place)),
            _ => changed.extend_from_within(..place),
        }
    }
    assert_eq!(opener(secrets(), &changed).is_ok(), changed == *message);
}
