//! Who is whose neighbour, and how many neighbours and shares make a round safe.
//!
//! # Sparse graphs
//! Clients sit on a ring in an order drawn after the roster was fixed, from the beacon and nothing else, and each is a
//! neighbour of the `k/2` before and after it (a Harary graph on a random permutation, as in Bell et al. 2020). With `C`
//! corrupt clients and `D` dropouts among `n`, `h = k/2`, and H(N, M, m) the number of marked ones among m drawn from N of
//! which M are marked:
//!
//! **Semi-honest server, random dropouts.** A round fails
//! - in privacy, if some client has `t` corrupt neighbours, probability at most `n P[H(n-1, C, k) >= t]`, or if
//!   removing the corrupt and the dropped cuts the ring of neighbours in two, which takes two disjoint windows of `h`
//!   consecutive places without anyone left: at most `n(n-1)/2 P[H(n, C+D, k) = k]`;
//! - in liveness, if some client has fewer than `t` surviving neighbours: `n P[H(n-1, D, k) >= k-t+1]`.
//!
//! **Malicious server, which chooses who drops.** Dropouts are then no help from chance, and only the corrupt are
//! placed at random. Let `w - 1` be a number of corrupt clients that no window of `h` places exceeds, and `m` one that
//! no neighbourhood exceeds, each but for the promised probability (`n P[H(n, C, h) >= w]`,
//! `n P[H(n-1, C, k) >= m+1]`). Then
//! - `2t > (k + 1) + m`: a client's shares have `k + 1` holders, itself included. Honest holders answer once, with one
//!   kind of share. Two answers of `t` shares in different kinds would need `2t - m` honest answers from at most
//!   `k + 1 - m` honest holders. So both kinds never come together, whatever set the server announces to whom. It
//!   also gives `t > m`: the corrupt alone rebuild nothing.
//! - All clients that answer agree on who shared and who survived: each asks for signatures of more than `(n + C)/2`
//!   clients on it, and two such quorums share an honest client, who signs once.
//! - Each client refuses signatures that leave fewer than `w` signers in some window of `h` places (and signs no survivor
//!   set that does). Then every window holds an honest signer, and walking around the ring from one to the next takes
//!   steps of at most `h`: the honest signers are connected.
//! - Signers all masked with one list of who shared, but the server may have told others another one before they
//!   uploaded, and they are among the survivors all the same. What the opened secrets leave of the masks shows the sum over
//!   a set G of honest survivors only if no mask between G and the rest is left, that is, if each such mask was applied at
//!   neither end. If G holds a signer, it holds all of them, since neighbours among signers share a mask; and then
//!   everybody, since each survivor has a signer within `h` places who masked with it. If G holds no signer, take one of
//!   it, with `c <= m` corrupt neighbours. At least `t` holders of its shares are itself and those it masked with, and the
//!   `t - c` honest ones of these are in G, or lost and their mask keys opened: none of them signed. At least `t` holders
//!   opened its seed, of whom the `t - c` honest ones signed. So `2(t - c) <= k + 1 - c`, which `2t > (k + 1) + m` excludes.
//!   What is left visible is the total of the honest survivors alone. Asking for windows of *survivors* would not do: two walls of
//!   `h` places, of corrupt clients and honest ones who were told to mask with one side only, would cut out the sum between
//!   them, and half of `m` corrupt clients in each wall would be enough to open its members' seeds.
//! - The beacon that places everyone may be re-drawn: who withholds its opening of the [coin](crate::coin), or whose
//!   opening the server suppresses, is struck from the roster and counts among the `D` that may be lost, so there are at
//!   most `D + 1` draws, each of places that nobody could foresee. What an adversary gains by choosing among them is at
//!   most the sum of the draws' probabilities (a union bound, whatever its rule of stopping). Each draw is therefore
//!   allowed `1/(n - D)` of the promised 2^-40: `n - D` never falls from draw to draw, and `D + 1 <= n - D`, since
//!   `n - D` is at least a quorum. A public beacon would not need it; it is charged all the same.
//! - Liveness is promised with an honest server and random dropouts: neighbours as above, windows
//!   `n P[H(n, D, h) >= h-w+1]`, and `n - D` at least the quorum.
//!
//! Privacy events add up to at most 2^-40 and liveness events to 2^-20, over the whole round. Who is corrupt is settled
//! before the beacon is drawn: against an adversary that corrupts clients after it has seen their places, only a complete
//! graph helps.
//!
//! # Complete graphs
//! Small cohorts count: `c` corrupt, `D` dropouts, everyone is everyone's neighbour, `2t > n + c`, `t <= n - D`, and
//! `n - D - c >= 3`, since the sum of two honest clients tells each of them the other's update.

use super::tails::Factorials;
use crate::Error;
use sha2::{Digest, Sha256};

/// Probability that chance alone breaks a round's privacy.
const PRIVACY: f64 = 1.0 / (1_u64 << 40) as f64;
/// Probability that chance alone makes a round fail.
const LIVENESS: f64 = 1.0 / (1_u64 << 20) as f64;

/// The public shape of a round's graph.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    /// Clients on the roster.
    pub clients: u32,
    /// Clients assumed to work with the server, rounded up.
    pub corrupt: u32,
    /// Clients that may be lost, rounded up; with more the round stops.
    pub dropouts: u32,
    /// Neighbours of each client; all others in a complete graph.
    pub neighbors: u32,
    /// Shares that rebuild a seed.
    pub threshold: u32,
    /// Least number of survivors in any window of half the neighbours; 0 if nothing is asked.
    pub window: u32,
    /// Confirmations on one survivor set that a client asks for before it answers.
    pub quorum: u32,
    /// Whether the server may deviate from the protocol.
    pub malicious_server: bool,
}

impl Shape {
    /// Everyone is everyone's neighbour.
    pub(super) fn complete(clients: u32, corrupt: u32, dropouts: u32, malicious_server: bool) -> Result<Self, Error> {
        let threshold = (clients + corrupt) / 2 + 1;
        let left = clients.saturating_sub(dropouts);
        if left.saturating_sub(corrupt) < 3 {
            return Err(unsafe_round(format!(
                "{clients} clients less {dropouts} dropouts and {corrupt} corrupt leave fewer than 3 honest ones, so one could \
                 read off another's update; add clients or allow fewer losses"
            )));
        }
        if threshold > left {
            return Err(unsafe_round(format!(
                "{clients} clients with {corrupt} corrupt need {threshold} to finish, and {dropouts} dropouts leave {left}; \
                 allow fewer losses"
            )));
        }
        let neighbors = clients - 1;
        Ok(Self { clients, corrupt, dropouts, neighbors, threshold, window: 0, quorum: threshold, malicious_server })
    }

    /// The least even degree, and for it the least threshold, that keep the promises; the complete graph if no sparser
    /// one does.
    pub(super) fn least(clients: u32, corrupt: u32, dropouts: u32, malicious_server: bool) -> Result<Self, Error> {
        if dropouts >= clients {
            return Self::complete(clients, corrupt, dropouts, malicious_server);
        }
        let factorials = Factorials::up_to(clients);
        let search = Search { n: clients, c: corrupt, d: dropouts, f: &factorials };
        let sparse = (2..clients.saturating_sub(1)).step_by(2).find_map(|degree| {
            let (threshold, window) =
                if malicious_server { search.malicious(degree) } else { search.semi_honest(degree) }?;
            let quorum = if malicious_server { (clients + corrupt) / 2 + 1 } else { threshold };
            Some(Self { clients, corrupt, dropouts, neighbors: degree, threshold, window, quorum, malicious_server })
        });
        match sparse {
            Some(shape) if clients - dropouts >= shape.quorum && clients - dropouts - corrupt >= 3 => Ok(shape),
            _ => Self::complete(clients, corrupt, dropouts, malicious_server),
        }
    }

    /// Whether everyone is everyone's neighbour.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.neighbors + 1 == self.clients
    }

    /// The least number of clients with whom a round may end.
    #[must_use]
    pub fn least_survivors(&self) -> u32 {
        self.clients - self.dropouts
    }
}

struct Search<'a> {
    n: u32,
    c: u32,
    d: u32,
    f: &'a Factorials,
}

impl Search<'_> {
    fn semi_honest(&self, k: u32) -> Option<(u32, u32)> {
        let &Self { n, c, d, f } = self;
        let pairs = f64::from(n) * f64::from(n - 1) / 2.0;
        let cut = pairs * f.at_least(n, (c + d).min(n), k, k);
        let threshold = (1..=k).find(|&t| f64::from(n) * f.at_least(n - 1, c, k, t) + cut <= PRIVACY)?;
        (f64::from(n) * f.at_least(n - 1, d, k, k - threshold + 1) <= LIVENESS).then_some((threshold, 0))
    }

    fn malicious(&self, k: u32) -> Option<(u32, u32)> {
        let &Self { n, c, d, f } = self;
        let (h, count) = (k / 2, f64::from(n));
        // Every draw of the beacon has its part; of that, half for neighbourhoods and half for windows.
        let allowed = PRIVACY / f64::from(n - d) / 2.0;
        let most_corrupt = (0..=k).find(|&m| count * f.at_least(n - 1, c, k, m + 1) <= allowed)?;
        let window = (1..=h).find(|&w| count * f.at_least(n, c, h, w) <= allowed)?;
        let threshold = (k + 1 + most_corrupt) / 2 + 1;
        if threshold > k {
            return None;
        }
        let lost = count * f.at_least(n - 1, d, k, k - threshold + 1) + count * f.at_least(n, d, h, h - window + 1);
        (lost <= LIVENESS).then_some((threshold, window))
    }
}

fn unsafe_round(why: String) -> Error {
    Error::Unsafe { why }
}

/// The graph of one round: who sits where on the ring.
#[derive(Clone, Debug)]
pub(crate) struct Graph {
    shape: Shape,
    /// Client at each place; empty for a complete graph.
    ring: Vec<u32>,
    /// Place of each client.
    place: Vec<u32>,
}

impl Graph {
    /// Everyone is everyone's neighbour, so there is nothing to draw.
    pub(crate) fn complete(shape: Shape) -> Self {
        Self { shape, ring: Vec::new(), place: Vec::new() }
    }

    /// Draws the ring order from `seed` by Fisher and Yates' shuffle on a SHA-256 counter stream.
    pub(crate) fn drawn(shape: Shape, seed: &[u8; 32]) -> Self {
        if shape.is_complete() {
            return Self::complete(shape);
        }
        let mut stream = HashStream { seed, counter: 0, block: [0; 32], used: 32 };
        let mut ring: Vec<u32> = (0..shape.clients).collect();
        for last in (1..shape.clients).rev() {
            ring.swap(last as usize, stream.below(last + 1) as usize);
        }
        let mut place = vec![0; ring.len()];
        ring.iter().enumerate().for_each(|(p, &client)| place[client as usize] = p as u32);
        Self { shape, ring, place }
    }

    pub(crate) fn shape(&self) -> &Shape {
        &self.shape
    }

    /// The neighbours of `client` in increasing order.
    pub(crate) fn neighbors(&self, client: u32) -> Vec<u32> {
        if self.shape.is_complete() {
            return (0..self.shape.clients).filter(|&other| other != client).collect();
        }
        let (n, half, here) = (self.shape.clients, self.shape.neighbors / 2, self.place[client as usize]);
        let mut all: Vec<u32> = (1..=half)
            .flat_map(|step| [(here + step) % n, (here + n - step) % n])
            .map(|place| self.ring[place as usize])
            .collect();
        all.sort_unstable();
        all
    }

    /// The public point at which `holder` holds a share of `dealer`'s seeds.
    pub(crate) fn point(&self, dealer: u32, holder: u32) -> u16 {
        if self.shape.is_complete() {
            return (holder + 1) as u16;
        }
        let (n, half) = (self.shape.clients, self.shape.neighbors / 2);
        let ahead = (self.place[holder as usize] + n - self.place[dealer as usize] + half) % n;
        (ahead + 1) as u16
    }

    /// Whether some window of half the neighbours has fewer included clients than the shape asks for.
    pub(crate) fn has_thin_window(&self, included: &[bool]) -> bool {
        if self.shape.window == 0 || self.shape.is_complete() {
            return false;
        }
        let (n, half) = (self.ring.len(), (self.shape.neighbors / 2) as usize);
        let at = |place: usize| u32::from(included[self.ring[place % n] as usize]);
        let mut held: u32 = (0..half).map(at).sum();
        (0..n).any(|start| {
            let thin = held < self.shape.window;
            held = held + at(start + half) - at(start);
            thin
        })
    }
}

/// SHA-256(label || seed || counter) blocks, read as 32-bit words.
struct HashStream<'a> {
    seed: &'a [u8; 32],
    counter: u64,
    block: [u8; 32],
    used: usize,
}

impl HashStream<'_> {
    fn word(&mut self) -> u32 {
        if self.used == 32 {
            let hash = Sha256::new().chain_update(b"veilsum.federated.graph.v1\0").chain_update(self.seed);
            self.block = hash.chain_update(self.counter.to_be_bytes()).finalize().into();
            self.counter += 1;
            self.used = 0;
        }
        let at = self.used;
        self.used += 4;
        u32::from_be_bytes([self.block[at], self.block[at + 1], self.block[at + 2], self.block[at + 3]])
    }

    /// Uniform below `bound`, by rejection.
    fn below(&mut self, bound: u32) -> u32 {
        let accepted = u32::MAX - (u32::MAX % bound + 1) % bound;
        loop {
            let word = self.word();
            if word <= accepted {
                return word % bound;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn published_parameters_for_a_semi_honest_server() {
        for (clients, bad, degree, threshold) in [(100, 5, 12, 6), (1_000, 50, 30, 17), (10_000, 500, 34, 20)] {
            let shape = Shape::least(clients, bad, bad, false).expect("a valid case");
            assert_eq!((shape.neighbors, shape.threshold), (degree, threshold), "{clients} clients");
        }
    }

    #[test]
    fn a_malicious_server_takes_more_and_the_conditions_hold() {
        for (clients, bad, weak) in [(100_u32, 5_u32, 16), (1_000, 50, 52), (10_000, 500, 62)] {
            let shape = Shape::least(clients, bad, bad, true).expect("a valid case");
            assert!(shape.neighbors > weak, "{shape:?}");
            assert!(2 * shape.threshold > shape.neighbors + 1);
            assert!(2 * shape.quorum > clients + bad);
        }
    }

    /// The conditions in the text, evaluated again for what the search found, for all draws of the beacon together; and
    /// a degree less does not meet them.
    #[test]
    fn all_draws_of_the_beacon_together_keep_the_promise() {
        for (clients, corrupt, dropouts) in [(1_000_u32, 50_u32, 50_u32), (1_000, 20, 300), (10_000, 500, 500)] {
            let factorials = Factorials::up_to(clients);
            let mut broken = 0.0;
            // The longest game: one client is struck at every draw.
            for struck in [0, dropouts / 2, dropouts] {
                let (n, d) = (clients - struck, dropouts - struck);
                let shape = Shape::least(n, corrupt, d, true).expect("a round");
                let (k, h) = (shape.neighbors, shape.neighbors / 2);
                let most_corrupt = 2 * shape.threshold - (k + 1) - 1;
                let count = f64::from(n);
                let one = count * factorials.at_least(n - 1, corrupt, k, most_corrupt + 1)
                    + count * factorials.at_least(n, corrupt, h, shape.window);
                broken = one.max(broken);
            }
            assert!(f64::from(dropouts + 1) * broken <= PRIVACY, "{clients}: {broken}");
        }
    }

    #[test]
    fn six_sites() {
        let shape = Shape::complete(6, 1, 1, true).expect("a valid case");
        assert_eq!((shape.neighbors, shape.threshold), (5, 4));
        assert!(Shape::complete(6, 2, 2, true).is_err());
        assert!(Shape::complete(5, 1, 2, true).is_err());
        assert!(Shape::complete(8, 3, 2, true).expect("a valid case").threshold == 6);
        assert!(Shape::complete(9, 2, 4, true).is_err());
    }

    #[test]
    fn neighbourhood_is_mutual_and_points_are_distinct() {
        let shape = Shape::least(100, 5, 5, false).expect("a valid case");
        let graph = Graph::drawn(shape, &[3; 32]);
        for client in 0..100 {
            let near = graph.neighbors(client);
            assert_eq!(near.len() as u32, shape.neighbors);
            let mut points: Vec<u16> = near.iter().chain([&client]).map(|&h| graph.point(client, h)).collect();
            points.sort_unstable();
            points.dedup();
            assert_eq!(points.len() as u32, shape.neighbors + 1);
            assert!(points[0] > 0);
            assert!(near.iter().all(|&other| graph.neighbors(other).contains(&client)));
        }
    }

    #[test]
    fn a_thin_window_is_seen_wherever_it_lies() {
        let shape = Shape::least(1_000, 50, 50, true).expect("a valid case");
        let graph = Graph::drawn(shape, &[9; 32]);
        let half = (shape.neighbors / 2) as usize;
        assert!(!graph.has_thin_window(&[true; 1_000]));
        for start in [0, 500, 1_000 - half / 2] {
            let mut included = vec![true; 1_000];
            let drop = half - shape.window as usize;
            (0..drop).for_each(|i| included[graph.ring[(start + i) % 1_000] as usize] = false);
            assert!(!graph.has_thin_window(&included));
            included[graph.ring[(start + drop) % 1_000] as usize] = false;
            assert!(graph.has_thin_window(&included));
        }
    }
}
