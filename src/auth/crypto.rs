//! The cryptography of tokens. It is `ring`'s, as for TLS, DTLS and SRTP: one implementation to build and to keep up to date.

use jsonwebtoken::crypto::{CryptoProvider, JwtSigner, JwtVerifier, KeyUtils};
use jsonwebtoken::errors::{Error, ErrorKind};
use jsonwebtoken::{Algorithm, AlgorithmFamily, DecodingKey, DecodingKeyKind, EncodingKey};
use ring::{hmac, signature};
use signature_traits::{Signer, Verifier};

static RING: CryptoProvider = CryptoProvider {
    signer_factory: signer,
    verifier_factory: verifier,
    // Keys are taken from a JWKS; none is made into one.
    key_utils: KeyUtils::new_unimplemented(),
};

/// Has `jsonwebtoken` use it; called before every other use.
pub(super) fn install() {
    // Refused from the second time on, and as good.
    let _ = RING.install_default();
}

fn signer(algorithm: &Algorithm, key: &EncodingKey) -> Result<Box<dyn JwtSigner>, Error> {
    // The server signs with its secret alone; tests are issuers of other kinds too.
    #[cfg(test)]
    if *algorithm == Algorithm::ES256 && key.family() == AlgorithmFamily::Ec {
        return Ok(Box::new(tests::Es256(key.clone())));
    }
    let (Some(hash), AlgorithmFamily::Hmac) = (hash(*algorithm), key.family()) else {
        return Err(ErrorKind::InvalidAlgorithm.into());
    };
    Ok(Box::new(Secret { algorithm: *algorithm, key: hmac::Key::new(hash, key.as_bytes()) }))
}

fn verifier(algorithm: &Algorithm, key: &DecodingKey) -> Result<Box<dyn JwtVerifier>, Error> {
    if key.family() != algorithm.family() {
        return Err(ErrorKind::InvalidKeyFormat.into());
    }
    Ok(match hash(*algorithm) {
        Some(hash) => {
            let key = hmac::Key::new(hash, key.try_get_as_bytes()?);
            Box::new(Secret { algorithm: *algorithm, key })
        }
        None => Box::new(Public { algorithm: *algorithm, key: key.clone() }),
    })
}

fn hash(algorithm: Algorithm) -> Option<hmac::Algorithm> {
    match algorithm {
        Algorithm::HS256 => Some(hmac::HMAC_SHA256),
        Algorithm::HS384 => Some(hmac::HMAC_SHA384),
        Algorithm::HS512 => Some(hmac::HMAC_SHA512),
        _ => None,
    }
}

/// A shared secret (RFC 7518 §3.2).
struct Secret {
    algorithm: Algorithm,
    key: hmac::Key,
}

impl Signer<Vec<u8>> for Secret {
    fn try_sign(&self, message: &[u8]) -> Result<Vec<u8>, signature_traits::Error> {
        Ok(hmac::sign(&self.key, message).as_ref().to_vec())
    }
}

impl JwtSigner for Secret {
    fn algorithm(&self) -> Algorithm {
        self.algorithm
    }
}

impl Verifier<Vec<u8>> for Secret {
    fn verify(&self, message: &[u8], tag: &Vec<u8>) -> Result<(), signature_traits::Error> {
        hmac::verify(&self.key, message, tag).map_err(|_| signature_traits::Error::new())
    }
}

impl JwtVerifier for Secret {
    fn algorithm(&self) -> Algorithm {
        self.algorithm
    }
}

/// A public key (RFC 7518 §3.3 to §3.5, RFC 8037 §3.1). RSA keys have 2,048 bits or more.
struct Public {
    algorithm: Algorithm,
    key: DecodingKey,
}

impl Public {
    fn check(&self, message: &[u8], tag: &[u8]) -> Option<()> {
        if let Some(rsa) = rsa(self.algorithm) {
            return match self.key.kind() {
                DecodingKeyKind::RsaModulusExponent { n, e } => {
                    signature::RsaPublicKeyComponents { n, e }.verify(rsa, message, tag).ok()
                }
                DecodingKeyKind::SecretOrDer(der) => {
                    signature::UnparsedPublicKey::new(rsa, der).verify(message, tag).ok()
                }
            };
        }
        let curve: &dyn signature::VerificationAlgorithm = match self.algorithm {
            Algorithm::ES256 => &signature::ECDSA_P256_SHA256_FIXED,
            Algorithm::ES384 => &signature::ECDSA_P384_SHA384_FIXED,
            Algorithm::EdDSA => &signature::ED25519,
            _ => return None,
        };
        let key = self.key.try_get_as_bytes().ok()?;
        signature::UnparsedPublicKey::new(curve, key).verify(message, tag).ok()
    }
}

fn rsa(algorithm: Algorithm) -> Option<&'static signature::RsaParameters> {
    match algorithm {
        Algorithm::RS256 => Some(&signature::RSA_PKCS1_2048_8192_SHA256),
        Algorithm::RS384 => Some(&signature::RSA_PKCS1_2048_8192_SHA384),
        Algorithm::RS512 => Some(&signature::RSA_PKCS1_2048_8192_SHA512),
        Algorithm::PS256 => Some(&signature::RSA_PSS_2048_8192_SHA256),
        Algorithm::PS384 => Some(&signature::RSA_PSS_2048_8192_SHA384),
        Algorithm::PS512 => Some(&signature::RSA_PSS_2048_8192_SHA512),
        _ => None,
    }
}

impl Verifier<Vec<u8>> for Public {
    fn verify(&self, message: &[u8], tag: &Vec<u8>) -> Result<(), signature_traits::Error> {
        self.check(message, tag).ok_or_else(signature_traits::Error::new)
    }
}

impl JwtVerifier for Public {
    fn algorithm(&self) -> Algorithm {
        self.algorithm
    }
}

#[cfg(test)]
mod tests {
    use jsonwebtoken::crypto::verify;
    use jsonwebtoken::jwk::Jwk;
    use jsonwebtoken::{EncodingKey, Header};
    use serde::Deserialize;

    use super::*;

    /// A private key on P-256, for the tests of the other modules.
    pub(super) struct Es256(pub(super) EncodingKey);

    impl Signer<Vec<u8>> for Es256 {
        fn try_sign(&self, message: &[u8]) -> Result<Vec<u8>, signature_traits::Error> {
            let random = ring::rand::SystemRandom::new();
            let kind = &signature::ECDSA_P256_SHA256_FIXED_SIGNING;
            let pair = signature::EcdsaKeyPair::from_pkcs8(kind, self.0.as_bytes(), &random);
            Ok(pair.unwrap().sign(&random, message).unwrap().as_ref().to_vec())
        }
    }

    impl JwtSigner for Es256 {
        fn algorithm(&self) -> Algorithm {
            Algorithm::ES256
        }
    }

    /// Made by OpenSSL.
    #[derive(Deserialize)]
    struct Vectors {
        message: String,
        signatures: Vec<Signed>,
    }

    #[derive(Deserialize)]
    struct Signed {
        algorithm: Algorithm,
        key: Jwk,
        signature: String,
        #[serde(default)]
        refused: bool,
    }

    #[test]
    fn signatures_of_every_algorithm_are_checked_and_those_of_small_keys_refused() {
        install();
        let Vectors { message, signatures } =
            serde_json::from_str(include_str!("signatures.json")).unwrap();
        for Signed { algorithm, key, signature, refused } in &signatures {
            let key = DecodingKey::from_jwk(key).unwrap();
            let check = |signature: &str, message: &str| {
                verify(signature, message.as_bytes(), &key, *algorithm).unwrap()
            };
            assert_eq!(check(signature, &message), !refused, "{algorithm:?}");
            assert!(!check(signature, &format!("{message}x")), "{algorithm:?}: another message");
            for other in signatures.iter().filter(|other| other.signature != *signature) {
                assert!(
                    !check(&other.signature, &message),
                    "{algorithm:?} by {:?}",
                    other.algorithm
                );
            }
            assert!(!check("", &message), "{algorithm:?}: no signature");
        }
    }

    #[test]
    fn a_key_of_another_family_is_no_key_and_public_keys_sign_nothing() {
        install();
        let secret = DecodingKey::from_secret(b"0123456789abcdef0123456789abcdef");
        assert!(verify("AA", b"message", &secret, Algorithm::RS256).is_err());
        let key = EncodingKey::from_secret(b"0123456789abcdef0123456789abcdef");
        assert!(jsonwebtoken::encode(&Header::new(Algorithm::RS256), &1, &key).is_err());
    }
}
