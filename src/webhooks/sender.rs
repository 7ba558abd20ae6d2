//! One attempt: a signed request, and what came of it.

use std::error::Error as _;
use std::fmt::Write as _;
use std::sync::OnceLock;
use std::time::Duration;

use chrono::DateTime;
use reqwest::header::{CONTENT_TYPE, HeaderMap, RETRY_AFTER, USER_AGENT};

use super::endpoint::Endpoint;
use super::outcome::Answer;
use crate::clock::Timestamp;

/// How much of an answer is read, so that its connection can be used again.
const READ: usize = 16 * 1024;
/// How long the reason of a failure is.
const REASON: usize = 300;

/// The client of all endpoints.
pub(super) struct Sender {
    /// Made with the first request, since a server without endpoints needs none.
    client: OnceLock<reqwest::Client>,
    deadline: Duration,
}

impl Sender {
    pub(super) fn new(deadline: Duration) -> Self {
        Self { client: OnceLock::new(), deadline }
    }

    fn client(&self) -> &reqwest::Client {
        self.client.get_or_init(|| {
            let builder = reqwest::Client::builder()
                .timeout(self.deadline)
                .redirect(reqwest::redirect::Policy::none())
                .pool_max_idle_per_host(4);
            builder.build().unwrap_or_default()
        })
    }

    /// Sends a body under its id, as an attempt of this moment.
    pub(super) async fn send(
        &self,
        endpoint: &Endpoint,
        id: &str,
        at: Timestamp,
        body: String,
    ) -> Answer {
        let request = self
            .client()
            .post(endpoint.url.clone())
            .header(CONTENT_TYPE, "application/json")
            .header(USER_AGENT, concat!("switchboard/", env!("CARGO_PKG_VERSION")))
            .header("webhook-id", id)
            .header("webhook-timestamp", at.seconds())
            .header("webhook-signature", endpoint.signature(id, at, &body));
        match request.body(body).send().await {
            Ok(answer) => {
                let status = answer.status().as_u16();
                let silence = retry_after(answer.headers(), at);
                drain(answer).await;
                if (200..300).contains(&status) {
                    Answer::Taken(status)
                } else {
                    Answer::Refused(status, silence)
                }
            }
            Err(error) if error.is_timeout() => {
                let seconds = self.deadline.as_secs();
                Answer::Unreachable(format!(
                    "did not answer within {seconds} s (webhooks.deadline)"
                ))
            }
            Err(error) => Answer::Unreachable(reason(error)),
        }
    }
}

async fn drain(mut answer: reqwest::Response) {
    let mut read = 0;
    while let Ok(Some(chunk)) = answer.chunk().await {
        read += chunk.len();
        if read > READ {
            return;
        }
    }
}

/// Why there was no answer, without the address, which may hold a secret.
fn reason(error: reqwest::Error) -> String {
    let error = error.without_url();
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let _ = write!(text, ": {cause}");
        source = cause.source();
    }
    text.chars().take(REASON).collect()
}

/// For how long the endpoint wants no requests (RFC 9110 §10.2.3): seconds, or a date.
fn retry_after(headers: &HeaderMap, now: Timestamp) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = text.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let until = DateTime::parse_from_rfc2822(text).ok()?;
    Some(Timestamp(until.timestamp_millis()).since(now))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn silence_is_asked_for_in_seconds_or_until_a_date() {
        let now = Timestamp(1_445_412_480_000);
        let asked = |text: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(RETRY_AFTER, text.parse().unwrap());
            retry_after(&headers, now).map(|silence| silence.as_secs())
        };
        assert_eq!(asked("120"), Some(120));
        assert_eq!(asked(" 0 "), Some(0));
        assert_eq!(asked("Wed, 21 Oct 2015 07:30:00 GMT"), Some(1_445_412_600 - 1_445_412_480));
        assert_eq!(asked("Wed, 21 Oct 2014 07:30:00 GMT"), None, "that was a Tuesday");
        assert_eq!(asked("Tue, 21 Oct 2014 07:30:00 GMT"), Some(0), "in the past");
        assert_eq!(asked("-5"), None);
        assert_eq!(asked("soon"), None);
        assert_eq!(retry_after(&HeaderMap::new(), now), None);
    }
}
