//! RFC 8656 and RFC 8489, as clients use them.

use std::net::SocketAddr;

use proptest::prelude::*;
use stun_types::AddressFamily;
use stun_types::attribute::{
    AttributeStaticType as _, AttributeWrite, PasswordAlgorithm, PasswordAlgorithmValue,
    PasswordAlgorithms, RawAttribute, Realm, Username, XorMappedAddress,
};
use stun_types::message::{
    BINDING, IntegrityAlgorithm, LongTermKeyCredentials, Message, MessageClass, MessageType,
    MessageWrite as _, MessageWriteExt as _, MessageWriteVec,
};
use switchboard_turn::{Client, Framing, Onward, Quotas, Transport, Unopened, channel, framer};
use turn_types::attribute::{
    AdditionalAddressFamily, AddressErrorCode, DontFragment, Lifetime, RequestedAddressFamily,
    RequestedTransport,
};
use turn_types::message::{ALLOCATE, REFRESH};

use crate::support::{
    Bench, OURS, OURS_V6, PEER, PEER_V6, Setup, as_channel, at, client, key, signed_by,
};

const UDP: u8 = 17;

#[test]
fn a_binding_tells_a_client_its_address() {
    let mut bench = Bench::default();
    for from in ["9.1.1.1:1000", "[2620::7]:1000"] {
        let request = bench.build((MessageClass::Request, BINDING), &[], None);
        let (_, answers) = bench.raw(client(from), &request);
        let message = answers[0].message();
        let mapped = message.attribute::<XorMappedAddress>().unwrap();
        assert_eq!(mapped.addr(message.transaction_id()), at(from));
    }
}

#[test]
fn packets_go_out_and_come_back_as_indications_and_over_a_channel() {
    let ann = client("9.1.1.1:1000");
    let mut bench = Bench::default();
    let answer = bench.allocate(ann, "ann");
    let relayed = answer.relayed()[0];
    assert_eq!((answer.lifetime(), relayed.ip().to_string().as_str()), (600, OURS));
    assert_eq!(bench.open.values().copied().collect::<Vec<_>>(), [relayed], "it is open at once");
    assert_eq!(bench.permit(ann, "ann", &[PEER]).code(), 0);

    let sent = bench.send(ann, PEER, b"hello").unwrap();
    assert!(
        matches!(&sent, Onward::Outside { socket, peer, payload, whole: false }
        if *socket == key(0) && *peer == at(PEER) && payload.len() == 5),
        "{sent:?}"
    );
    let received = bench.peer_sends(relayed, PEER).unwrap();
    assert!(matches!(received.framing, Framing::Data { peer, .. } if peer == at(PEER)));
    assert_eq!(received.client, ann);

    assert_eq!(bench.bind(ann, "ann", 0x4321, PEER).code(), 0);
    let sent = bench.channel_data(ann, 0x4321, b"hello").unwrap();
    assert!(matches!(sent, Onward::Outside { payload, .. } if payload == (4..9)));
    assert_eq!(bench.peer_sends(relayed, PEER).unwrap().framing, as_channel(0x4321));
    let views = bench.relay.allocations(bench.now);
    assert_eq!(
        (views[0].to_peers.packets, views[0].to_peers.bytes, views[0].to_client.packets),
        (2, 10, 2)
    );
}

#[test]
fn both_families_in_one_allocation_and_one_at_a_time() {
    let ann = client("9.1.1.1:1000");
    let mut bench = Bench::default();
    let both = AdditionalAddressFamily::new(AddressFamily::IPV6);
    let transport = RequestedTransport::new(UDP);
    let answer = bench.ask(ann, &signed_by("ann"), ALLOCATE, &[&transport, &both]);
    let families: Vec<String> =
        answer.relayed().iter().map(|relayed| relayed.ip().to_string()).collect();
    assert_eq!(families, [OURS, OURS_V6]);
    assert_eq!(bench.permit(ann, "ann", &[PEER, PEER_V6]).code(), 0);
    assert_eq!(bench.open.len(), 2);
    let v6 = RequestedAddressFamily::new(AddressFamily::IPV6);
    assert_eq!(bench.ask(ann, &signed_by("ann"), REFRESH, &[&Lifetime::new(0), &v6]).lifetime(), 0);
    assert_eq!(bench.open.len(), 1, "one family is given back");
    assert_eq!(bench.ask(ann, &signed_by("ann"), REFRESH, &[&Lifetime::new(600), &v6]).code(), 443);
    assert_eq!(bench.permit(ann, "ann", &[PEER_V6]).code(), 443);
    assert_eq!(bench.permit(ann, "ann", &[PEER]).code(), 0);

    let ben = client("9.1.1.2:1000");
    let answer = bench.ask(ben, &signed_by("ben"), ALLOCATE, &[&transport, &v6]);
    assert_eq!(answer.relayed()[0].ip().to_string(), OURS_V6);
    assert_eq!(bench.permit(ben, "ben", &[PEER]).code(), 443);
    let v4_more = RawAttribute::new(AdditionalAddressFamily::TYPE, &[1, 0, 0, 0]);
    let cem = client("9.1.1.3:1000");
    assert_eq!(bench.ask(cem, &signed_by("cem"), ALLOCATE, &[&transport, &v4_more]).code(), 400);
    assert_eq!(bench.ask(cem, &signed_by("cem"), ALLOCATE, &[&transport, &v6, &both]).code(), 400);
}

#[test]
fn a_family_that_cannot_be_had_is_named_beside_the_one_that_can() {
    let mut bench = Bench::new(Setup { ports: 50_000..=50_000, ..Setup::default() });
    let transport = RequestedTransport::new(UDP);
    let v6 = RequestedAddressFamily::new(AddressFamily::IPV6);
    assert_eq!(
        bench.ask(client("9.1.1.1:1"), &signed_by("ann"), ALLOCATE, &[&transport, &v6]).code(),
        0
    );
    let both = AdditionalAddressFamily::new(AddressFamily::IPV6);
    let answer = bench.ask(client("9.1.1.2:1"), &signed_by("ann"), ALLOCATE, &[&transport, &both]);
    assert_eq!((answer.code(), answer.relayed().len()), (0, 1));
    let missing = answer.message().attribute::<AddressErrorCode>().unwrap();
    assert_eq!((missing.family(), missing.error().code()), (AddressFamily::IPV6, 508));
    let answer = bench.ask(client("9.1.1.3:1"), &signed_by("ann"), ALLOCATE, &[&transport, &both]);
    assert_eq!(answer.code(), 508, "neither can be had");
}

#[test]
fn a_family_that_is_not_known_is_440_and_one_that_cannot_be_read_is_400() {
    let mut bench = Bench::default();
    let transport = RequestedTransport::new(UDP);
    let drafted = stun_types::attribute::AttributeType::new(0x8032);
    let mut port = 1;
    for kind in [RequestedAddressFamily::TYPE, AdditionalAddressFamily::TYPE, drafted] {
        for (value, code) in [
            (&[0, 0, 0, 0][..], 440),
            (&[3, 0, 0, 0], 440),
            (&[255, 1, 2, 3], 440),
            (&[2, 0, 0, 0], 0),
            (&[2, 0, 0], 400),
            (&[2, 0, 0, 0, 0, 0, 0, 0], 400),
            (&[], 400),
        ] {
            port += 1;
            let ann = client(&format!("9.1.1.1:{port}"));
            let family = RawAttribute::new(kind, value);
            let answer = bench.ask(ann, &signed_by("ann"), ALLOCATE, &[&transport, &family]);
            assert_eq!(answer.code(), code, "{kind:?} {value:?}");
        }
    }
    assert_eq!(bench.ledger.allocations(), 3);
}

#[test]
fn other_transports_are_442_and_none_is_400() {
    let ann = client("9.1.1.1:1000");
    let mut bench = Bench::default();
    assert_eq!(
        bench.ask(ann, &signed_by("ann"), ALLOCATE, &[&RequestedTransport::new(6)]).code(),
        442
    );
    assert_eq!(bench.ask(ann, &signed_by("ann"), ALLOCATE, &[]).code(), 400);
}

#[test]
fn a_packet_that_must_stay_whole_is_marked() {
    let ann = client("9.1.1.1:1000");
    let mut bench = Bench::default();
    let attributes: &[&dyn AttributeWrite] = &[&RequestedTransport::new(UDP), &DontFragment::new()];
    assert_eq!(bench.ask(ann, &signed_by("ann"), ALLOCATE, attributes).code(), 0);
    bench.permit(ann, "ann", &[PEER]);
    let transaction = bench.transaction();
    let peer = turn_types::attribute::XorPeerAddress::new(at(PEER), transaction);
    let data = turn_types::attribute::Data::new(b"x");
    let attributes: &[&dyn AttributeWrite] = &[&peer, &DontFragment::new(), &data];
    let kind = (MessageClass::Indication, turn_types::message::SEND);
    let bytes = crate::support::build(transaction, kind, attributes, None);
    assert!(matches!(bench.raw(ann, &bytes).0, Some(Onward::Outside { whole: true, .. })));
}

#[test]
fn a_password_may_be_hashed_with_sha_256() {
    let ann = client("9.1.1.1:1000");
    let mut bench = Bench::default();
    let nonce = bench.nonce(ann);
    let signature = signed_by("ann");
    let offered =
        PasswordAlgorithms::new(&[PasswordAlgorithmValue::SHA256, PasswordAlgorithmValue::MD5]);
    let ask = |bench: &mut Bench, offered: Option<&PasswordAlgorithms>, password: &str| {
        let transaction = bench.transaction();
        let kind = MessageType::from_class_method(MessageClass::Request, ALLOCATE);
        let mut message = Message::builder(kind, transaction, MessageWriteVec::new());
        message.add_attribute(&RequestedTransport::new(UDP)).unwrap();
        message.add_attribute(&Username::new(&signature.username).unwrap()).unwrap();
        message.add_attribute(&Realm::new("turn").unwrap()).unwrap();
        message.add_attribute(&stun_types::attribute::Nonce::new(&nonce).unwrap()).unwrap();
        message.add_attribute(&PasswordAlgorithm::new(PasswordAlgorithmValue::SHA256)).unwrap();
        if let Some(offered) = offered {
            message.add_attribute(offered).unwrap();
        }
        let name = signature.username.clone();
        let credentials = LongTermKeyCredentials::new(name, password.into(), "turn".into());
        let sha256 = IntegrityAlgorithm::Sha256;
        message.add_message_integrity_with_key(&credentials.make_key(sha256), sha256).unwrap();
        bench.raw(ann, &message.finish()).1.remove(0)
    };
    assert_eq!(
        ask(&mut bench, None, &signature.password).code(),
        400,
        "a stripped list is a bid down"
    );
    let stripped = PasswordAlgorithms::new(&[PasswordAlgorithmValue::MD5]);
    assert_eq!(ask(&mut bench, Some(&stripped), &signature.password).code(), 400);
    assert_eq!(ask(&mut bench, Some(&offered), "guess").code(), 401);
    let answer = ask(&mut bench, Some(&offered), &signature.password);
    assert_eq!(answer.code(), 0);
    assert!(answer.has::<stun_types::attribute::MessageIntegritySha256>());
}

#[test]
fn what_cannot_be_opened_is_508_at_once_and_holds_nothing() {
    let ann = client("9.1.1.1:1000");
    for why in [Unopened::Descriptors, Unopened::Refused, Unopened::Taken] {
        let mut bench = Bench::new(Setup { ports: 50_000..=50_009, ..Setup::default() });
        bench.no_sockets = Some(why);
        assert_eq!(bench.allocate(ann, "ann").code(), 508);
        assert_eq!(bench.tried, if why == Unopened::Taken { 10 } else { 1 }, "{why:?}");
        assert_eq!(bench.send(ann, PEER, b"x"), None);
        assert_eq!(bench.permit(ann, "ann", &[PEER]).code(), 437);
        assert_eq!((bench.ledger.allocations(), bench.open.len()), (0, 0));
        let counters: std::collections::HashMap<_, _> = bench.relay.counters().read().collect();
        let descriptors = u64::from(why == Unopened::Descriptors);
        assert_eq!(counters["refused_descriptors"], descriptors);
        assert_eq!(counters["refused_ports"], 1 - descriptors);
        assert_eq!((counters["allocations_opened"], counters["allocations_closed"]), (0, 0));
        bench.no_sockets = None;
        for n in 0..10 {
            assert_eq!(bench.allocate(client(&format!("9.1.1.{n}:1")), "ann").code(), 0, "{n}");
        }
        assert!(bench.send(ann, PEER, b"x").is_none());
    }
}

#[test]
fn ports_that_another_program_has_are_passed_over_while_one_is_left() {
    let mut bench = Bench::new(Setup {
        quotas: Quotas { per_user: 1000, total: 1000 },
        ports: 50_000..=50_099,
        ..Setup::default()
    });
    bench.others = (50_000..=50_099).filter(|port| port % 10 != 7).collect();
    let from = |n: u16| client(&format!("9.1.1.1:{n}"));
    for n in 1..=10 {
        let answer = bench.allocate(from(n), "ann");
        assert_eq!(answer.code(), 0, "{n}");
        assert_eq!(answer.relayed()[0].port() % 10, 7);
        assert_eq!(bench.bind(from(n), "ann", 0x4000, PEER).code(), 0);
    }
    assert_eq!(bench.allocate(from(11), "ann").code(), 508, "none is left");
    bench.others.remove(&50_000);
    assert_eq!(bench.allocate(from(11), "ann").relayed()[0].port(), 50_000, "it is free again");
    assert_eq!(bench.refresh(from(1), "ann", 0).code(), 0);
    assert_eq!(bench.allocate(from(12), "ann").code(), 0, "and so is one that was given back");
    assert!(bench.tried < 12 * 100, "each port is tried once an allocation: {}", bench.tried);
}

#[test]
fn a_family_that_is_missing_is_named_although_the_other_one_took_several_tries() {
    let mut bench = Bench::new(Setup { ports: 50_000..=50_009, ..Setup::default() });
    let transport = RequestedTransport::new(UDP);
    let v6 = RequestedAddressFamily::new(AddressFamily::IPV6);
    for n in 0..10 {
        let from = client(&format!("9.1.1.{n}:1"));
        assert_eq!(bench.ask(from, &signed_by("ann"), ALLOCATE, &[&transport, &v6]).code(), 0);
    }
    bench.others = (50_000..=50_008).collect();
    let both = AdditionalAddressFamily::new(AddressFamily::IPV6);
    let answer = bench.ask(client("9.1.2.1:1"), &signed_by("ben"), ALLOCATE, &[&transport, &both]);
    assert_eq!((answer.code(), answer.relayed()[0].port()), (0, 50_009));
    let missing = answer.message().attribute::<AddressErrorCode>().unwrap();
    assert_eq!((missing.family(), missing.error().code()), (AddressFamily::IPV6, 508));
}

#[test]
fn both_ports_of_a_pair_are_opened_and_the_reserved_one_is_kept_for_its_allocation() {
    use turn_types::attribute::{EvenPort, ReservationToken};
    let (ann, ben) = (client("9.1.1.1:1000"), client("9.1.1.2:1000"));
    let mut bench = Bench::new(Setup { ports: 50_000..=50_019, ..Setup::default() });
    // Of every pair but one, one port or the other is another program's.
    bench.others = (0..9).map(|n| 50_000 + 2 * n + n % 2).collect();
    let transport = RequestedTransport::new(UDP);
    let even: &[&dyn AttributeWrite] = &[&transport, &EvenPort::new(true)];
    let answer = bench.ask(ann, &signed_by("ann"), ALLOCATE, even);
    assert_eq!((answer.code(), answer.relayed()[0].port()), (0, 50_018));
    assert!(bench.reserved.iter().map(SocketAddr::port).eq([50_019]));
    assert_eq!(bench.ask(ben, &signed_by("ben"), ALLOCATE, even).code(), 508, "no other pair");
    let token = answer.message().attribute::<ReservationToken>().unwrap().token();
    let reserved: &[&dyn AttributeWrite] = &[&transport, &ReservationToken::new(token)];
    let answer = bench.ask(ben, &signed_by("ann"), ALLOCATE, reserved);
    assert_eq!((answer.code(), answer.relayed()[0].port()), (0, 50_019));
    assert!(!answer.has::<AddressErrorCode>());
    assert!(bench.reserved.is_empty(), "its socket is the allocation's now");
    assert_eq!(bench.refresh(ann, "ann", 0).code(), 0);
    assert_eq!(bench.bind(ben, "ann", 0x4000, PEER).code(), 0, "it outlives the one that made it");
}

#[test]
fn a_reservation_ends_with_its_time_or_with_the_allocation_that_made_it() {
    use turn_types::attribute::{EvenPort, ReservationToken};
    let ann = client("9.1.1.1:1000");
    let mut bench = Bench::new(Setup { ports: 50_000..=50_999, ..Setup::default() });
    let transport = RequestedTransport::new(UDP);
    let even: &[&dyn AttributeWrite] = &[&transport, &EvenPort::new(true)];
    let mut token = 0;
    for _ in 0..8190 {
        let answer = bench.ask(ann, &signed_by("ann"), ALLOCATE, even);
        assert_eq!(answer.code(), 0);
        token = answer.message().attribute::<ReservationToken>().unwrap().token();
        assert_eq!(bench.reserved.len(), 1);
        assert_eq!(bench.refresh(ann, "ann", 0).code(), 0);
        assert!(bench.reserved.is_empty() && bench.open.is_empty());
    }
    let reserved: &[&dyn AttributeWrite] = &[&transport, &ReservationToken::new(token)];
    assert_eq!(bench.ask(ann, &signed_by("ann"), ALLOCATE, reserved).code(), 508, "it has ended");
    assert_eq!(bench.ask(ann, &signed_by("ann"), ALLOCATE, even).code(), 0);
    bench.wait(std::time::Duration::from_secs(31));
    assert!(bench.reserved.is_empty(), "it was not taken up");
    assert_eq!(bench.open.len(), 1);
    assert_eq!(bench.refresh(ann, "ann", 0).code(), 0);
}

#[test]
fn two_clients_of_the_relay_reach_each_other_inside_with_permissions_on_both_sides() {
    let (ann, ben) = (client("9.1.1.1:1000"), client("9.1.1.2:1000"));
    let mut bench = Bench::default();
    let a = bench.allocate(ann, "ann").relayed()[0];
    let b = bench.allocate(ben, "ben").relayed()[0];
    assert_eq!(bench.bind(ann, "ann", 0x4000, &b.to_string()).code(), 0);
    let onward = bench.channel_data(ann, 0x4000, b"hello").unwrap();
    assert_eq!(onward, Onward::Inside { from: a, to: b, payload: 4..9 });
    assert_eq!(bench.relay.handle_inside(a, b, 5, bench.now), None, "ben has not permitted it");
    assert_eq!(bench.permit(ben, "ben", &[&a.to_string()]).code(), 0);
    let toward = bench.relay.handle_inside(a, b, 5, bench.now).unwrap();
    assert!(
        toward.client == ben && matches!(toward.framing, Framing::Data { peer, .. } if peer == a)
    );
    assert_eq!(bench.open.len(), 2, "their own sockets, and none besides");
    assert_eq!(
        bench.relay.handle_inside(a, at(&format!("9.9.9.9:{}", b.port())), 5, bench.now),
        None,
        "the address counts too"
    );
}

#[test]
fn who_lives_inside_is_found_by_the_exact_address_and_checked_like_the_wire() {
    let ann = client("9.1.1.1:1000");
    let media = at("10.0.0.5:7000");
    let mut bench = Bench::default();
    let relayed = bench.allocate(ann, "ann").relayed()[0];
    assert_eq!(bench.permit(ann, "ann", &["10.0.0.5:7000"]).code(), 403, "no insider has it yet");
    bench.relay.set_insiders([media].into());
    assert_eq!(bench.relay.handle_inside(media, relayed, 5, bench.now), None, "not permitted");
    assert_eq!(bench.bind(ann, "ann", 0x4000, "10.0.0.5:7000").code(), 0);
    assert_eq!(bench.bind(ann, "ann", 0x4001, "10.0.0.5:7001").code(), 403, "the port counts");
    assert!(
        matches!(bench.channel_data(ann, 0x4000, b"x"), Some(Onward::Inside { to, .. }) if to == media)
    );
    assert_eq!(
        bench.relay.handle_inside(media, relayed, 5, bench.now).unwrap().framing,
        as_channel(0x4000)
    );
    assert_eq!(bench.open.len(), 1);
    bench.relay.set_insiders([].into());
    assert_eq!(bench.channel_data(ann, 0x4000, b"x"), None, "the insider is gone");
}

#[test]
fn a_closed_stream_takes_its_allocation_along() {
    let ann = Client { transport: Transport::Tcp, ..client("9.1.1.1:1000") };
    let mut bench = Bench::default();
    bench.allocate(ann, "ann");
    bench.permit(ann, "ann", &[PEER]);
    bench.relay.handle_stream_closed(&ann);
    bench.wait(std::time::Duration::ZERO);
    assert!(bench.open.is_empty());
    assert_eq!(bench.ledger.allocations(), 0);
}

#[test]
fn our_credentials_are_those_of_the_turn_crate() {
    let ours = switchboard_turn::Credentials::new(b"shared secret", []);
    let (username, password) = ours.mint(1_900_000_000, "ann", None).unwrap();
    let theirs = turn::auth::generate_auth_key(&username, switchboard_turn::REALM, &password);
    let credentials =
        LongTermKeyCredentials::new(username.clone(), password.clone(), "turn".into());
    let kind = MessageType::from_class_method(MessageClass::Request, BINDING);
    let mut message = Message::builder(kind, 1.into(), MessageWriteVec::new());
    let sha1 = IntegrityAlgorithm::Sha1;
    message.add_message_integrity_with_key(&credentials.make_key(sha1), sha1).unwrap();
    let bytes = message.finish();
    let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, &theirs);
    assert!(
        ring::hmac::verify(&key, &bytes[..20], &bytes[24..44]).is_ok(),
        "{username} {password}"
    );
}

fn addresses() -> impl Strategy<Value = SocketAddr> {
    any::<(std::net::IpAddr, u16)>().prop_map(SocketAddr::from)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn channel_data_is_read_as_it_was_written(number in 0x4000..=0x7FFF_u16, payload: Vec<u8>, more: Vec<u8>) {
        let number = channel::Number::new(number).unwrap();
        let mut bytes = channel::header(number, u16::try_from(payload.len()).unwrap()).to_vec();
        bytes.extend(&payload);
        let whole = bytes.len() + channel::padding(payload.len());
        prop_assert_eq!(framer::frame(&bytes).unwrap(), Some(whole));
        for cut in 0..bytes.len() {
            prop_assert_eq!(channel::parse(&bytes[..cut]), None);
        }
        bytes.extend(more);
        let read = channel::parse(&bytes).unwrap();
        prop_assert_eq!((read.number, read.payload), (number, payload.as_slice()));
    }

    #[test]
    fn nothing_that_is_sent_panics_or_opens_anything(datagrams: Vec<Vec<u8>>, from in addresses()) {
        let mut bench = Bench::default();
        let other = Client { remote: from, ..client("9.1.1.1:1000") };
        for datagram in datagrams {
            let (onward, _) = bench.raw(other, &datagram);
            prop_assert_eq!(onward, None);
        }
        prop_assert_eq!(bench.ledger.allocations(), 0);
    }

    #[test]
    fn a_flipped_bit_is_never_obeyed(bit in 0..1200_usize) {
        let ann = client("9.1.1.1:1000");
        let mut bench = Bench::default();
        bench.allocate(ann, "ann");
        let nonce = bench.nonce(ann);
        let mut request = bench.build((MessageClass::Request, REFRESH), &[&Lifetime::new(0)], Some((&signed_by("ann"), &nonce)));
        let bit = bit % (request.len() * 8);
        request[bit / 8] ^= 1 << (bit % 8);
        bench.raw(ann, &request);
        prop_assert_eq!(bench.relay.allocations(bench.now).len(), 1, "bit {} turned a refusal into a yes", bit);
    }

    #[test]
    fn a_nonce_serves_nobody_else(a in addresses(), b in addresses()) {
        let mut bench = Bench::default();
        let (a, b) = (Client { remote: a, ..client("9.1.1.1:1") }, Client { remote: b, ..client("9.1.1.1:1") });
        let nonce = bench.nonce(a);
        let transport = RequestedTransport::new(UDP);
        let request = bench.build((MessageClass::Request, ALLOCATE), &[&transport], Some((&signed_by("ann"), &nonce)));
        let code = bench.raw(b, &request).1[0].code();
        prop_assert_eq!(code, if a == b { 0 } else { 438 });
    }

    #[test]
    fn peers_are_judged_before_anything_passes(peer in addresses()) {
        let ann = client("9.1.1.1:1000");
        let mut bench = Bench::default();
        bench.allocate(ann, "ann");
        let code = bench.bind(ann, "ann", 0x4000, &peer.to_string()).code();
        let passes = bench.channel_data(ann, 0x4000, b"x").is_some();
        prop_assert_eq!(code == 0, passes, "{} got {}", peer, code);
        prop_assert_eq!(bench.open.len(), 1);
    }
}
