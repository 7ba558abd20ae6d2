//! What is tried against relays, and the safe answer to it.

use std::net::SocketAddr;
use std::time::Duration;

use stun_types::attribute::{AttributeWrite, Nonce};
use stun_types::message::{BINDING, MessageClass};
use switchboard_turn::{Client, Onward, Quotas, Reach, Transport};
use turn_types::attribute::{EvenPort, Lifetime, RequestedTransport, ReservationToken};
use turn_types::message::{ALLOCATE, CREATE_PERMISSION, REFRESH};

use crate::support::{
    Bench, OURS, PEER, Setup, Signature, as_channel, at, build, client, signed_by, signed_until,
    went_outside,
};

/// Addresses that are not what they look like, or belong to no peer.
const FORBIDDEN: &[&str] = &[
    "127.0.0.1:80",
    "127.9.9.9:80",
    "0.0.0.0:80",
    "0.1.2.3:80",
    "169.254.169.254:80",
    "10.0.0.1:80",
    "172.16.0.1:80",
    "172.31.255.255:80",
    "192.168.1.1:80",
    "100.64.0.1:80",
    "100.127.255.255:80",
    "198.18.0.1:80",
    "198.19.0.1:80",
    "192.0.0.1:80",
    "192.0.2.9:80",
    "192.88.99.1:80",
    "198.51.100.1:80",
    "203.0.113.1:80",
    "240.0.0.1:80",
    "224.0.0.1:80",
    "239.255.255.250:80",
    "255.255.255.255:80",
    // What clouds answer their guests at.
    "168.63.129.16:80",
    "100.100.100.200:80",
    "192.0.0.192:80",
    "[::168.63.129.16]:80",
    "[::ffff:168.63.129.16]:80",
    "[::ffff:100.100.100.200]:80",
    "[::ffff:192.0.0.192]:80",
    "[::ffff:0:168.63.129.16]:80",
    "[64:ff9b::168.63.129.16]:80",
    "[64:ff9b::169.254.169.254]:80",
    "[64:ff9b::100.100.100.200]:80",
    "[64:ff9b::192.0.0.192]:80",
    "[64:ff9b:1::168.63.129.16]:80",
    "[2002:a83f:8110::1]:80",
    "[2002:a9fe:a9fe::1]:80",
    "[2002:6464:64c8::1]:80",
    "[2002:c000:c0::1]:80",
    "[2001:0:a83f:8110::1]:80",
    "[2620:0:1::5efe:168.63.129.16]:80",
    "[2620:0:1::200:5efe:169.254.169.254]:80",
    "[::]:80",
    "[::1]:80",
    "[::ffff:127.0.0.1]:80",
    "[::ffff:0.0.0.0]:80",
    "[::ffff:169.254.169.254]:80",
    "[::ffff:9.9.9.9]:80",
    "[::127.0.0.1]:80",
    "[::9.9.9.9]:80",
    "[64:ff9b::7f00:1]:80",
    "[64:ff9b::909:909]:80",
    "[64:ff9b:1::1]:80",
    "[2002:7f00:1::]:80",
    "[2002:909:909::1]:80",
    "[2001::1]:80",
    "[2001:0:4136:e378::1]:80",
    "[fe80::1]:80",
    "[fc00::1]:80",
    "[fd00:ec2::254]:80",
    "[fec0::1]:80",
    "[ff02::1]:80",
    "[2001:db8::7]:80",
    "[100::1]:80",
    "[3fff::1]:80",
    "[::ffff:0:127.0.0.1]:80",
    "[4000::1]:80",
];

fn dual(bench: &mut Bench, ann: Client) {
    use stun_types::AddressFamily;
    use turn_types::attribute::AdditionalAddressFamily;
    let both = AdditionalAddressFamily::new(AddressFamily::IPV6);
    let answer =
        bench.ask(ann, &signed_by("ann"), ALLOCATE, &[&RequestedTransport::new(17), &both]);
    assert_eq!((answer.code(), answer.relayed().len()), (0, 2));
}

#[test]
fn special_addresses_are_refused_by_every_method() {
    let ann = client("9.1.1.1:1000");
    let mut bench = Bench::default();
    dual(&mut bench, ann);
    for peer in FORBIDDEN {
        assert_eq!(bench.permit(ann, "ann", &[peer]).code(), 403, "CreatePermission {peer}");
        assert_eq!(bench.bind(ann, "ann", 0x4000, peer).code(), 403, "ChannelBind {peer}");
        assert_eq!(bench.send(ann, peer, b"x"), None, "Send {peer}");
    }
    assert_eq!(bench.open.len(), 2, "the allocation's own");
    assert_eq!(
        bench.permit(ann, "ann", &[PEER, "[2620:fe::9]:1"]).code(),
        0,
        "public ones are not"
    );
}

#[test]
fn the_machines_own_addresses_are_refused_whatever_the_operator_allows() {
    let ann = client("9.1.1.1:1000");
    let mut bench = Bench::new(Setup { allow: vec!["10.0.0.0/8"], ..Setup::default() });
    bench.allocate(ann, "ann");
    assert_eq!(bench.bind(ann, "ann", 0x4000, "10.0.0.5:3478").code(), 403, "the own listener");
    assert_eq!(bench.bind(ann, "ann", 0x4000, "10.0.0.6:5432").code(), 0, "an allowed range");
    let mut bench = Bench::default();
    bench.allocate(ann, "ann");
    for peer in ["10.0.0.5:27017", "10.0.0.5:6379", "10.0.0.5:9464"] {
        assert_eq!(bench.permit(ann, "ann", &[peer]).code(), 403, "the own database {peer}");
    }
    // Relayed addresses are reached inside; every other port of that address is not.
    assert_eq!(bench.permit(ann, "ann", &[&format!("{OURS}:1")]).code(), 0);
    // A port of the range that is no relayed address now; which one the allocation has is left to chance.
    let free = (50_500..51_000).find(|port| bench.open.values().all(|open| open.port() != *port));
    for port in [22, 3478, 27017, free.unwrap()] {
        assert_eq!(bench.bind(ann, "ann", 0x4001, &format!("{OURS}:{port}")).code(), 403, "{port}");
        assert_eq!(bench.send(ann, &format!("{OURS}:{port}"), b"x"), None, "{port}");
    }
}

#[test]
fn ranges_are_compared_as_numbers() {
    let ann = client("9.1.1.1:1000");
    let mut bench =
        Bench::new(Setup { allow: vec!["10.1.2.64/26", "fd00:1:2:30::/60"], ..Setup::default() });
    dual(&mut bench, ann);
    for (peer, code) in [
        ("10.1.2.64:1", 0),
        ("10.1.2.127:1", 0),
        ("10.1.2.128:1", 403),
        ("10.1.2.63:1", 403),
        ("[fd00:1:2:30::1]:1", 0),
        ("[fd00:1:2:3f:ffff::1]:1", 0),
        ("[fd00:1:2:40::1]:1", 403),
        ("[fd00:1:2:2f::1]:1", 403),
    ] {
        assert_eq!(bench.permit(ann, "ann", &[peer]).code(), code, "{peer}");
    }
}

#[test]
fn one_bad_peer_spoils_the_whole_permission() {
    let ann = client("9.1.1.1:1000");
    let mut bench = Bench::default();
    bench.allocate(ann, "ann");
    assert_eq!(bench.permit(ann, "ann", &[PEER, "127.0.0.1:1"]).code(), 403);
    assert_eq!(bench.send(ann, PEER, b"x"), None, "the good one was not installed");
    assert_eq!(bench.permit(ann, "ann", &[PEER, "8.8.8.8:1"]).code(), 0);
    assert!(went_outside(bench.send(ann, PEER, b"x").as_ref(), PEER));
    assert!(went_outside(bench.send(ann, "8.8.8.8:53", b"x").as_ref(), "8.8.8.8:53"), "both are");
}

#[test]
fn a_relay_for_the_media_alone_reaches_nobody_else() {
    let ann = client("9.1.1.1:1000");
    let media = at("10.0.0.5:7000");
    let mut bench =
        Bench::new(Setup { reach: Reach::Inside, allow: vec!["8.8.8.0/24"], ..Setup::default() });
    bench.relay.set_insiders([media].into());
    bench.allocate(ann, "ann");
    let other = client("9.1.1.2:1000");
    let relayed = bench.allocate(other, "ben").relayed()[0].to_string();
    for peer in [PEER, "8.8.8.8:53", "10.0.0.5:7001", relayed.as_str()] {
        assert_eq!(bench.bind(ann, "ann", 0x4000, peer).code(), 403, "{peer}");
    }
    assert_eq!(bench.permit(ann, "ann", &[PEER]).code(), 403);
    assert_eq!(bench.bind(ann, "ann", 0x4000, "10.0.0.5:7000").code(), 0);
    assert!(
        matches!(bench.channel_data(ann, 0x4000, b"x"), Some(Onward::Inside { to, .. }) if to == media)
    );
    assert!(bench.open.is_empty(), "no relay port is ever bound");
}

#[test]
fn media_that_listens_everywhere_is_reached_at_its_real_addresses_alone() {
    let ann = client("9.1.1.1:1000");
    let listening = [at("0.0.0.0:7000"), at("[::]:7000")];
    for reach in [Reach::Open, Reach::Inside] {
        let mut bench = Bench::new(Setup { reach, ..Setup::default() });
        let real = [at("10.0.0.5:7000"), at("203.0.113.9:7000"), at("[2001:db8::5]:7000")];
        let loopback = [at("127.0.0.1:7000"), at("[::1]:7000")];
        bench.relay.set_insiders(listening.into_iter().chain(real).chain(loopback).collect());
        dual(&mut bench, ann);
        for peer in ["0.0.0.0:7000", "[::]:7000", "127.0.0.1:7000", "127.0.0.2:7000", "[::1]:7000"]
        {
            assert_eq!(bench.permit(ann, "ann", &[peer]).code(), 403, "CreatePermission {peer}");
            assert_eq!(bench.bind(ann, "ann", 0x4000, peer).code(), 403, "ChannelBind {peer}");
            assert_eq!(bench.permit(ann, "ann", &["10.0.0.5:7000", peer]).code(), 403, "{peer}");
            assert_eq!(bench.send(ann, peer, b"x"), None, "Send {peer}");
        }
        for (number, peer) in (0x4000..).zip(real) {
            let peer = peer.to_string();
            assert_eq!(bench.permit(ann, "ann", &[&peer]).code(), 0, "CreatePermission {peer}");
            assert_eq!(bench.bind(ann, "ann", number, &peer).code(), 0, "ChannelBind {peer}");
            let onward = bench.channel_data(ann, number, b"x");
            assert!(matches!(onward, Some(Onward::Inside { to, .. }) if to == at(&peer)));
        }
        // A machine of one's own, for trying it out: it has no other address.
        bench.relay.set_insiders(listening.into_iter().chain([loopback[0]]).collect());
        let ben = client("9.1.1.2:1000");
        bench.allocate(ben, "ben");
        assert_eq!(bench.bind(ben, "ben", 0x4000, "127.0.0.1:7000").code(), 0);
        assert_eq!(bench.bind(ben, "ben", 0x4001, "0.0.0.0:7000").code(), 403);
    }
}

#[test]
fn port_zero_is_nobodys() {
    let ann = client("9.1.1.1:1000");
    let mut bench = Bench::default();
    bench.allocate(ann, "ann");
    assert_eq!(bench.bind(ann, "ann", 0x4000, "9.9.9.9:0").code(), 400);
    bench.permit(ann, "ann", &[PEER]);
    assert_eq!(bench.send(ann, "9.9.9.9:0", b"x"), None);
}

#[test]
fn nothing_passes_without_a_permission() {
    let ann = client("9.1.1.1:1000");
    let mut bench = Bench::default();
    let relayed = bench.allocate(ann, "ann").relayed()[0];
    assert_eq!(bench.send(ann, PEER, b"x"), None);
    assert_eq!(bench.channel_data(ann, 0x4000, b"x"), None);
    bench.permit(ann, "ann", &[PEER]);
    assert!(bench.peer_sends(relayed, "9.9.9.9:7").is_some(), "the port does not matter");
    assert_eq!(bench.peer_sends(relayed, "9.9.9.8:5000"), None, "the address does");
}

#[test]
fn unsigned_requests_from_everywhere_leave_no_state() {
    let mut bench = Bench::new(Setup { unauthenticated: 10, ..Setup::default() });
    let mut nonces = std::collections::HashSet::new();
    for n in 0..20_000_u32 {
        let from =
            client(&format!("{}:{}", std::net::Ipv4Addr::from_bits(0x0900_0000 + n), 1000 + n % 7));
        let request = bench.build((MessageClass::Request, ALLOCATE), &[], None);
        let (_, answers) = bench.raw(from, &request);
        for answer in answers {
            assert_eq!(answer.code(), 401);
            nonces.insert(answer.message().attribute::<Nonce>().unwrap().nonce().to_owned());
        }
    }
    assert!(nonces.len() > 19_000, "each source gets a nonce of its own: {}", nonces.len());
    assert_eq!(bench.relay.allocations(bench.now).len(), 0);
}

#[test]
fn an_unauthenticated_answer_is_hardly_larger_than_what_asked_for_it() {
    let mut bench = Bench::default();
    for from in ["9.1.1.1:1000", "[2620::1]:1000"] {
        let request = bench.build((MessageClass::Request, ALLOCATE), &[], None);
        let (_, answers) = bench.raw(client(from), &request);
        assert!(answers[0].0.len() <= 76, "{} bytes", answers[0].0.len());
        let request = bench.build((MessageClass::Request, BINDING), &[], None);
        let (_, answers) = bench.raw(client(from), &request);
        assert!(answers[0].0.len() <= 44, "{} bytes", answers[0].0.len());
    }
}

#[test]
fn a_source_gets_only_so_many_unauthenticated_answers() {
    let mut bench = Bench::new(Setup { unauthenticated: 10, ..Setup::default() });
    let answered = |bench: &mut Bench, from: Client| {
        (0..1000)
            .filter(|_| {
                let request = bench.build((MessageClass::Request, ALLOCATE), &[], None);
                !bench.raw(from, &request).1.is_empty()
            })
            .count()
    };
    let first = answered(&mut bench, client("9.1.1.1:1000"));
    assert!((10..=20).contains(&first), "{first}");
    assert_eq!(answered(&mut bench, client("9.1.1.1:2000")), 0, "other ports are the same source");
    assert!(answered(&mut bench, client("9.1.1.2:1000")) >= 10, "others are not held back");
    bench.wait(Duration::from_secs(1));
    let again = answered(&mut bench, client("9.1.1.1:1000"));
    assert!((9..=11).contains(&again), "{again}");
    let stream = Client { transport: Transport::Tcp, ..client("9.1.1.1:1000") };
    assert_eq!(answered(&mut bench, stream), 1000, "a stream has proved where it comes from");
}

#[test]
fn nonces_cannot_be_forged_lent_or_kept() {
    let (ann, ben) = (client("9.1.1.1:1000"), client("9.1.1.1:1001"));
    let mut bench = Bench::default();
    let good = bench.nonce(ann);
    let code = |bench: &mut Bench, from: Client, nonce: &str| {
        let attributes: &[&dyn AttributeWrite] = &[&RequestedTransport::new(17)];
        let request = bench.build(
            (MessageClass::Request, ALLOCATE),
            attributes,
            Some((&signed_by("ann"), nonce)),
        );
        bench.raw(from, &request).1[0].code()
    };
    for forged in [
        "",
        "x",
        "obMatJos2gAAA",
        "obMatJos2gAAAAAAAAAAAAAA",
        &good[..23],
        &format!("{good}A"),
        &good.replace("obMat", "obMot"),
    ] {
        assert_eq!(code(&mut bench, ann, forged), 438, "{forged:?}");
    }
    assert_eq!(code(&mut bench, ben, &good), 438, "it was made for another port");
    assert_eq!(code(&mut bench, ann, &good), 0);
    bench.wait(Duration::from_secs(3700));
    assert_eq!(code(&mut bench, ann, &good), 438, "it is an hour old");
}

#[test]
fn a_wrong_password_and_an_unknown_user_look_alike() {
    let ann = client("9.1.1.1:1000");
    let mut bench = Bench::default();
    let right = signed_by("ann");
    let wrong = |change: &dyn Fn(&mut Signature)| {
        let mut signature = right.clone();
        change(&mut signature);
        signature
    };
    let lengths: Vec<usize> = [
        wrong(&|s| s.password = "guess".into()),
        wrong(&|s| s.username = "nobody".into()),
        wrong(&|s| s.username = "door".into()),
        wrong(&|s| s.username = s.username.replace("ann", "ben")),
        wrong(&|s| s.username = s.username.replace("18000", "18001")),
        wrong(&|s| s.username = "é".repeat(300).chars().take(200).collect()),
        wrong(&|s| s.realm = "elsewhere".into()),
    ]
    .iter()
    .map(|signature| {
        let answer = bench.ask(ann, signature, ALLOCATE, &[&RequestedTransport::new(17)]);
        assert_eq!(answer.code(), 401, "{}", signature.username);
        answer.0.len()
    })
    .collect();
    assert!(lengths.iter().all(|length| *length == lengths[0]));
    let door =
        Signature { username: "door".into(), password: "bell-bell".into(), realm: "turn".into() };
    assert_eq!(bench.ask(ann, &door, ALLOCATE, &[&RequestedTransport::new(17)]).code(), 0);
}

#[test]
fn credentials_have_their_time() {
    let mut bench = Bench::default();
    for (number, (expires, code)) in [
        (NOON_PAST, 401),
        (crate::support::NOON, 0),
        (crate::support::NOON + 86_400, 0),
        (crate::support::NOON + 86_401 + 5, 401),
        (u64::MAX, 401),
    ]
    .into_iter()
    .enumerate()
    {
        let from = client(&format!("9.1.1.{number}:1000"));
        let answer = bench.ask(
            from,
            &signed_until(expires, "ann"),
            ALLOCATE,
            &[&RequestedTransport::new(17)],
        );
        assert_eq!(answer.code(), code, "{expires}");
    }
    let mut bench = Bench::default();
    let (ann, ben) = (client("9.1.1.1:1000"), client("9.1.1.2:1000"));
    let short = signed_until(crate::support::NOON + 60, "ann");
    assert_eq!(bench.ask(ann, &short, ALLOCATE, &[&RequestedTransport::new(17)]).code(), 0);
    bench.wait(Duration::from_secs(120));
    assert_eq!(
        bench.ask(ann, &short, REFRESH, &[&Lifetime::new(600)]).code(),
        0,
        "a call outlasts its credential"
    );
    assert_eq!(
        bench.ask(ben, &short, ALLOCATE, &[&RequestedTransport::new(17)]).code(),
        401,
        "a new one does not"
    );
}

const NOON_PAST: u64 = crate::support::NOON - 1;

#[test]
fn what_is_appended_behind_the_signature_is_not_obeyed() {
    let ann = client("9.1.1.1:1000");
    let mut bench = Bench::default();
    bench.allocate(ann, "ann");
    let nonce = bench.nonce(ann);
    let attributes: &[&dyn AttributeWrite] = &[];
    let mut request = bench.build(
        (MessageClass::Request, REFRESH),
        attributes,
        Some((&signed_by("ann"), &nonce)),
    );
    request.extend([0x00, 0x0D, 0x00, 0x04, 0, 0, 0, 0]);
    let length = u16::try_from(request.len() - 20).unwrap();
    request[2..4].copy_from_slice(&length.to_be_bytes());
    let (_, answers) = bench.raw(ann, &request);
    assert_eq!((answers[0].code(), answers[0].lifetime()), (0, 600), "LIFETIME 0 was not signed");
    assert_eq!(bench.relay.allocations(bench.now).len(), 1);
}

#[test]
fn what_must_be_understood_and_is_not_gets_420() {
    let ann = client("9.1.1.1:1000");
    let mut bench = Bench::default();
    let odd = stun_types::attribute::RawAttribute::new(
        stun_types::attribute::AttributeType::new(0x7777),
        b"what",
    );
    let answer = bench.ask(ann, &signed_by("ann"), ALLOCATE, &[&RequestedTransport::new(17), &odd]);
    assert_eq!(answer.code(), 420);
    assert!(answer.has::<stun_types::attribute::UnknownAttributes>());
    assert_eq!(bench.relay.allocations(bench.now).len(), 0);
}

#[test]
fn an_allocation_obeys_its_owner_alone() {
    let ann = client("9.1.1.1:1000");
    let mut bench = Bench::default();
    assert_eq!(bench.refresh(ann, "ann", 600).code(), 437, "there is none");
    assert_eq!(bench.permit(ann, "ann", &[PEER]).code(), 437);
    assert_eq!(bench.bind(ann, "ann", 0x4000, PEER).code(), 437);
    bench.allocate(ann, "ann");
    assert_eq!(bench.refresh(ann, "eve", 0).code(), 441);
    assert_eq!(bench.bind(ann, "eve", 0x4000, PEER).code(), 441);
    assert_eq!(bench.permit(ann, "eve", &[PEER]).code(), 441);
    let unsigned = bench.build((MessageClass::Request, REFRESH), &[&Lifetime::new(0)], None);
    assert_eq!(bench.raw(ann, &unsigned).1[0].code(), 401);
    assert_eq!(bench.allocate(ann, "ann").code(), 437, "there is one already");
    assert_eq!(bench.relay.allocations(bench.now).len(), 1);
}

#[test]
fn a_repeated_request_gets_the_same_answer() {
    let ann = client("9.1.1.1:1000");
    let mut bench = Bench::default();
    let nonce = bench.nonce(ann);
    let signature = signed_by("ann");
    let mut twice = |method, attributes: &[&dyn AttributeWrite]| {
        let request =
            bench.build((MessageClass::Request, method), attributes, Some((&signature, &nonce)));
        let first = bench.raw(ann, &request).1;
        assert_eq!(first, bench.raw(ann, &request).1);
        first[0].clone()
    };
    assert_eq!(twice(ALLOCATE, &[&RequestedTransport::new(17), &EvenPort::new(true)]).code(), 0);
    assert_eq!(twice(REFRESH, &[&Lifetime::new(900)]).lifetime(), 900);
    assert_eq!(twice(REFRESH, &[&Lifetime::new(0)]).lifetime(), 0);
}

#[test]
fn lifetimes_are_clamped() {
    let ann = client("9.1.1.1:1000");
    let mut bench = Bench::default();
    let answer = bench.ask(
        ann,
        &signed_by("ann"),
        ALLOCATE,
        &[&RequestedTransport::new(17), &Lifetime::new(u32::MAX)],
    );
    assert_eq!(answer.lifetime(), 3600);
    assert_eq!(bench.refresh(ann, "ann", u32::MAX).lifetime(), 3600);
    assert_eq!(bench.refresh(ann, "ann", 1).lifetime(), 600);
}

#[test]
fn channel_numbers_and_peers_have_one_partner() {
    let ann = client("9.1.1.1:1000");
    let mut bench = Bench::default();
    bench.allocate(ann, "ann");
    for number in [0, 0x3FFF, 0x5000, 0x7FFF, 0x8000, 0xFFFF] {
        assert_eq!(bench.bind(ann, "ann", number, PEER).code(), 400, "{number:#x}");
    }
    assert_eq!(bench.bind(ann, "ann", 0x4000, PEER).code(), 0);
    assert_eq!(bench.bind(ann, "ann", 0x4000, "9.9.9.9:5001").code(), 400, "the number is taken");
    assert_eq!(bench.bind(ann, "ann", 0x4001, PEER).code(), 400, "the peer is taken");
    assert_eq!(bench.bind(ann, "ann", 0x4000, PEER).code(), 0, "the same again refreshes");
    assert_eq!(bench.bind(ann, "ann", 0x4FFF, "9.9.9.9:5001").code(), 0);
    let relayed = bench.relay.allocations(bench.now)[0].relayed[0];
    assert_eq!(bench.peer_sends(relayed, PEER).unwrap().framing, as_channel(0x4000));
}

#[test]
fn reserved_ports_come_back_and_belong_to_who_reserved_them() {
    let mut bench = Bench::new(Setup {
        ports: 50_000..=50_003,
        quotas: Quotas { per_user: 100, total: 100 },
        ..Setup::default()
    });
    let (ann, ben) = (client("9.1.1.1:1000"), client("9.1.1.2:1000"));
    let allocate = |bench: &mut Bench, from: Client, user: &str, more: &[&dyn AttributeWrite]| {
        let transport = RequestedTransport::new(17);
        let mut attributes: Vec<&dyn AttributeWrite> = vec![&transport];
        attributes.extend(more);
        bench.ask(from, &signed_by(user), ALLOCATE, &attributes)
    };
    for _ in 0..200 {
        assert_eq!(allocate(&mut bench, ann, "ann", &[&EvenPort::new(false)]).code(), 0);
        assert_eq!(bench.refresh(ann, "ann", 0).code(), 0);
    }
    let answer = allocate(&mut bench, ann, "ann", &[&EvenPort::new(true)]);
    let token = answer.message().attribute::<ReservationToken>().unwrap().token();
    assert_eq!(answer.relayed()[0].port() % 2, 0);
    assert_eq!(
        allocate(&mut bench, ben, "ben", &[&ReservationToken::new(token)]).code(),
        508,
        "another's token"
    );
    assert_eq!(
        allocate(&mut bench, ben, "ann", &[&ReservationToken::new(token ^ 1)]).code(),
        508,
        "no token"
    );
    assert_eq!(
        allocate(&mut bench, ben, "ann", &[&EvenPort::new(false), &ReservationToken::new(token)])
            .code(),
        400
    );
    let taken = allocate(&mut bench, ben, "ann", &[&ReservationToken::new(token)]);
    assert_eq!(taken.relayed()[0].port(), answer.relayed()[0].port() + 1);
    assert_eq!(
        allocate(&mut bench, client("9.1.1.3:1"), "ann", &[&ReservationToken::new(token)]).code(),
        508,
        "spent"
    );

    // The other pair: reserved and forgotten, it is free again after 30 s.
    assert_eq!(allocate(&mut bench, client("9.1.1.4:1"), "ann", &[&EvenPort::new(true)]).code(), 0);
    assert_eq!(
        allocate(&mut bench, client("9.1.1.5:1"), "ann", &[]).code(),
        508,
        "all ports are taken"
    );
    bench.wait(Duration::from_secs(31));
    assert_eq!(allocate(&mut bench, client("9.1.1.5:1"), "ann", &[]).code(), 0);
}

#[test]
fn quotas_hold_and_are_given_back() {
    let mut bench =
        Bench::new(Setup { quotas: Quotas { per_user: 3, total: 5 }, ..Setup::default() });
    let from = |n: u32| client(&format!("9.1.1.{n}:1000"));
    let codes: Vec<u16> = (0..4).map(|n| bench.allocate(from(n), "ann").code()).collect();
    assert_eq!(codes, [0, 0, 0, 486]);
    let codes: Vec<u16> = (10..13).map(|n| bench.allocate(from(n), "ben").code()).collect();
    assert_eq!(codes, [0, 0, 508]);
    assert_eq!(bench.refresh(from(0), "ann", 0).code(), 0);
    assert_eq!(bench.allocate(from(12), "ben").code(), 0);
    bench.wait(Duration::from_secs(601));
    assert_eq!(bench.ledger.allocations(), 0, "and when they run out");
}

#[test]
fn a_refused_allocation_counts_for_nothing() {
    use stun_types::attribute::{AttributeType, RawAttribute};
    let ann = client("9.1.1.1:1000");
    let quotas = Quotas { per_user: 1, total: 1 };
    let mut bench = Bench::new(Setup { quotas, ports: 50_000..=50_000, ..Setup::default() });
    let transport = RequestedTransport::new(17);
    let short = RawAttribute::new(AttributeType::new(0x000D), b"x");
    let signature = signed_by("ann");
    assert_eq!(bench.ask(ann, &signature, ALLOCATE, &[&transport, &short]).code(), 400);
    assert_eq!(
        bench.ask(ann, &signature, ALLOCATE, &[&transport, &EvenPort::new(true)]).code(),
        508
    );
    assert_eq!(bench.ledger.allocations(), 0);
    assert_eq!(bench.allocate(ann, "ann").code(), 0, "neither the quota nor the port is lost");
}

#[test]
fn permissions_are_capped() {
    let ann = client("9.1.1.1:1000");
    let mut bench = Bench::new(Setup { permissions: 8, ..Setup::default() });
    bench.allocate(ann, "ann");
    let codes: Vec<u16> = (0..2000)
        .map(|n| bench.permit(ann, "ann", &[&format!("9.9.{}.{}:1", n / 250, n % 250 + 1)]).code())
        .collect();
    assert_eq!(codes.iter().filter(|code| **code == 0).count(), 8);
    assert!(codes[8..].iter().all(|code| *code == 508));
    for port in 1..2000 {
        let peer = format!("9.9.0.1:{port}");
        assert!(went_outside(bench.send(ann, &peer, b"x").as_ref(), &peer));
    }
    let view = bench.relay.allocations(bench.now);
    assert_eq!(
        (view[0].permissions, view[0].channels),
        (8, 0),
        "ports of a permitted address cost nothing"
    );
    let codes: Vec<u16> = (1..20)
        .map(|n| bench.bind(ann, "ann", 0x4000 + n, &format!("9.9.0.1:{n}")).code())
        .collect();
    assert_eq!(codes.iter().filter(|code| **code == 0).count(), 8, "channels are capped too");
}

#[test]
fn ports_cannot_be_foretold() {
    let mut bench = Bench::new(Setup {
        quotas: Quotas { per_user: 1000, total: 1000 },
        ports: 20_000..=59_999,
        ..Setup::default()
    });
    let ports: Vec<i32> = (0..200)
        .map(|n| {
            bench.allocate(client(&format!("9.1.{}.1:{}", n / 100, 1000 + n)), "ann").relayed()[0]
                .port()
                .into()
        })
        .collect();
    let near = ports.windows(2).filter(|pair| (pair[0] - pair[1]).abs() < 100).count();
    assert!(near < 10, "{near} of 199 lie close to the one before");
}

#[test]
fn a_flood_stays_within_its_bandwidth() {
    let (ann, ben) = (client("9.1.1.1:1000"), client("9.1.1.2:1000"));
    let mut bench = Bench::new(Setup { kilobits: 1000, ..Setup::default() });
    for (from, user) in [(ann, "ann"), (ben, "ben")] {
        bench.allocate(from, user);
        assert_eq!(bench.bind(from, user, 0x4000, PEER).code(), 0);
    }
    let payload = [0; 1000];
    let mut passed = 0;
    for step in 0..10_000 {
        bench.now += Duration::from_micros(1000);
        passed += usize::from(bench.channel_data(ann, 0x4000, &payload).is_some());
        if step % 10 == 0 {
            assert!(
                bench.channel_data(ben, 0x4000, &payload).is_some(),
                "another's flood is not felt"
            );
        }
    }
    // 10 s of 1000 kbit/s are 1250 packets, and half a second more may come at once.
    assert!((1240..=1320).contains(&passed), "{passed}");
}

#[test]
fn rubbish_is_dropped_and_the_next_request_is_served() {
    let ann = client("9.1.1.1:1000");
    let mut bench = Bench::default();
    bench.allocate(ann, "ann");
    bench.bind(ann, "ann", 0x4000, PEER);
    let good = bench.build((MessageClass::Request, BINDING), &[], None);
    let nonce = bench.nonce(ann);
    let signed = bench.build(
        (MessageClass::Request, REFRESH),
        &[&Lifetime::new(600)],
        Some((&signed_by("ann"), &nonce)),
    );
    let mut rubbish: Vec<Vec<u8>> = vec![
        vec![],
        vec![0],
        vec![0; 19],
        vec![0; 20],
        vec![0xFF; 1500],
        vec![0x40],
        vec![0x40, 0, 0xFF, 0xFF, 1, 2],
        vec![0x40, 0, 0, 5, 1, 2, 3, 4],
        vec![0x4F; 4],
        good[..10].to_vec(),
    ];
    for (place, value) in [(2, 0xFF), (3, 1), (4, 0)] {
        let mut broken = good.clone();
        broken[place] = value;
        rubbish.push(broken);
    }
    for cut in 1..signed.len() {
        rubbish.push(signed[..cut].to_vec());
    }
    let mut many = good.clone();
    (0..300).for_each(|_| many.extend([0x80, 0x22, 0, 0]));
    let length = u16::try_from(many.len() - 20).unwrap();
    many[2..4].copy_from_slice(&length.to_be_bytes());
    rubbish.push(many);
    let mut thrice = signed.clone();
    let integrity = signed[signed.len() - 24..].to_vec();
    thrice.extend(integrity.repeat(2));
    let length = u16::try_from(thrice.len() - 20).unwrap();
    thrice[2..4].copy_from_slice(&length.to_be_bytes());
    rubbish.push(thrice);
    for bytes in rubbish {
        let (onward, answers) = bench.raw(ann, &bytes);
        assert_eq!(onward, None, "{bytes:?}");
        assert!(answers.len() <= 1);
    }
    assert_eq!(bench.refresh(ann, "ann", 600).code(), 0);
    assert!(bench.channel_data(ann, 0x4000, b"still here").is_some());
}

#[test]
fn malformed_attributes_under_a_good_signature_are_400() {
    let ann = client("9.1.1.1:1000");
    let mut bench = Bench::default();
    bench.allocate(ann, "ann");
    for (method, kind, value) in [
        (ALLOCATE, 0x0019_u16, &[17_u8][..]),
        (REFRESH, 0x000D, &[0, 0][..]),
        (CREATE_PERMISSION, 0x0012, &[0, 9, 1, 2, 3, 4, 5, 6][..]),
        (CREATE_PERMISSION, 0x0012, &[0, 1, 1][..]),
        (REFRESH, 0x0017, &[9, 0, 0, 0][..]),
    ] {
        let from = if method == ALLOCATE { client("9.1.1.9:9") } else { ann };
        let attribute = stun_types::attribute::RawAttribute::new(
            stun_types::attribute::AttributeType::new(kind),
            value,
        );
        assert_eq!(
            bench.ask(from, &signed_by("ann"), method, &[&attribute]).code(),
            400,
            "{kind:#x} {value:?}"
        );
    }
}

#[test]
fn who_is_shut_out_loses_what_he_has() {
    let (ann, ben) = (client("9.1.1.1:1000"), client("9.1.1.2:1000"));
    let mut bench = Bench::default();
    bench.allocate(ann, "ann");
    let kept = bench.allocate(ben, "ben").relayed();
    bench.permit(ann, "ann", &[PEER]);
    bench.ledger.shut_out("ann", bench.now + Duration::from_secs(3600));
    bench.relay.revoke("ann");
    bench.wait(Duration::ZERO);
    assert_eq!(bench.open.values().copied().collect::<Vec<_>>(), kept);
    assert_eq!(bench.send(ann, PEER, b"x"), None);
    assert_eq!(bench.allocate(ann, "ann").code(), 401);
    assert_eq!(bench.refresh(ben, "ben", 600).code(), 0, "others keep theirs");
    bench.ledger.readmit("ann");
    assert_eq!(bench.allocate(ann, "ann").code(), 0);
}

#[test]
fn those_shut_out_are_remembered_in_bounded_memory() {
    let mut bench = Bench::default();
    let hour = bench.now + Duration::from_secs(3600);
    bench.ledger.shut_out("first", bench.now + Duration::from_secs(60));
    for n in 0..1 << 16 {
        bench.ledger.shut_out(&format!("user-{n}"), hour);
    }
    let code = |bench: &mut Bench, port: u16, user: &str| {
        bench.allocate(client(&format!("9.1.1.1:{port}")), user).code()
    };
    assert_eq!(code(&mut bench, 1, "first"), 0, "the one that would have ended soonest");
    assert_eq!(code(&mut bench, 2, "user-0"), 401);
    assert_eq!(code(&mut bench, 3, "user-65535"), 401);
}

#[test]
fn an_ended_call_takes_the_allocations_bound_to_it() {
    let mut bench = Bench::default();
    let credentials = switchboard_turn::Credentials::new(crate::support::SECRET, []);
    let bound = |call: Option<&str>| {
        let (username, password) =
            credentials.mint(crate::support::NOON + 60, "ann", call).unwrap();
        Signature { username, password, realm: "turn".into() }
    };
    let transport = RequestedTransport::new(17);
    let (one, two) = (client("9.1.1.1:1"), client("9.1.1.2:2"));
    assert_eq!(bench.ask(one, &bound(Some("call-1")), ALLOCATE, &[&transport]).code(), 0);
    assert_eq!(bench.ask(two, &bound(None), ALLOCATE, &[&transport]).code(), 0);
    bench.ledger.shut_out("call-1", bench.now + Duration::from_secs(60));
    bench.relay.revoke("call-1");
    bench.wait(Duration::ZERO);
    let left: Vec<SocketAddr> =
        bench.relay.allocations(bench.now).iter().map(|view| view.client.remote).collect();
    assert_eq!(left, [two.remote]);
    assert_eq!(bench.ask(one, &bound(Some("call-1")), ALLOCATE, &[&transport]).code(), 401);
    assert_eq!(bench.ask(one, &bound(Some("call-2")), ALLOCATE, &[&transport]).code(), 0);
}

#[test]
fn a_transaction_of_another_method_is_no_repetition() {
    let ann = client("9.1.1.1:1000");
    let mut bench = Bench::default();
    bench.allocate(ann, "ann");
    let nonce = bench.nonce(ann);
    let transport = RequestedTransport::new(17);
    let request = build(
        9.into(),
        (MessageClass::Request, ALLOCATE),
        &[&transport],
        Some((&signed_by("ann"), &nonce)),
    );
    assert_eq!(bench.raw(ann, &request).1[0].code(), 437);
}
