//! Other processes: this test binary, run again in one of the roles below.

use crate::conformance::{pure, spend_of};
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};
use veilsum_dp_core::Error;
use veilsum_dp_core::ledger::{Ledger, SqliteLedger};

const ROLE: &str = "VEILSUM_LEDGER_ROLE";
const PATH: &str = "VEILSUM_LEDGER_PATH";

/// What each spend of a worker costs.
pub(crate) const PART: f64 = 1e-6;
/// The budget of a worker's ledger.
pub(crate) const BUDGET: f64 = 1.0;
/// Spends until a racing worker's budget is gone.
pub(crate) const RACE: f64 = 1.0 / 512.0;

/// A worker in `role` on the ledger at `path`; start it with [`spawn`].
pub(crate) fn command(role: &str, path: &Path) -> Command {
    let mut command = Command::new(std::env::current_exe().expect("this binary"));
    command.args(["worker::entry", "--exact", "--nocapture", "--test-threads=1"]);
    command.env(ROLE, role).env(PATH, path);
    command
}

/// A running worker and what it reports.
pub(crate) struct Worker {
    child: Child,
    output: BufReader<ChildStdout>,
}

pub(crate) fn spawn(mut command: Command) -> Worker {
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it runs");
    let output = BufReader::new(child.stdout.take().expect("piped"));
    Worker { child, output }
}

impl Worker {
    /// The next report, as words; `None` when the worker has ended.
    pub(crate) fn report(&mut self) -> Option<Vec<String>> {
        loop {
            let mut line = String::new();
            if self.output.read_line(&mut line).expect("readable") == 0 {
                return None;
            }
            // The test harness may have begun the line; one that a kill cut off was not handed out whole.
            if let Some((_, text)) = line.strip_suffix('\n').and_then(|line| line.split_once('@')) {
                return Some(text.split(' ').map(str::to_owned).collect());
            }
        }
    }

    pub(crate) fn kill(&mut self) {
        self.child.kill().expect("SIGKILL");
    }

    /// The rest of its reports, and how it ended.
    pub(crate) fn end(mut self) -> (Vec<Vec<String>>, ExitStatus) {
        let reports = std::iter::from_fn(|| self.report()).collect();
        (reports, self.child.wait().expect("ended"))
    }
}

/// Does nothing unless this process is a worker.
#[test]
fn entry() {
    let (Ok(role), Some(path)) = (std::env::var(ROLE), std::env::var_os(PATH)) else { return };
    let path = Path::new(&path);
    match role.as_str() {
        "until-killed" => until_killed(path),
        "race" => race(path),
        "until-failure" => until_failure(path),
        "once" => {
            let ledger = SqliteLedger::open(path, pure(BUDGET)).expect("opens");
            println!("@opened");
            ledger.spend(&spend_of(PART)).expect("fits");
            println!("@paid");
        }
        "unwritable" => {
            let refused = SqliteLedger::open(path, pure(BUDGET)).expect_err("it cannot be written");
            let spent = SqliteLedger::inspect(path).and_then(|ledger| ledger.spent()).expect("it can be read");
            println!("@{} {refused}", spent.epsilon);
        }
        other => panic!("no role {other}"),
    }
}

/// Releases for ever, every other time under a key, and reports each value the moment it has it.
fn until_killed(path: &Path) {
    let ledger = SqliteLedger::open(path, pure(BUDGET)).expect("opens");
    let process = std::process::id();
    for i in 0_u64.. {
        let mut draw = || Ok(format!("{process}-{i}").into_bytes());
        let mut spend = spend_of(PART);
        if i % 2 == 0 {
            // Keys that other workers use as well, so that they race for them.
            spend = spend.key(format!("cell {}", i / 4));
        }
        let answer = ledger.release(&spend, &mut draw).expect("there is budget for ever");
        let key = if i % 2 == 0 { format!("{}", i / 4) } else { "-".into() };
        println!("@{} {key} {}", answer.receipt.row, String::from_utf8(answer.bytes).expect("text"));
    }
}

/// Sixteen threads that spend until the budget is gone.
fn race(path: &Path) {
    let ledger = SqliteLedger::open(path, pure(BUDGET)).expect("opens");
    std::thread::scope(|scope| {
        for _ in 0..16 {
            scope.spawn(|| {
                let mut accepted = 0;
                loop {
                    match ledger.spend(&spend_of(RACE)) {
                        Ok(_) => accepted += 1,
                        Err(Error::BudgetExceeded { .. }) => break,
                        Err(other) => panic!("refused for another reason than the budget: {other}"),
                    }
                }
                println!("@{accepted}");
            });
        }
    });
}

/// Spends until the disk refuses, then reports how often it succeeded and what the error was.
fn until_failure(path: &Path) {
    let ledger = match SqliteLedger::open(path, pure(BUDGET)) {
        Ok(ledger) => ledger,
        Err(error) => return println!("@0 {error}"),
    };
    let most = std::env::var("VEILSUM_LEDGER_SPENDS").map_or(400, |n| n.parse().expect("a number"));
    for accepted in 0..most {
        if let Err(error) = ledger.spend(&spend_of(PART).label("x".repeat(200))) {
            return println!("@{accepted} {error}");
        }
    }
    println!("@{most} -");
}
