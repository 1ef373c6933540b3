//! A live connection between two identities: TLS 1.3 with raw public keys (RFC 7250), each checked against a list.
//!
//! `cargo run --example raw_public_keys`. There are no certificates and no authority: a [`PeerSet`] says who may be a
//! server and who a client, until when, and a handshake with anyone else fails. veilsum writes no handshake of its own:
//! this is rustls, and what it takes is a key from an [`Identity`] and a verifier over a [`PeerSet`].

use std::error::Error;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::thread;

use rustls::client::AlwaysResolvesClientRawPublicKeys;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring, verify_tls13_signature_with_raw_key};
use rustls::pki_types::{self, CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName, SubjectPublicKeyInfoDer};
use rustls::server::AlwaysResolvesServerRawPublicKeys;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::sign::CertifiedKey;
use rustls::version::TLS13;
use rustls::{
    CertificateError, ClientConfig, ClientConnection, DigitallySignedStruct, DistinguishedName, PeerIncompatible,
    ServerConfig, ServerConnection, SignatureScheme, StreamOwned,
};
use veilsum_crypto::{Identity, Member, Peer, PeerSet, Role, UnixTime, hazmat};

/// What precedes an Ed25519 public key in a SubjectPublicKeyInfo (RFC 8410, section 4).
const SPKI: &[u8] = b"\x30\x2a\x30\x05\x06\x03\x2b\x65\x70\x03\x21\x00";
/// What precedes an Ed25519 seed in PKCS #8 (RFC 8410, section 7).
const PKCS8: &[u8] = b"\x30\x2e\x02\x01\x00\x30\x05\x06\x03\x2b\x65\x70\x04\x22\x04\x20";

fn main() -> Result<(), Box<dyn Error>> {
    let (server, client) = (Identity::generate()?, Identity::generate()?);
    let listed = PeerSet::of([as_member(server.peer(), "server")?, as_member(client.peer(), "client")?]);
    let answer = exchange(server, client, &listed, b"an update")?;
    println!("the server took {:?}", String::from_utf8_lossy(&answer));
    Ok(())
}

/// One connection over the loopback: the client sends `message`, and the server sends back what it got.
fn exchange(server: Identity, client: Identity, listed: &PeerSet, message: &[u8]) -> Result<Vec<u8>, Box<dyn Error>> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    let acceptor = Arc::new(server_config(&server, listed.with_role(&Role::new("client")?))?);
    let serving = thread::spawn(move || -> Result<(), Box<dyn Error + Send + Sync>> {
        let (socket, _) = listener.accept()?;
        let mut stream = StreamOwned::new(ServerConnection::new(acceptor)?, socket);
        let mut received = [0; 1024];
        let length = stream.read(&mut received)?;
        // The handshake is over and the client is on the list; which of its members it is, its key says.
        assert!(stream.conn.peer_certificates().is_some());
        stream.write_all(&received[..length])?;
        stream.conn.send_close_notify();
        stream.flush()?;
        Ok(())
    });
    let connector = Arc::new(client_config(&client, listed.with_role(&Role::new("server")?))?);
    let answer = ask(connector, TcpStream::connect(address)?, message);
    let served = serving.join().map_err(|_| "the server panicked")?;
    let answer = answer?;
    served.map_err(|error| error.to_string())?;
    Ok(answer)
}

fn ask(connector: Arc<ClientConfig>, socket: TcpStream, message: &[u8]) -> Result<Vec<u8>, Box<dyn Error>> {
    // The name decides nothing here: who the server is, its key says.
    let name = ServerName::try_from("veilsum.invalid")?;
    let mut stream = StreamOwned::new(ClientConnection::new(connector, name)?, socket);
    stream.write_all(message)?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    Ok(answer)
}

/// A server that shows `identity`'s key and takes the connections of `clients`.
fn server_config(identity: &Identity, clients: PeerSet) -> Result<ServerConfig, rustls::Error> {
    let key = Arc::new(raw_key(identity)?);
    Ok(ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_protocol_versions(&[&TLS13])?
        .with_client_cert_verifier(Arc::new(Listed::new(clients)))
        .with_cert_resolver(Arc::new(AlwaysResolvesServerRawPublicKeys::new(key))))
}

/// A client that shows `identity`'s key and talks to one of `servers`.
fn client_config(identity: &Identity, servers: PeerSet) -> Result<ClientConfig, rustls::Error> {
    let key = Arc::new(raw_key(identity)?);
    Ok(ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_protocol_versions(&[&TLS13])?
        .dangerous() // rustls's word for a verifier of one's own
        .with_custom_certificate_verifier(Arc::new(Listed::new(servers)))
        .with_client_cert_resolver(Arc::new(AlwaysResolvesClientRawPublicKeys::new(key))))
}

/// The identity's Ed25519 key for rustls. From here on rustls keeps a copy of the secret, by its own rules.
fn raw_key(identity: &Identity) -> Result<CertifiedKey, rustls::Error> {
    let secret = hazmat::identity_to_secret(identity);
    let pkcs8 = PrivatePkcs8KeyDer::from([PKCS8, &secret.expose()[..32]].concat());
    let key = ring::default_provider().key_provider.load_private_key(PrivateKeyDer::from(pkcs8))?;
    Ok(CertifiedKey::new(vec![CertificateDer::from(spki(identity.peer()))], key))
}

fn spki(peer: &Peer) -> Vec<u8> {
    [SPKI, peer.ed25519()].concat()
}

/// Accepts a raw public key if it is a listed peer's and that peer is valid now.
#[derive(Debug)]
struct Listed {
    peers: PeerSet,
    provider: CryptoProvider,
}

impl Listed {
    fn new(peers: PeerSet) -> Self {
        Self { peers, provider: ring::default_provider() }
    }

    fn admit(&self, shown: &CertificateDer<'_>, now: pki_types::UnixTime) -> Result<(), rustls::Error> {
        self.peers
            .iter()
            .find(|peer| spki(peer) == shown.as_ref())
            .and_then(|peer| self.peers.admitted(peer.id(), UnixTime(now.as_secs())))
            .map(drop)
            .ok_or(CertificateError::UnknownIssuer.into())
    }

    fn signed(
        &self,
        message: &[u8],
        shown: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let key = SubjectPublicKeyInfoDer::from(shown.as_ref());
        verify_tls13_signature_with_raw_key(message, &key, signature, &self.provider.signature_verification_algorithms)
    }
}

impl ServerCertVerifier for Listed {
    fn verify_server_cert(
        &self,
        shown: &CertificateDer<'_>,
        _others: &[CertificateDer<'_>],
        _name: &ServerName<'_>,
        _ocsp: &[u8],
        now: pki_types::UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        self.admit(shown, now).map(|()| ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _shown: &CertificateDer<'_>,
        _signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Err(PeerIncompatible::Tls12NotOfferedOrEnabled.into())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        shown: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.signed(message, shown, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ED25519]
    }

    fn requires_raw_public_keys(&self) -> bool {
        true
    }
}

impl ClientCertVerifier for Listed {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        shown: &CertificateDer<'_>,
        _others: &[CertificateDer<'_>],
        now: pki_types::UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        self.admit(shown, now).map(|()| ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _shown: &CertificateDer<'_>,
        _signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Err(PeerIncompatible::Tls12NotOfferedOrEnabled.into())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        shown: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.signed(message, shown, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ED25519]
    }

    fn requires_raw_public_keys(&self) -> bool {
        true
    }
}

fn as_member(peer: &Peer, role: &str) -> Result<Member, veilsum_crypto::Error> {
    Ok(Member { roles: [Role::new(role)?].into(), ..peer.clone().into() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn connects(listed: impl FnOnce(&Identity, &Identity) -> PeerSet) -> bool {
        let (server, client) = (Identity::generate().expect("entropy"), Identity::generate().expect("entropy"));
        let listed = listed(&server, &client);
        exchange(server, client, &listed, b"hello").is_ok_and(|answer| answer == b"hello")
    }

    fn member(identity: &Identity, role: &str) -> Member {
        as_member(identity.peer(), role).expect("a role")
    }

    #[test]
    fn listed_peers_connect_and_others_do_not() {
        assert!(connects(|server, client| PeerSet::of([member(server, "server"), member(client, "client")])));
        assert!(!connects(|server, _| PeerSet::of([member(server, "server")])), "an unlisted client");
        assert!(!connects(|_, client| PeerSet::of([member(client, "client")])), "an unlisted server");
        assert!(!connects(|server, client| PeerSet::of([member(server, "client"), member(client, "server")])), "roles");
        let ended = |identity: &Identity, role| Member { until: UnixTime(1), ..member(identity, role) };
        assert!(!connects(|server, client| PeerSet::of([ended(server, "server"), member(client, "client")])), "dates");
        assert!(!connects(|server, client| PeerSet::of([member(server, "server"), ended(client, "client")])), "dates");
    }

    /// A relay that shows a listed key which it does not have.
    #[test]
    fn a_key_that_is_shown_must_sign() {
        let [server, client, thief] = std::array::from_fn(|_| Identity::generate().expect("entropy"));
        let listed = PeerSet::of([member(&server, "server"), member(&client, "client")]);
        let servers = listed.with_role(&Role::new("server").expect("a role"));
        let clients = listed.with_role(&Role::new("client").expect("a role"));
        let mut stolen = raw_key(&thief).expect("a key");
        stolen.cert = raw_key(&server).expect("a key").cert;
        let mut config = server_config(&server, clients).expect("a configuration");
        config.cert_resolver = Arc::new(AlwaysResolvesServerRawPublicKeys::new(Arc::new(stolen)));
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("bound");
        let serving = thread::spawn(move || {
            let (socket, _) = listener.accept().expect("a client");
            let connection = ServerConnection::new(Arc::new(config)).expect("a connection");
            StreamOwned::new(connection, socket).read(&mut [0; 10]).is_err()
        });
        let connector = Arc::new(client_config(&client, servers).expect("a configuration"));
        assert!(ask(connector, TcpStream::connect(address).expect("connected"), b"hello").is_err());
        assert!(serving.join().expect("no panic"));
    }
}
