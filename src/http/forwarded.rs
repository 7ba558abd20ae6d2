//! What reverse proxies say of a request: the client's address, and the host that the client asked for. Trusted proxies
//! (`server.trusted_proxies`) are believed, other senders are not.

use std::net::{IpAddr, SocketAddr};

use http::HeaderMap;

use crate::config::Networks;

const FORWARDED: &str = "forwarded";
const FORWARDED_FOR: &str = "x-forwarded-for";
const FORWARDED_HOST: &str = "x-forwarded-host";

/// The client's address: the last one on the way that is not a trusted proxy's. What stands before an address that cannot be read
/// was written by an unknown sender and does not count.
pub(super) fn client_address(peer: IpAddr, headers: &HeaderMap, trusted: &Networks) -> IpAddr {
    let mut address = peer.to_canonical();
    for hop in hops(headers).iter().rev() {
        if !trusted.contains(address) {
            break;
        }
        let Some(hop) = node(hop) else { break };
        address = hop;
    }
    address
}

/// The hosts that trusted proxies say the client asked for.
pub(super) fn hosts(headers: &HeaderMap) -> Vec<String> {
    let listed = values(headers, FORWARDED_HOST).flat_map(|value| value.split(','));
    let listed = listed.map(|host| host.trim().to_owned());
    listed.chain(parameters(headers, "host")).filter(|host| !host.is_empty()).collect()
}

/// The addresses of `X-Forwarded-For`, or of `Forwarded` (RFC 7239 §5.2) when there is none, in the order of the way. A proxy that
/// writes the one passes on what a client wrote into the other; the older header is the one that proxies write by default.
fn hops(headers: &HeaderMap) -> Vec<String> {
    if headers.contains_key(FORWARDED_FOR) {
        let hops = values(headers, FORWARDED_FOR).flat_map(|value| value.split(','));
        return hops.map(|hop| hop.trim().to_owned()).collect();
    }
    parameters(headers, "for")
}

fn values<'a>(headers: &'a HeaderMap, name: &'static str) -> impl Iterator<Item = &'a str> {
    // A value that is no text stands for an address that cannot be read.
    headers.get_all(name).iter().map(|value| value.to_str().unwrap_or("?"))
}

/// The values of one parameter of `Forwarded`, one for each element that has it.
fn parameters(headers: &HeaderMap, name: &str) -> Vec<String> {
    let elements = values(headers, FORWARDED).flat_map(|value| split(value, ','));
    let of = |element: &str| {
        let pairs = split(element, ';').into_iter();
        let mut pairs = pairs.filter_map(|pair| pair.trim().split_once('='));
        let (_, value) = pairs.find(|(key, _)| key.trim().eq_ignore_ascii_case(name))?;
        Some(value.trim().trim_matches('"').to_owned())
    };
    elements.filter_map(of).collect()
}

/// The parts of a text between separators that stand outside quotes.
fn split(text: &str, separator: char) -> Vec<&str> {
    let mut quoted = false;
    let outside = move |character: char| {
        quoted ^= character == '"';
        character == separator && !quoted
    };
    text.split(outside).collect()
}

/// An address, with or without a port (RFC 7239 §6); `None` for `unknown` and for names that hide an address.
fn node(text: &str) -> Option<IpAddr> {
    let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
    let address = bare.parse::<IpAddr>().ok();
    let address = address.or_else(|| text.parse().ok().map(|socket: SocketAddr| socket.ip()));
    address.map(|address| address.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(*name, value.parse().unwrap());
        }
        headers
    }

    fn address(peer: &str, pairs: &[(&'static str, &str)]) -> String {
        let trusted = ["10.0.0.0/8", "2001:db8:1::/48"].into_iter().collect();
        client_address(peer.parse().unwrap(), &headers(pairs), &trusted).to_string()
    }

    #[test]
    fn a_forwarded_address_counts_only_from_a_trusted_proxy() {
        let forged = [("x-forwarded-for", "203.0.113.7")];
        assert_eq!(address("192.0.2.1", &forged), "192.0.2.1");
        assert_eq!(address("10.0.0.2", &forged), "203.0.113.7");
        assert_eq!(address("::ffff:10.0.0.2", &forged), "203.0.113.7");
        assert_eq!(address("10.0.0.2", &[]), "10.0.0.2");
    }

    #[test]
    fn behind_several_proxies_it_is_the_last_address_that_is_no_proxys() {
        for (peer, forwarded, client) in [
            ("10.0.0.2", "198.51.100.9, 203.0.113.7, 10.9.9.9", "203.0.113.7"),
            ("10.0.0.2", "10.1.1.1, 203.0.113.7", "203.0.113.7"),
            ("10.0.0.2", "10.1.1.1, 10.2.2.2", "10.1.1.1"),
            ("2001:db8:1::2", "2001:db8:2::7, 2001:db8:1::9", "2001:db8:2::7"),
            ("10.0.0.2", "203.0.113.7:4711", "203.0.113.7"),
            ("10.0.0.2", "[2001:db8:2::7]:4711", "2001:db8:2::7"),
        ] {
            assert_eq!(address(peer, &[("x-forwarded-for", forwarded)]), client, "{forwarded}");
        }
        let twice = [("x-forwarded-for", "203.0.113.7"), ("x-forwarded-for", "10.2.2.2")];
        assert_eq!(address("10.0.0.2", &twice), "203.0.113.7", "the headers are one list");
    }

    #[test]
    fn what_stands_before_something_unreadable_does_not_count() {
        for odd in ["unknown", "_hidden", "", "203.0.113", "300.1.1.1"] {
            let forwarded = format!("203.0.113.7, {odd}, 10.2.2.2");
            assert_eq!(address("10.0.0.2", &[("x-forwarded-for", &forwarded)]), "10.2.2.2");
        }
    }

    #[test]
    fn the_standard_header_counts_where_there_is_no_other() {
        let standard =
            "for=\"[2001:db8:2::7]:4711\";host=\"chat.example:8443\";proto=https, For=10.2.2.2";
        assert_eq!(address("10.0.0.2", &[("forwarded", standard)]), "2001:db8:2::7");
        let both = [("forwarded", "for=198.51.100.9"), ("x-forwarded-for", "203.0.113.7")];
        assert_eq!(address("10.0.0.2", &both), "203.0.113.7");
        assert_eq!(hosts(&headers(&[("forwarded", standard)])), ["chat.example:8443"]);
        let tricky = headers(&[("forwarded", "for=\"a,b;host=evil\";host=chat.example")]);
        assert_eq!(hosts(&tricky), ["chat.example"]);
        let named = headers(&[("x-forwarded-host", "chat.example, inner.example")]);
        assert_eq!(hosts(&named), ["chat.example", "inner.example"]);
    }
}
