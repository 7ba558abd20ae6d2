//! Lists of networks in a configuration: `10.0.0.0/8`, `2001:db8::/32`, or one address.

use std::net::IpAddr;

use ipnet::IpNet;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// Networks in CIDR notation (RFC 4632 §3.1, RFC 4291 §2.3); an address without a prefix length stands for itself alone.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Networks(Vec<IpNet>);

impl Networks {
    /// Whether one of the networks has this address; an IPv4 address in IPv6 form counts as the IPv4 address.
    pub fn contains(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.0.iter().any(|network| network.contains(&address))
    }
}

/// The network that a text names.
fn network(text: &str) -> Result<IpNet, String> {
    let alone = text.parse::<IpAddr>().map(|address| IpNet::from(address.to_canonical()));
    alone.or_else(|_| text.parse()).map_err(|_| {
        format!("\"{text}\" is neither an address nor a network such as \"10.0.0.0/8\"")
    })
}

impl<T: AsRef<str>> FromIterator<T> for Networks {
    /// Leaves out what names no network; a configuration file is read by `Deserialize`, which refuses it.
    fn from_iter<I: IntoIterator<Item = T>>(texts: I) -> Self {
        Self(texts.into_iter().filter_map(|text| network(text.as_ref()).ok()).collect())
    }
}

impl<'de> Deserialize<'de> for Networks {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let texts = Vec::<String>::deserialize(deserializer)?;
        let networks = texts.iter().map(|text| network(text)).collect::<Result<_, _>>();
        networks.map(Self).map_err(de::Error::custom)
    }
}

impl Serialize for Networks {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.0.iter().map(ToString::to_string))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Networks, String> {
        serde_json::from_str(text).map_err(|error| error.to_string())
    }

    #[test]
    fn networks_and_lone_addresses_of_both_families_are_read() {
        let networks = read(r#"["10.0.0.0/8", "192.0.2.7", "2001:db8::/32", "::1"]"#).unwrap();
        for inside in
            ["10.255.0.1", "192.0.2.7", "2001:db8:ff::1", "::1", "::ffff:10.0.0.1"].map(str::parse)
        {
            assert!(networks.contains(inside.unwrap()));
        }
        for outside in ["11.0.0.1", "192.0.2.8", "2001:db9::1", "::2"].map(str::parse) {
            assert!(!networks.contains(outside.unwrap()));
        }
        assert_eq!(serde_json::to_value(&networks).unwrap()[1], "192.0.2.7/32");
    }

    #[test]
    fn what_is_no_network_is_named() {
        for odd in ["10.0.0.0/33", "proxy.internal", "", "10.0.0"] {
            let error = read(&format!("[{odd:?}]")).unwrap_err();
            assert!(error.contains(&format!("{odd:?}")) && error.contains("10.0.0.0/8"), "{error}");
        }
    }
}
