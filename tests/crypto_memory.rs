//! No copy of a key stays in this process's memory, and no salt repeats after a fork.
//!
//! A target of its own: nothing else runs in the process that is scanned.
#![cfg(target_os = "linux")]

use std::fs;
use std::io::{Read, Seek, SeekFrom, Write};

use veilsum_crypto::{
    Identity, Key, Keyring, PeerSet, Protection, Purpose, Recipients, Suite, Threads, UnixTime, hazmat, kdf,
    secret::Secret,
};

/// Bytes of what is looked for: half a secret, since an allocator writes its own notes over the first 16 bytes of what was
/// freed.
const HALF: usize = 16;

/// How often the second half of any of these secrets occurs in the writable memory of this process. The needles
/// themselves are kept xored with 0x5A.
fn occurrences(masked: &[[u8; HALF]]) -> usize {
    let mut memory = fs::File::open("/proc/self/mem").expect("Linux");
    let maps = fs::read_to_string("/proc/self/maps").expect("Linux");
    let mut buffer = vec![0_u8; 1 << 20];
    let own = buffer.as_ptr() as u64..buffer.as_ptr() as u64 + buffer.len() as u64;
    let mut found = 0;
    for line in maps.lines().filter(|line| line.split_whitespace().nth(1).is_some_and(|how| how.starts_with("rw"))) {
        let (start, end) = line.split_whitespace().next().and_then(|range| range.split_once('-')).expect("a range");
        let (start, end) = (u64::from_str_radix(start, 16).expect("hex"), u64::from_str_radix(end, 16).expect("hex"));
        let mut at = start;
        while at < end {
            let length = (end - at).min(buffer.len() as u64) as usize;
            if memory.seek(SeekFrom::Start(at)).is_err() || memory.read_exact(&mut buffer[..length]).is_err() {
                break;
            }
            for (offset, window) in buffer[..length].windows(HALF).enumerate() {
                let place = at + offset as u64;
                if own.contains(&place) || own.contains(&(place + HALF as u64 - 1)) {
                    continue;
                }
                let hit = masked.iter().any(|needle| {
                    window[0] ^ 0x5A == needle[0] && window.iter().zip(needle).all(|(byte, mask)| byte ^ 0x5A == *mask)
                });
                found += usize::from(hit);
            }
            // Overlap, so that nothing hides across the border of two reads.
            at += if length == buffer.len() { length as u64 - (HALF as u64 - 1) } else { length as u64 };
        }
    }
    buffer.fill(0);
    found
}

/// Never inlined: what the compiler spilled in the test's own frame would be found there and be nobody's fault.
#[inline(never)]
fn masked(secret: &Secret<32>) -> [u8; HALF] {
    std::array::from_fn(|i| secret.expose()[HALF + i] ^ 0x5A)
}

/// Uses a key every way there is, failures included.
fn use_everywhere(key: &Key) {
    let data = vec![3; 300_000];
    let sealed = key.seal(&data, b"context").expect("sealed");
    assert_eq!(key.open(&sealed, b"context").expect("opened"), data);
    key.open(&sealed, b"other").expect_err("another context");
    key.open(&sealed[..100], b"context").expect_err("cut");
    let mut buffer = data.clone();
    key.seal_in_place(&mut buffer, b"context", Threads::Auto).expect("sealed");
    let mut writer = key.writer(Vec::new(), b"context", Threads::Auto).expect("started");
    writer.write_all(&data).expect("written");
    let streamed = writer.finish().expect("finished");
    let mut back = Vec::new();
    key.reader(&streamed[..], b"context", Threads::ONE).expect("started").read_to_end(&mut back).expect("read");
    drop(key.writer(Vec::new(), b"never finished", Threads::ONE).expect("started"));
    let kek = Key::generate().expect("entropy");
    let stored = key.to_stored(&Protection::Key(&kek)).expect("stored");
    let loaded = Key::from_stored(&stored, &Protection::Key(&kek)).expect("read");
    assert_eq!(loaded.id(), key.id());
    Key::from_stored(&stored[..stored.len() - 1], &Protection::Key(&kek)).expect_err("cut");
    let _ = format!("{key:?}{loaded:?}");
}

#[test]
fn keys_leave_no_copy_behind_and_salts_survive_forks() {
    // The scan sees what is there.
    let alive = Secret::<32>::random().expect("entropy");
    assert_eq!(occurrences(&[masked(&alive)]), 1, "a living secret is found, once");

    // Keys of our own making, so that we know what to look for; what moves through here is wiped by `Secret`.
    let mut needles = Vec::with_capacity(64);
    for _ in 0..64 {
        let secret = Secret::<32>::random().expect("entropy");
        needles.push(masked(&secret));
        let key = hazmat::key_from_secret(secret, Suite::Aes256Gcm);
        use_everywhere(&key);
    }
    assert_eq!(occurrences(&needles), 0, "a key outlived its drop");

    // Growth: a vector of keys that moves them, and a ring that is stored and read.
    let mut keys = Vec::new();
    let mut needles = Vec::with_capacity(64);
    for _ in 0..64 {
        let secret = Secret::<32>::random().expect("entropy");
        needles.push(masked(&secret));
        keys.push(hazmat::key_from_secret(secret, Suite::ChaCha20Poly1305));
        keys.shrink_to_fit();
    }
    assert_eq!(occurrences(&needles), 64, "each living key is there once, and growth left no other");
    drop(keys);
    assert_eq!(occurrences(&needles), 0);

    // Derived bytes, and what an identity and a ring are made of, go too: they are used, and the derived secret is the
    // one whose bytes we can know.
    let mut needles = Vec::new();
    for round in 0_u64..16 {
        let derived = kdf::derive::<32>(alive.expose(), "test.v1", &[&round.to_be_bytes()]);
        needles.push(masked(&derived));
        let (alice, bob) = (Identity::generate().expect("entropy"), Identity::generate().expect("entropy"));
        let to_bob = Recipients::new([bob.peer()]).expect("one");
        let sealed = alice.seal_to(&to_bob, derived.expose(), b"").expect("sealed");
        let opened = bob.open_from(&PeerSet::new([alice.peer().clone()]), UnixTime(0), &sealed, b"").expect("opened");
        let mut data = opened.data;
        assert_eq!(data, derived.expose());
        data.fill(0);
        bob.open_from(&PeerSet::default(), UnixTime(0), &sealed, b"")
            .expect_err("opened, and the sender is not listed");
        let mut ring = Keyring::new();
        let purpose = Purpose::new("test").expect("a name");
        ring.generate(&purpose).expect("entropy");
        let sealed = ring.seal(&purpose, b"data", b"").expect("sealed");
        ring.open(&sealed, b"").expect("opened");
    }
    assert_eq!(occurrences(&needles), 0, "a derived secret outlived its drop");

    salts_survive_forks();
}

/// Children that are forked from one state draw salts, keys and names of their own.
fn salts_survive_forks() {
    let key = Key::generate().expect("entropy");
    let folder = tempfile::tempdir().expect("a folder");
    let drawn = |name: &str| {
        let sealed = key.seal(b"same", b"same").expect("sealed");
        let streamed = key.writer(Vec::new(), b"same", Threads::ONE).and_then(|w| w.finish()).expect("finished");
        let fresh = Key::generate().expect("entropy").id();
        let identity = Identity::generate().expect("entropy").peer().id();
        let to_self = Identity::generate().expect("entropy");
        let to_self = Recipients::new([to_self.peer()]).map(|to| to_self.seal_to(&to, b"same", b"same"));
        let wrapped = to_self.expect("one").expect("sealed");
        let all = [&sealed[8..32], &streamed[8..32], fresh.as_bytes(), identity.as_bytes(), &wrapped[43..75]].concat();
        fs::write(folder.path().join(name), all).expect("written");
    };
    let children: Vec<_> = (0..6)
        .map(|child| match fork() {
            None => {
                drawn(&format!("child {child}"));
                std::process::exit(0);
            }
            Some(id) => id,
        })
        .collect();
    drawn("parent");
    for id in children {
        let status = nix::sys::wait::waitpid(id, None).expect("a child");
        assert!(matches!(status, nix::sys::wait::WaitStatus::Exited(_, 0)), "{status:?}");
    }
    let all: Vec<Vec<u8>> = fs::read_dir(folder.path())
        .expect("there")
        .map(|entry| fs::read(entry.expect("there").path()).expect("there"))
        .collect();
    assert_eq!(all.len(), 7);
    for part in [0..24, 24..48, 48..64, 64..96, 96..128] {
        let distinct: std::collections::HashSet<&[u8]> = all.iter().map(|drawn| &drawn[part.clone()]).collect();
        assert_eq!(distinct.len(), 7, "bytes {part:?} repeat");
    }
}

fn fork() -> Option<nix::unistd::Pid> {
    // SAFETY: the test's other threads hold no lock that the child takes; it seals, writes a file and exits.
    match unsafe { nix::unistd::fork() }.expect("a process") {
        nix::unistd::ForkResult::Child => None,
        nix::unistd::ForkResult::Parent { child } => Some(child),
    }
}
