//! An endpoint, ready to be sent to.

use std::fmt::Write as _;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use reqwest::Url;
use ring::{digest, hmac};

use crate::clock::Timestamp;
use crate::config::{Secret, WebhookEndpoint};
use crate::fact::FactKind;

/// See the module.
pub(super) struct Endpoint {
    pub(super) name: String,
    pub(super) url: Url,
    /// A digest of address, key and events: what changes it is another configuration.
    pub(super) configuration: String,
    key: hmac::Key,
    config: WebhookEndpoint,
}

impl Endpoint {
    pub(super) fn new(config: &WebhookEndpoint, all: &Secret, dev: bool) -> Result<Self, String> {
        let (url, key) = (config.address(dev)?, config.key(all)?);
        let mut whole = digest::Context::new(&digest::SHA256);
        for part in [config.url.as_bytes(), &key, config.events.join(",").as_bytes()] {
            whole.update(&part.len().to_be_bytes());
            whole.update(part);
        }
        let configuration = whole.finish().as_ref().iter().fold(String::new(), |mut text, byte| {
            let _ = write!(text, "{byte:02x}");
            text
        });
        let key = hmac::Key::new(hmac::HMAC_SHA256, &key);
        Ok(Self { name: config.name.clone(), url, configuration, key, config: config.clone() })
    }

    /// Whether it wants to know of such facts.
    pub(super) fn wants(&self, kind: FactKind) -> bool {
        self.config.wants(kind)
    }

    /// What it wants.
    pub(super) fn events(&self) -> &[String] {
        &self.config.events
    }

    /// The name of its cursor among the facts.
    pub(super) fn cursor(&self) -> String {
        format!("webhooks:{}", self.name)
    }

    /// The value of `webhook-signature`: <https://www.standardwebhooks.com>, "Signature scheme".
    pub(super) fn signature(&self, id: &str, at: Timestamp, body: &str) -> String {
        let signed = format!("{id}.{}.{body}", at.seconds());
        let tag = hmac::sign(&self.key, signed.as_bytes());
        format!("v1,{}", BASE64_STANDARD.encode(tag))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn endpoint(change: impl FnOnce(&mut WebhookEndpoint)) -> Endpoint {
        let mut config = WebhookEndpoint {
            name: "a".into(),
            url: "https://a.example/".into(),
            secret: Secret::new("whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD"),
            ..WebhookEndpoint::default()
        };
        change(&mut config);
        Endpoint::new(&config, &Secret::default(), false).unwrap()
    }

    #[test]
    fn a_signature_is_that_of_other_implementations() {
        // Made by Python's hmac: base64(HMAC-SHA256(base64 of the secret, "msg_1.1731705121.{...}")).
        let body = r#"{"event_type":"ping","data":{"success":true}}"#;
        let signature = endpoint(|_| ()).signature("msg_1", Timestamp(1_731_705_121_987), body);
        assert_eq!(signature, "v1,bO8RUI0fMeceKTLRu13P0GUeFKB/k0NuyLpllPfnAN4=");
    }

    #[test]
    fn another_address_key_or_list_of_events_is_another_configuration() {
        let known = endpoint(|_| ()).configuration;
        assert_eq!(known, endpoint(|it| it.name = "b".into()).configuration);
        let others = [
            endpoint(|it| it.url = "https://b.example/".into()),
            endpoint(|it| it.secret = Secret::new("whsec_kP9vQ2xLr7ZtB4mWcN8sHdF3gJ6yTaEu")),
            endpoint(|it| it.events = vec!["call.*".into()]),
        ];
        assert!(others.iter().all(|other| other.configuration != known));
    }
}
