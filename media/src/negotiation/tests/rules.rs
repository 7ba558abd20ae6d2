//! What every answer has to be (RFC 3264 §6, RFC 8843 §7.3, RFC 4585 §4.2), judged by the two texts alone.

/// A section of a description, as lines.
pub(super) struct Media<'a> {
    pub(super) head: Vec<&'a str>,
    pub(super) lines: Vec<&'a str>,
}

impl<'a> Media<'a> {
    pub(super) fn all(text: &'a str) -> (Vec<&'a str>, Vec<Self>) {
        let (mut session, mut all) = (Vec::new(), Vec::<Self>::new());
        for line in text.lines().map(str::trim_end) {
            match (line.strip_prefix("m="), all.last_mut()) {
                (Some(head), _) => {
                    all.push(Self { head: head.split(' ').collect(), lines: Vec::new() });
                }
                (None, Some(media)) => media.lines.push(line),
                (None, None) => session.push(line),
            }
        }
        (session, all)
    }

    pub(super) fn values<'b>(&'b self, key: &'b str) -> impl Iterator<Item = &'a str> + 'b {
        let of =
            move |line: &&'a str| line.strip_prefix("a=")?.strip_prefix(key)?.strip_prefix(':');
        self.lines.iter().filter_map(of)
    }

    pub(super) fn has(&self, flag: &str) -> bool {
        self.lines.iter().any(|line| line.strip_prefix("a=") == Some(flag))
    }

    pub(super) fn mid(&self) -> Option<&'a str> {
        self.values("mid").next()
    }

    pub(super) fn formats(&self) -> &[&'a str] {
        &self.head[3..]
    }

    pub(super) fn rejected(&self) -> bool {
        self.head[1] == "0" && !self.has("bundle-only")
    }

    pub(super) fn direction(&self) -> &'static str {
        let all = ["inactive", "sendonly", "recvonly"];
        all.into_iter().find(|direction| self.has(direction)).unwrap_or("sendrecv")
    }
}

fn bundle<'a>(session: &[&'a str]) -> Vec<&'a str> {
    let group = session.iter().find_map(|line| line.strip_prefix("a=group:BUNDLE"));
    group.unwrap_or_default().split_ascii_whitespace().collect()
}

/// Panics where the answer breaks a rule.
pub(super) fn check(offer: &str, answer: &str) {
    let ((session, asked), (said, answered)) = (Media::all(offer), Media::all(answer));
    assert_eq!(asked.len(), answered.len(), "as many sections\n{offer}\n{answer}");
    let (theirs, ours) = (bundle(&session), bundle(&said));
    assert!(ours.iter().all(|mid| theirs.contains(mid)), "{ours:?} of {theirs:?}");
    assert!(session.contains(&"a=extmap-allow-mixed") || !said.contains(&"a=extmap-allow-mixed"));
    for (asked, answered) in asked.iter().zip(&answered) {
        assert_eq!(asked.mid(), answered.mid(), "{answer}");
        assert_eq!((asked.head[0], asked.head[2]), (answered.head[0], answered.head[2]));
        let subset = answered.formats().iter().all(|format| asked.formats().contains(format));
        assert!(subset && !answered.formats().is_empty(), "{:?}", answered.head);
        if asked.rejected() {
            assert!(answered.rejected(), "what is rejected stays rejected\n{answer}");
        }
        if answered.rejected() {
            let mid = asked.mid().unwrap_or_default();
            assert!(!ours.contains(&mid), "in the bundle, and rejected\n{answer}");
            continue;
        }
        one_section(asked, answered);
    }
}

fn one_section(asked: &Media<'_>, answered: &Media<'_>) {
    let text = answered.lines.join("\n");
    let allowed: &[&str] = match asked.direction() {
        "sendrecv" => &["sendrecv", "sendonly", "recvonly", "inactive"],
        "sendonly" => &["recvonly", "inactive"],
        "recvonly" => &["sendonly", "inactive"],
        _ => &["inactive"],
    };
    assert!(
        allowed.contains(&answered.direction()),
        "{} to {}",
        answered.direction(),
        asked.direction()
    );
    for flag in ["rtcp-mux", "rtcp-rsize", "extmap-allow-mixed"] {
        assert!(!answered.has(flag) || asked.has(flag), "{flag} was not offered\n{text}");
    }
    // By number: name, clock and channels are those of the offer.
    for mapped in answered.values("rtpmap") {
        let same = asked.values("rtpmap").any(|asked| asked.eq_ignore_ascii_case(mapped));
        let (number, name) = mapped.split_once(' ').unwrap();
        let one_channel = format!("{number} {name}/1");
        assert!(
            same || asked.values("rtpmap").any(|asked| asked == one_channel),
            "{mapped}\n{text}"
        );
        assert!(answered.formats().contains(&number), "{number} is not in the m-line");
    }
    for feedback in answered.values("rtcp-fb") {
        let (_, what) = feedback.split_once(' ').unwrap();
        let for_all = format!("* {what}");
        let offered = |asked: &str| {
            let asked = asked.split_ascii_whitespace().collect::<Vec<_>>().join(" ");
            asked == feedback || asked == for_all
        };
        assert!(asked.values("rtcp-fb").any(offered), "{feedback} was not offered\n{text}");
    }
    for extension in answered.values("extmap") {
        let plain = |text: &str| {
            let mut words = text.split_ascii_whitespace();
            let id = words.next()?.split('/').next()?.to_owned();
            Some((id, words.next()?.to_owned()))
        };
        let offered = asked.values("extmap").any(|asked| plain(asked) == plain(extension));
        assert!(offered, "{extension} was not offered\n{text}");
    }
    for rid in answered.values("rid") {
        let name = rid.split(' ').next().unwrap();
        let offered = format!("{name} send");
        assert!(asked.values("rid").any(|asked| asked.starts_with(&offered)), "{rid}\n{text}");
    }
    in_order(asked, answered);
}

/// The client's preference is kept, as it sends by what comes first; only the baseline profile of H.264 may come earlier.
fn in_order(asked: &Media<'_>, answered: &Media<'_>) {
    let base = |format: &str| {
        let mut parameters = answered.values("fmtp").filter_map(|it| it.split_once(' '));
        parameters.any(|(number, it)| number == format && it.contains("profile-level-id=42"))
    };
    let moved = |format: &str| {
        let mut pairs = answered.values("fmtp").filter_map(|it| it.split_once(" apt="));
        base(format) || pairs.any(|(number, media)| number == format && base(media))
    };
    let kept = answered.formats().iter().filter(|format| !moved(format));
    let places: Vec<_> =
        kept.map(|format| asked.formats().iter().position(|asked| asked == format)).collect();
    assert!(places.is_sorted(), "{:?} is not in the order of {:?}", answered.head, asked.head);
}
