use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
use serde_json::{Value, json};

use super::*;
use crate::clock::Timestamp;
use crate::config::Secret;
use crate::http::backend::Backend;
use crate::ids::UserId;

const SECRET: &str = "kP9vQ2xLr7ZtB4mWcN8sHdF3gJ6yTaEu";
const NOON: i64 = 1_900_000_000;

fn auth(change: impl FnOnce(&mut config::Auth)) -> Auth {
    let mut config = config::Auth { jwt_secret: Secret::new(SECRET), ..config::Auth::default() };
    change(&mut config);
    Auth::new(config, Clock::manual(Timestamp(NOON * 1000))).unwrap()
}

#[allow(clippy::needless_pass_by_value)]
fn token_with(header: Value, claims: &str, secret: &str) -> String {
    let body = format!("{}.{}", BASE64.encode(header.to_string()), BASE64.encode(claims));
    let algorithm = match header["alg"].as_str() {
        Some("HS512") => ring::hmac::HMAC_SHA512,
        _ => ring::hmac::HMAC_SHA256,
    };
    let key = ring::hmac::Key::new(algorithm, secret.as_bytes());
    format!("{body}.{}", BASE64.encode(ring::hmac::sign(&key, body.as_bytes())))
}

#[allow(clippy::needless_pass_by_value)]
fn token(claims: Value) -> String {
    token_with(json!({ "alg": "HS256", "typ": "JWT" }), &claims.to_string(), SECRET)
}

fn good() -> Value {
    json!({ "user_id": 7, "uid": "u-7", "email": "ada@example.net", "exp": NOON + 60 })
}

async fn reason(auth: &Auth, token: &str) -> Option<Reason> {
    auth.authenticate(token).await.err().map(|error| error.reason())
}

#[tokio::test]
async fn a_token_of_the_original_is_an_identity() {
    let identity = auth(|_| ()).authenticate(&token(good())).await.unwrap();
    assert_eq!((identity.user_id.value(), identity.uid.as_deref()), (7, Some("u-7")));
    assert_eq!(identity.expires_at, Timestamp((NOON + 60) * 1000));
}

#[tokio::test]
async fn algorithms_are_pinned() {
    let auth = auth(|_| ());
    for alg in ["none", "None", "nOnE", "HS512", "RS256", ""] {
        let forged = token_with(json!({ "alg": alg }), &good().to_string(), SECRET);
        assert_eq!(reason(&auth, &forged).await, Some(Reason::TokenInvalid), "{alg}");
        let unsigned = format!("{}.", forged.rsplit_once('.').unwrap().0);
        assert_eq!(reason(&auth, &unsigned).await, Some(Reason::TokenInvalid), "{alg} unsigned");
    }
}

/// A fresh P-256 key: the public point (SEC 1 §2.3.3), the private half to sign with.
fn es256_point() -> (Vec<u8>, jsonwebtoken::EncodingKey) {
    use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair};
    let random = ring::rand::SystemRandom::new();
    let document = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random).unwrap();
    let pair =
        EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, document.as_ref(), &random)
            .unwrap();
    (pair.public_key().as_ref().to_vec(), jsonwebtoken::EncodingKey::from_ec_der(document.as_ref()))
}

/// A fresh P-256 key: the public half as PEM (RFC 5480), the private one to sign with.
fn es256() -> (String, jsonwebtoken::EncodingKey) {
    const SPKI: &str = "3059301306072a8648ce3d020106082a8648ce3d030107034200";
    let (point, key) = es256_point();
    let mut der: Vec<u8> = (0..SPKI.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&SPKI[at..at + 2], 16).unwrap())
        .collect();
    der.extend_from_slice(&point);
    let text = base64::engine::general_purpose::STANDARD.encode(der);
    let pem = format!("-----BEGIN PUBLIC KEY-----\n{text}\n-----END PUBLIC KEY-----\n");
    (pem, key)
}

#[tokio::test]
async fn a_public_key_is_no_shared_secret() {
    let (pem, key) = es256();
    let path = std::env::temp_dir().join(format!("switchboard-{}.pem", uuid::Uuid::new_v4()));
    std::fs::write(&path, &pem).unwrap();
    let auth = auth(|config| {
        config.jwt_secret = Secret::default();
        config.algorithms = vec!["ES256".into()];
        config.public_keys = vec![path.display().to_string()];
    });
    let confused = token_with(json!({ "alg": "HS256" }), &good().to_string(), &pem);
    assert_eq!(reason(&auth, &confused).await, Some(Reason::TokenInvalid));

    let honest = jsonwebtoken::encode(
        &jsonwebtoken::Header::new(jsonwebtoken::Algorithm::ES256),
        &good(),
        &key,
    )
    .unwrap();
    assert_eq!(reason(&auth, &honest).await, None);
    std::fs::remove_file(path).unwrap();
}

#[tokio::test]
async fn times_are_checked_with_thirty_seconds_of_leeway() {
    let auth = auth(|_| ());
    let with = |exp: Value| {
        let mut claims = good();
        claims["exp"] = exp;
        token(claims)
    };
    assert_eq!(reason(&auth, &with(json!(NOON - 29))).await, None);
    assert_eq!(reason(&auth, &with(json!(NOON - 30))).await, Some(Reason::TokenExpired));
    assert_eq!(reason(&auth, &with(json!(NOON - 61))).await, Some(Reason::TokenExpired));
    for bad in [json!("1900000060"), json!(1e300), json!(-1), json!(null), json!([])] {
        assert_eq!(reason(&auth, &with(bad.clone())).await, Some(Reason::TokenInvalid), "{bad}");
    }
    let mut without = good();
    without.as_object_mut().unwrap().remove("exp");
    assert_eq!(reason(&auth, &token(without)).await, Some(Reason::TokenInvalid));
    for claim in ["nbf", "iat"] {
        let mut future = good();
        future[claim] = json!(NOON + 31);
        assert_eq!(
            reason(&auth, &token(future.clone())).await,
            Some(Reason::TokenInvalid),
            "{claim}"
        );
        let error = auth.authenticate(&token(future.clone())).await.unwrap_err().to_string();
        assert!(error.contains(claim) && error.contains("31 s ahead"), "{error}");
        future[claim] = json!(NOON + 30);
        assert_eq!(reason(&auth, &token(future)).await, None, "{claim}");
    }
}

#[tokio::test]
async fn a_user_id_is_a_whole_positive_number() {
    let auth = auth(|_| ());
    for bad in [
        json!(null),
        json!(0),
        json!(-7),
        json!(7.5),
        json!("7x"),
        json!(9_007_199_254_740_992_i64),
        json!({ "$gt": "" }),
    ] {
        let mut claims = good();
        claims["user_id"] = bad.clone();
        assert_eq!(reason(&auth, &token(claims)).await, Some(Reason::TokenInvalid), "{bad}");
    }
    let mut text = good();
    text["user_id"] = json!("7");
    assert_eq!(reason(&auth, &token(text)).await, None);
    let twice = format!(r#"{{"user_id":7,"user_id":8,"exp":{}}}"#, NOON + 60);
    let twice = token_with(json!({ "alg": "HS256" }), &twice, SECRET);
    assert_eq!(reason(&auth, &twice).await, Some(Reason::TokenInvalid));
}

#[tokio::test]
async fn issuer_and_audience_count_when_configured() {
    let auth = auth(|config| {
        config.issuer = "https://app.example".into();
        config.audience = "switchboard".into();
    });
    assert_eq!(reason(&auth, &token(good())).await, Some(Reason::TokenInvalid));
    let mut claims = good();
    claims["iss"] = json!("https://app.example");
    assert_eq!(reason(&auth, &token(claims.clone())).await, Some(Reason::TokenInvalid));
    claims["aud"] = json!("switchboard");
    assert_eq!(reason(&auth, &token(claims.clone())).await, None);
    claims["aud"] = json!("another");
    assert_eq!(reason(&auth, &token(claims)).await, Some(Reason::TokenInvalid));
}

#[tokio::test]
async fn odd_headers_are_ignored_or_refused_and_never_followed() {
    let auth = auth(|_| ());
    for header in [
        json!({ "alg": "HS256", "kid": "../../dev/null" }),
        json!({ "alg": "HS256", "kid": "' OR 1", "jku": "http://127.0.0.1:9/x", "x5u": "http://127.0.0.1:9/y" }),
    ] {
        assert_eq!(reason(&auth, &token_with(header, &good().to_string(), SECRET)).await, None);
    }
    let critical = json!({ "alg": "HS256", "crit": ["exp2"], "exp2": 1 });
    assert_eq!(
        reason(&auth, &token_with(critical, &good().to_string(), SECRET)).await,
        Some(Reason::TokenInvalid)
    );
}

#[tokio::test]
async fn monstrous_tokens_are_refused_at_once() {
    let auth = auth(|_| ());
    for bad in [
        "x".repeat(1 << 20),
        ".".repeat(100_000),
        "a.b.c".into(),
        "not a token".into(),
        format!("{} ", token(good())),
    ] {
        assert_eq!(reason(&auth, &bad).await, Some(Reason::TokenInvalid));
    }
    assert_eq!(reason(&auth, "").await, Some(Reason::TokenMissing));
}

#[tokio::test]
async fn a_minted_token_is_accepted_until_it_ends() {
    let clock = Clock::manual(Timestamp(NOON * 1000));
    let config = config::Auth { jwt_secret: Secret::new(SECRET), ..config::Auth::default() };
    let auth = Auth::new(config, clock.clone()).unwrap();
    let user_id = UserId::new(101).unwrap();
    let (uid, email, name, user_type, iss, aud) =
        (None, None, Some("Ada".into()), None, None, None);
    let grant = Grant {
        user_id,
        uid,
        email,
        name,
        user_type,
        role: crate::event::Role::Admin,
        exp: NOON + 60,
        iss,
        aud,
    };
    let minted = mint(&grant, &Secret::new(SECRET)).unwrap();
    assert_eq!(auth.authenticate(&minted).await.unwrap().role, crate::event::Role::Admin);
    clock.advance(Duration::from_secs(91));
    assert_eq!(reason(&auth, &minted).await, Some(Reason::TokenExpired));
}

#[tokio::test]
async fn keys_that_are_not_for_signatures_check_none() {
    let usable = |more: Value| {
        let (point, _) = es256_point();
        let (x, y) = (BASE64.encode(&point[1..33]), BASE64.encode(&point[33..]));
        let mut key = json!({ "kty": "EC", "crv": "P-256", "x": x, "y": y });
        key.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let set = serde_json::from_value(json!({ "keys": [key] })).unwrap();
        super::keys::usable(&set).len()
    };
    for good in [json!({}), json!({ "use": "sig" }), json!({ "key_ops": ["verify"] })] {
        assert_eq!(usable(good.clone()), 1, "{good}");
    }
    for bad in [
        json!({ "use": "enc" }),
        json!({ "use": "other" }),
        json!({ "key_ops": ["encrypt"] }),
        json!({ "key_ops": [] }),
        json!({ "use": "enc", "key_ops": ["verify"] }),
    ] {
        assert_eq!(usable(bad.clone()), 0, "{bad}");
    }
}

/// An issuer with keys of its own, of which its JWKS shows the first few.
struct Issuer {
    backend: Backend,
    shown: Arc<AtomicUsize>,
    keys: Vec<(&'static str, jsonwebtoken::EncodingKey)>,
}

impl Issuer {
    async fn new(ids: &[&'static str]) -> Self {
        let (mut jwks, mut keys) = (Vec::new(), Vec::new());
        for id in ids {
            let (point, key) = es256_point();
            let (x, y) = (BASE64.encode(&point[1..33]), BASE64.encode(&point[33..]));
            jwks.push(json!({ "kty": "EC", "crv": "P-256", "x": x, "y": y, "kid": id }));
            keys.push((*id, key));
        }
        let shown = Arc::new(AtomicUsize::new(1));
        let count = shown.clone();
        let answer = move |_| {
            let now: Vec<Value> = jwks.iter().take(count.load(Ordering::SeqCst)).cloned().collect();
            async move {
                tokio::time::sleep(Duration::from_millis(20)).await; // paces the answer: requests that begin together find it on its way
                match now.is_empty() {
                    true => (500, String::new()),
                    false => (200, json!({ "keys": now }).to_string()),
                }
            }
        };
        Self { backend: Backend::start(answer).await, shown, keys }
    }

    /// Shows the first `count` keys from now on; without any it fails.
    fn show(&self, count: usize) {
        self.shown.store(count, Ordering::SeqCst);
    }

    fn auth(&self) -> (Auth, Clock) {
        let clock = Clock::manual(Timestamp(NOON * 1000));
        let config = config::Auth {
            algorithms: vec!["ES256".into()],
            jwks_url: self.backend.url.clone(),
            ..config::Auth::default()
        };
        (Auth::new(config, clock.clone()).unwrap(), clock)
    }

    /// A token signed with the key `place`, under the id `kid`.
    fn sign(&self, place: usize, kid: &str) -> String {
        let mut header = jsonwebtoken::Header::new(jsonwebtoken::Algorithm::ES256);
        header.kid = Some(kid.to_owned());
        jsonwebtoken::encode(&header, &good(), &self.keys[place].1).unwrap()
    }

    fn token(&self, place: usize) -> String {
        self.sign(place, self.keys[place].0)
    }
}

#[tokio::test]
async fn a_key_that_the_issuer_begins_to_use_is_found_at_once_by_one_reading() {
    let issuer = Issuer::new(&["old", "new"]).await;
    let (auth, clock) = issuer.auth();
    auth.refresh_keys().await.unwrap();
    assert_eq!(reason(&auth, &issuer.token(0)).await, None);
    assert_eq!(issuer.backend.asked(), 1);

    issuer.show(2);
    clock.advance(Duration::from_secs(60));
    let token = issuer.token(1);
    let all = futures_util::future::join_all((0..20).map(|_| reason(&auth, &token))).await;

    assert!(all.iter().all(Option::is_none), "{all:?}");
    assert_eq!(issuer.backend.asked(), 2, "twenty tokens at once are one reading");
    assert_eq!(reason(&auth, &issuer.token(0)).await, None);
}

#[tokio::test]
async fn made_up_key_ids_cause_one_reading_in_ten_seconds() {
    let issuer = Issuer::new(&["old", "new"]).await;
    let (auth, clock) = issuer.auth();
    auth.refresh_keys().await.unwrap();
    for round in 0..3 {
        for id in 0..10 {
            let forged = issuer.sign(1, &format!("made-up-{id}"));
            assert_eq!(reason(&auth, &forged).await, Some(Reason::TokenInvalid));
        }
        assert_eq!(issuer.backend.asked(), 1 + round);
        clock.advance(Duration::from_secs(10));
    }
    let shared = token_with(json!({ "alg": "HS256", "kid": "x" }), &good().to_string(), SECRET);
    assert_eq!(reason(&auth, &shared).await, Some(Reason::TokenInvalid));
    assert_eq!(issuer.backend.asked(), 3, "an algorithm that is not accepted causes none");
}

#[tokio::test]
async fn the_known_keys_stay_when_the_issuer_fails_and_without_any_nothing_is_said_of_a_token() {
    let issuer = Issuer::new(&["old"]).await;
    issuer.show(0);
    let (auth, clock) = issuer.auth();
    assert!(auth.refresh_keys().await.unwrap_err().to_string().contains("auth.jwks_url"));
    assert_eq!(reason(&auth, &issuer.token(0)).await, Some(Reason::Unavailable));
    issuer.show(1);
    clock.advance(Duration::from_secs(10));
    assert_eq!(reason(&auth, &issuer.token(0)).await, None);
    issuer.show(0);
    clock.advance(Duration::from_secs(10));
    assert!(auth.refresh_keys().await.is_err());
    assert_eq!(reason(&auth, &issuer.token(0)).await, None);
}

#[tokio::test]
async fn the_backend_is_asked_once_for_tokens_that_come_together_and_again_when_the_answer_is_old()
{
    let backend = Backend::start(async |token: String| {
        tokio::time::sleep(Duration::from_millis(20)).await; // paces the answer: requests that begin together find it on its way
        match &*token {
            "good" => (200, json!({ "data": { "user_id": 7 } }).to_string()),
            "ill" => (500, String::new()),
            _ => (401, String::new()),
        }
    })
    .await;
    let clock = Clock::manual(Timestamp(NOON * 1000));
    let config = config::Auth {
        mode: AuthMode::Introspect,
        introspect_url: backend.url.clone(),
        ..config::Auth::default()
    };
    let auth = Auth::new(config, clock.clone()).unwrap();
    let together = async |token: &'static str| {
        let all = (0..20).map(|_| reason(&auth, token));
        let mut all = futures_util::future::join_all(all).await;
        all.dedup();
        (all, backend.asked())
    };

    assert_eq!(together("good").await, (vec![None], 1));
    assert_eq!(together("good").await, (vec![None], 1), "the answer is kept");
    assert_eq!(together("bad").await, (vec![Some(Reason::TokenInvalid)], 2));
    assert_eq!(together("ill").await, (vec![Some(Reason::Unavailable)], 3));
    assert_eq!(
        together("ill").await,
        (vec![Some(Reason::Unavailable)], 4),
        "no answer is not kept"
    );
    clock.advance(Duration::from_secs(60));
    assert_eq!(together("good").await, (vec![None], 5));
}
