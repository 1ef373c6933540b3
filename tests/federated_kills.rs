//! Clients and servers as processes that are killed with SIGKILL at every step, and started again from their files.
//!
//! A process works on one stage: it takes what lies in its folder, answers, and ends. Told to, it stops at a step and
//! says so; then it is killed. In the long variant processes are killed at random moments, too.

use std::fs::{self, File, OpenOptions};
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;
use veilsum_crypto::secret::Secret;
use veilsum_crypto::{Peer, Suite, hazmat};
use veilsum_dp_core::privacy::{Delta, Epsilon};
use veilsum_federated::client::{Party, Seat};
use veilsum_federated::{
    Cohort as Losses, DistributedNoise, Roster, RoundConfig, RoundId, Server, Setup, Stage, Update,
};
use veilsum_tests::cohort::{Cohort, HEADER, SIGNATURE};

const STAGES: [Stage; 5] = [Stage::Advertise, Stage::Share, Stage::Upload, Stage::Confirm, Stage::Unmask];
const ROLE: &str = "VEILSUM_FEDERATED_ROLE";
/// The client that is a process of its own.
const OURS: u32 = 1;
/// Where a client can be killed: before it answers; with an answer and no snapshot; with half a snapshot; with a snapshot
/// and the answer not sent; with the answer sent. Where a server can: in the middle of a record; before the stage is
/// ended; in the middle of that record; with the record and nothing sent; with everything sent.
const STEPS: usize = 5;

fn setup(noisy: bool) -> Setup {
    let (epsilon, delta) = (Epsilon::from_decimal(8.0).expect("> 0"), Delta::from_decimal(1e-5).expect("in range"));
    let noise = noisy.then(|| DistributedNoise::new(epsilon, delta, 1).expect("valid"));
    Setup { noise, value_bits: 8, ..Setup::new(6, 5, 1.0, Losses::Counts { corrupt: 1, dropouts: 1 }) }
}

/// What a process is told: its folder, role, stage and step at which to stop.
struct Task {
    folder: PathBuf,
    noisy: bool,
    stage: Stage,
    stop: Option<usize>,
}

impl Task {
    fn config(&self) -> Arc<RoundConfig> {
        Arc::new(setup(self.noisy).check().expect("a round"))
    }

    fn roster(&self) -> Roster {
        let bytes = self.read("roster").expect("written by the test");
        Roster::new(bytes.chunks(bytes.len() / 6).map(|peer| Peer::from_bytes(peer).expect("a peer")))
            .expect("distinct")
    }

    fn id(&self) -> RoundId {
        RoundId { session: b"a session".to_vec(), ..RoundId::default() }
    }

    fn read(&self, name: &str) -> Option<Vec<u8>> {
        fs::read(self.folder.join(name)).ok()
    }

    /// Whole or not at all, on disk when it returns.
    fn write(&self, name: &str, bytes: &[u8], half: Option<usize>) {
        let draft = self.folder.join("draft");
        let mut file = File::create(&draft).expect("writable");
        file.write_all(&bytes[..bytes.len() / 2]).expect("writable");
        half.iter().for_each(|step| self.at(*step));
        file.write_all(&bytes[bytes.len() / 2..]).expect("writable");
        file.sync_all().expect("on disk");
        fs::rename(draft, self.folder.join(name)).expect("renamed");
    }

    /// Stops here if told to, and waits for the end.
    fn at(&self, step: usize) {
        if self.stop == Some(step) {
            println!("@here");
            loop {
                std::thread::sleep(Duration::from_secs(60));
            }
        }
    }

    fn client(&self) {
        let key = hazmat::key_from_secret(Secret::copied_from(&[9; 32]), Suite::default());
        let secret: [u8; 96] = self.read("identity").expect("written by the test").try_into().expect("96 bytes");
        let identity = Arc::new(hazmat::identity_from_secret(&Secret::copied_from(&secret)));
        let party = Party::new(self.config(), identity, self.roster(), OURS, &self.id()).expect("enrolled");
        let mut seat = match self.read("snapshot") {
            Some(snapshot) => Seat::restore(party, &key, &snapshot).expect("whole"),
            None => Seat::enrol(party).expect("entropy"),
        };
        let message = self.read("message").expect("written by the test");
        self.at(0);
        let answer = match self.stage {
            Stage::Advertise => seat.advertise(),
            Stage::Share => seat.share(&message),
            Stage::Upload => seat.upload(&message, Update::Vector(&[2.0 / 64.0 / 6.0; 5]), 1, &[]),
            Stage::Confirm => seat.confirm(&message),
            Stage::Unmask | Stage::Done => seat.unmask(&message),
        };
        let answer = answer.expect("an honest message");
        self.at(1);
        self.write("snapshot", &seat.snapshot(&key).expect("entropy"), Some(2));
        self.at(3);
        self.write("answer", &answer, None);
        self.at(4);
    }

    fn server(&self) {
        let path = self.folder.join("log");
        let before = fs::read(&path).unwrap_or_default();
        let resumed = Server::resume(self.config(), self.roster(), &self.id(), &before).expect("our log");
        let mut log = OpenOptions::new().create(true).append(true).open(&path).expect("writable");
        log.set_len(resumed.whole as u64).expect("cut to whole records");
        let mut append = |bytes: &[u8], half: Option<usize>| {
            log.write_all(&bytes[..bytes.len() / 2]).expect("writable");
            log.sync_all().expect("on disk");
            half.iter().for_each(|step| self.at(*step));
            log.write_all(&bytes[bytes.len() / 2..]).expect("writable");
            log.sync_all().expect("on disk");
        };
        let (mut server, mut messages) = (resumed.server, resumed.messages);
        if server.stage() == self.stage {
            for client in 0..6 {
                let Some(bytes) = self.read(&format!("from-{client}")) else { continue };
                server.receive(client, &bytes).expect("honest");
                append(&server.take_log(), (client == 3).then_some(0));
            }
            self.at(1);
            messages = server.finish_stage().expect("enough");
            append(&server.take_log(), Some(2));
        }
        self.at(3);
        if let Ok(outcome) = server.result() {
            let sum: Vec<u8> = outcome.integers.iter().flat_map(|x| x.to_be_bytes()).collect();
            self.write("sum", &sum, None);
        }
        messages.iter().for_each(|(client, bytes)| self.write(&format!("to-{client}"), bytes, None));
        self.write("sent", &[], None);
        self.at(4);
    }
}

/// The other processes come in here.
#[test]
fn entry() {
    let Ok(role) = std::env::var(ROLE) else { return };
    let words: Vec<&str> = role.splitn(5, ' ').collect();
    let [who, noisy, stage, stop, folder] = words[..] else { panic!("five words") };
    let stage = stage.parse().expect("a stage");
    let task = Task { folder: PathBuf::from(folder), noisy: noisy == "noisy", stage, stop: stop.parse().ok() };
    if who == "client" { task.client() } else { task.server() }
}

/// When a process is killed.
#[derive(Clone, Copy, Debug)]
enum Kill {
    AtStep(usize),
    After(Duration),
    Never,
}

fn run(who: &str, noisy: bool, stage: Stage, folder: &Path, kill: Kill) {
    let stop = if let Kill::AtStep(step) = kill { step.to_string() } else { "-".into() };
    let noisy = if noisy { "noisy" } else { "plain" };
    let mut command = Command::new(std::env::current_exe().expect("this binary"));
    command.args(["entry", "--exact", "--nocapture", "--test-threads=1"]).stdout(Stdio::piped()).stderr(Stdio::piped());
    command.env(ROLE, format!("{who} {noisy} {} {stop} {}", stage.name(), folder.display()));
    let mut child = command.spawn().expect("it runs");
    match kill {
        Kill::Never => {}
        Kill::AtStep(_) => {
            let output = BufReader::new(child.stdout.take().expect("piped"));
            let there = output.lines().map_while(Result::ok).any(|line| line.ends_with("@here"));
            assert!(there, "{who} did not come to {kill:?} at {stage:?}");
            child.kill().expect("SIGKILL");
        }
        Kill::After(time) => {
            std::thread::sleep(time);
            child.kill().expect("SIGKILL");
        }
    }
    let ended = child.wait_with_output().expect("it ended");
    match kill {
        Kill::AtStep(_) => assert_eq!(ended.status.code(), None, "killed"),
        // It may have been done before.
        Kill::After(_) => assert!(ended.status.success() || ended.status.code().is_none()),
        Kill::Never => assert!(ended.status.success(), "{}", String::from_utf8_lossy(&ended.stderr)),
    }
}

fn enrolled(cohort: &Cohort, folder: &Path) {
    let peers: Vec<u8> = cohort.identities.iter().flat_map(|identity| identity.peer().to_bytes()).collect();
    fs::write(folder.join("roster"), peers).expect("writable");
    let secret = hazmat::identity_to_secret(&cohort.identities[OURS as usize]);
    fs::write(folder.join("identity"), secret.expose()).expect("writable");
}

/// A round in which one client is a process that is killed as `kills` says for each stage, and then started again.
fn round_with_a_killed_client(noisy: bool, kills: impl Fn(usize) -> Vec<Kill>) -> usize {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut cohort = Cohort::new(setup(noisy));
    enrolled(&cohort, folder.path());
    let mut messages = cohort.start();
    let mut killed = 0;
    for (at, stage) in STAGES.into_iter().enumerate() {
        let _ = fs::remove_file(folder.path().join("answer"));
        fs::write(folder.path().join("message"), &messages[&OURS]).expect("writable");
        let answer = || fs::read(folder.path().join("answer"));
        let mut sent: Option<Vec<u8>> = None;
        for kill in kills(at).into_iter().chain([Kill::Never]) {
            run("client", noisy, stage, folder.path(), kill);
            killed += usize::from(!matches!(kill, Kill::Never));
            if let Ok(bytes) = answer() {
                // Whatever left once is what leaves again.
                assert_eq!(sent.get_or_insert_with(|| bytes.clone()), &bytes, "two answers at {stage:?}");
            }
        }
        for client in 0..6 {
            let bytes = if client == OURS {
                sent.clone().expect("the last run answered")
            } else {
                cohort.answer(stage, client, &messages[&client]).expect("honest")
            };
            if stage == Stage::Unmask {
                let items = &bytes[HEADER + 4..bytes.len() - SIGNATURE];
                assert!(items.chunks(37).all(|item| item[4] == 0), "everyone is in the sum: shares of seeds alone");
            }
            cohort.server.receive(client, &bytes).expect("honest");
        }
        messages = cohort.server.finish_stage().expect("enough");
    }
    let outcome = cohort.server.result().expect("done");
    assert!(noisy || outcome.integers == cohort.expected(&[0, 1, 2, 3, 4, 5]));
    killed
}

/// A round in which the server is a process that is killed as `kills` says for each stage, and then started again.
fn round_with_a_killed_server(kills: impl Fn(usize) -> Vec<Kill>) -> usize {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut cohort = Cohort::new(setup(false));
    enrolled(&cohort, folder.path());
    let mut messages = cohort.start();
    let mut killed = 0;
    for (at, stage) in STAGES.into_iter().enumerate() {
        for client in 0..6 {
            let path = folder.path().join(format!("from-{client}"));
            let _ = fs::remove_file(&path);
            // Client 4 is lost before it uploads.
            if let Some(message) = messages.get(&client).filter(|_| client != 4 || at < 2) {
                fs::write(&path, cohort.answer(stage, client, message).expect("honest")).expect("writable");
            }
        }
        for client in 0..6 {
            let _ = fs::remove_file(folder.path().join(format!("to-{client}")));
        }
        for kill in kills(at).into_iter().chain([Kill::Never]) {
            run("server", false, stage, folder.path(), kill);
            killed += usize::from(!matches!(kill, Kill::Never));
        }
        let to = |client: &u32| fs::read(folder.path().join(format!("to-{client}"))).ok();
        messages = (0..6).filter_map(|client| Some((client, to(&client)?))).collect();
    }
    let sum = fs::read(folder.path().join("sum")).expect("the last stage is done");
    let sum: Vec<i64> = sum.as_chunks::<8>().0.iter().map(|eight| i64::from_be_bytes(*eight)).collect();
    assert_eq!(sum, cohort.expected(&[0, 1, 2, 3, 5]));
    killed
}

#[test]
fn a_client_killed_at_every_step_of_every_stage() {
    let every = |_| (0..STEPS).map(Kill::AtStep).collect();
    assert_eq!(round_with_a_killed_client(false, every) + round_with_a_killed_client(true, every), 50);
}

#[test]
fn a_server_killed_at_every_step_of_every_stage() {
    // After the first kill with everything logged, later steps of the same stage are behind it.
    for step in 0..STEPS {
        assert_eq!(round_with_a_killed_server(|_| vec![Kill::AtStep(step)]), 5);
    }
}

/// At moments that nobody chose; some of them fall before a process begins and some after it is done.
#[test]
fn processes_killed_at_random_moments() {
    let rounds = if std::env::var_os("VEILSUM_DEEP").is_some() { 150 } else { 2 };
    let mut killed = 0;
    for _ in 0..rounds {
        let moment = || Kill::After(Duration::from_micros(u64::from(rand::random::<u8>()) * 80));
        killed += round_with_a_killed_client(true, |_| vec![moment(), moment()]);
        killed += round_with_a_killed_server(|_| vec![moment(), moment()]);
    }
    println!("{killed} processes killed at random moments in {} rounds", 2 * rounds);
}
