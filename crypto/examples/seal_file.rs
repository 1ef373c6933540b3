//! Seals a file to a recipient and opens it again: `cargo run --example seal_file -- FILE`.

use std::error::Error;
use std::fs::File;
use std::io::{BufReader, copy, sink};

use veilsum_crypto::{Identity, PeerSet, Recipients, Threads, UnixTime};

fn main() -> Result<(), Box<dyn Error>> {
    let path = std::env::args().nth(1).unwrap_or_else(|| "Cargo.toml".into());
    let (alice, bob) = (Identity::generate()?, Identity::generate()?);

    // Alice needs Bob's public line of text, and gives it a context that Bob will repeat.
    let to_bob = Recipients::new([bob.peer()])?;
    let mut sealed = Vec::new();
    let mut writer = alice.sealing_writer(&to_bob, &mut sealed, b"example: a file", Threads::Auto)?;
    let length = copy(&mut BufReader::new(File::open(&path)?), &mut writer)?;
    writer.finish()?;
    println!("{path}: {length} bytes became {}", sealed.len());

    // Bob needs a list of those he hears. Who sent the stream is known at its end.
    let listed = PeerSet::new([alice.peer().clone()]);
    let now = UnixTime(std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH)?.as_secs());
    let mut reader = bob.opening_reader(&listed, now, &sealed[..], b"example: a file", Threads::Auto)?;
    copy(&mut reader, &mut sink())?;
    let (sender, _) = reader.finish()?;
    println!("from {}", sender.id());
    Ok(())
}
