#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

use portsplit_plugin_sdk::native::{Configured, Decided, Outcome};
use portsplit_plugin_sdk::prelude::*;

macro_rules! hello {
    ($name:literal) => {
        ($name, include_bytes!(concat!("../flights/", $name, ".bin")).as_slice())
    };
}

/// Hellos of real clients; flights/README.md says how they were recorded.
const HELLOS: [(&str, &[u8]); 8] = [
    hello!("openssl"),
    hello!("openssl-tls12"),
    hello!("openssl-tls10"),
    hello!("openssl-records"),
    hello!("curl-h2"),
    hello!("curl-http1"),
    hello!("node"),
    hello!("python"),
];

fn tls() -> Configured {
    crate::portsplit_plugin().configure("{}").unwrap()
}

fn facts(decided: &Decided) -> Vec<(String, String)> {
    decided.facts.iter().map(|fact| (fact.name.clone(), fact.text().into_owned())).collect()
}

/// The outcome for every prefix, checked for the laws: final verdicts and their facts stay, and nothing changes before
/// the number of bytes that need-more gave.
#[track_caller]
fn sweep(bytes: &[u8]) -> Vec<Outcome> {
    let tls = tls();
    let outcomes: Vec<_> = (0..=bytes.len()).map(|n| tls.classify(Input::new(&bytes[..n]))).collect();
    for (n, outcome) in outcomes.iter().enumerate() {
        match outcome.verdict {
            Verdict::NeedMore(total) => {
                assert!(total > n, "{n} bytes: asks for {total}");
                let quiet = outcomes.iter().take(total).skip(n);
                assert!(quiet.into_iter().all(|o| matches!(o.verdict, Verdict::NeedMore(_))), "{n} asked for {total}");
            }
            _ => assert!(outcomes[n..].iter().all(|later| later == outcome), "{n} bytes: {outcome:?} does not stay"),
        }
    }
    outcomes
}

/// The bytes of handshake messages in records of `size` bytes.
fn records(handshake: &[u8], size: usize) -> Vec<u8> {
    let record = |chunk: &[u8]| [&[0x16, 3, 1, (chunk.len() >> 8) as u8, chunk.len() as u8], chunk].concat();
    handshake.chunks(size).flat_map(record).collect()
}

/// A hello with these extensions (each its number and contents), in one record.
fn hello(extensions: &[(u16, &[u8])]) -> Vec<u8> {
    let mut list = Vec::new();
    for (kind, data) in extensions {
        list.extend(kind.to_be_bytes());
        list.extend((data.len() as u16).to_be_bytes());
        list.extend(*data);
    }
    let mut body = vec![3, 3];
    body.extend([0xaa; 32]);
    body.extend([0, 0, 2, 0x13, 1, 1, 0]);
    if !extensions.is_empty() {
        body.extend((list.len() as u16).to_be_bytes());
        body.extend(list);
    }
    message(&body)
}

fn message(body: &[u8]) -> Vec<u8> {
    let len = (body.len() as u32).to_be_bytes();
    records(&[&[1, len[1], len[2], len[3]], body].concat(), 1 << 14)
}

fn sni(name: &[u8]) -> Vec<u8> {
    let len = name.len() as u16;
    [&(len + 3).to_be_bytes()[..], &[0], &len.to_be_bytes(), name].concat()
}

#[track_caller]
fn rejected(bytes: &[u8], at: usize) {
    let decided = tls().decide(bytes);
    assert_eq!((decided.verdict, decided.at), (Verdict::Reject, at), "{}", bytes.escape_ascii());
}

#[test]
fn real_clients_are_known_at_the_last_byte_of_their_hello() {
    let expected: [&[(&str, &str)]; 8] = [
        &[
            ("sni", "www.example.org"),
            ("alpn", "h2"),
            ("alpn", "http/1.1"),
            ("version", "1.3"),
            ("ja4", "t13d3111h2_e8f1e7e78f70_1f22a2ca17c4"),
        ],
        &[("sni", "www.example.org"), ("version", "1.2"), ("ja4", "t12d280700_d943125447b4_e7e480e5a997")],
        &[("version", "1.0"), ("ja4", "t10i230500_44099cda8a52_195413a0cc0f")],
        &[
            ("sni", "www.example.org"),
            ("alpn", "h2"),
            ("alpn", "http/1.1"),
            ("alpn", "made-up-protocol-00"),
            ("alpn", "made-up-protocol-01"),
            ("alpn", "made-up-protocol-02"),
            ("alpn", "made-up-protocol-03"),
            ("alpn", "made-up-protocol-04"),
            ("alpn", "made-up-protocol-05"),
            ("version", "1.3"),
            ("ja4", "t13d3111h2_e8f1e7e78f70_1f22a2ca17c4"),
        ],
        &[
            ("sni", "www.example.org"),
            ("alpn", "h2"),
            ("alpn", "http/1.1"),
            ("version", "1.3"),
            ("ja4", "t13d3112h2_e8f1e7e78f70_b26ce05bbdd6"),
        ],
        &[("alpn", "http/1.1"), ("version", "1.3"), ("ja4", "t13i3111h1_e8f1e7e78f70_b26ce05bbdd6")],
        &[
            ("sni", "node.example.org"),
            ("alpn", "h2"),
            ("alpn", "http/1.1"),
            ("alpn", "acme-tls/1"),
            ("version", "1.3"),
            ("ja4", "t13d5911h2_a33745022dd6_1f22a2ca17c4"),
        ],
        &[("sni", "python.example.org"), ("version", "1.3"), ("ja4", "t13d181100_85036bcba153_d41ae481755e")],
    ];
    for ((name, bytes), expected) in HELLOS.into_iter().zip(expected) {
        let decided = tls().decide(bytes);
        assert_eq!((decided.verdict, decided.at), (Verdict::Match, bytes.len()), "{name}");
        let facts = facts(&decided);
        let facts: Vec<_> = facts.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        assert_eq!(facts, expected, "{name}");
    }
}

#[test]
fn without_the_fingerprint_all_else_is_the_same() {
    let without = crate::portsplit_plugin().configure(r#"{"ja4":false}"#).unwrap();
    for (name, bytes) in HELLOS {
        let (with, without) = (tls().decide(bytes), without.decide(bytes));
        assert_eq!((with.verdict, with.at), (without.verdict, without.at), "{name}");
        let others =
            |decided: &Decided| facts(decided).into_iter().filter(|(name, _)| name != "ja4").collect::<Vec<_>>();
        assert_eq!(others(&with), facts(&without), "{name}");
    }
}

#[test]
fn every_prefix_keeps_the_laws_and_what_follows_changes_nothing() {
    for (name, bytes) in HELLOS {
        let outcomes = sweep(&[bytes, b"\x14\x03\x03\0\x01\x01"].concat());
        assert!(matches!(outcomes[bytes.len() - 1].verdict, Verdict::NeedMore(_)), "{name}");
        assert_eq!(outcomes[bytes.len()].verdict, Verdict::Match, "{name}");
        let last = Input { timed_out: true, ..Input::new(&bytes[..bytes.len() - 1]) };
        assert_eq!(tls().classify(last).verdict, Verdict::Match, "{name}");
    }
}

#[test]
fn records_of_any_size_and_any_two_carry_the_same_hello() {
    let (_, bytes) = HELLOS[0];
    let whole = facts(&tls().decide(bytes));
    let handshake = &bytes[5..];
    for size in [11, 12, 64, 200] {
        let cut = records(handshake, size);
        let outcomes = sweep(&cut);
        assert_eq!(outcomes[cut.len()].verdict, Verdict::Match, "records of {size}");
        assert!(matches!(outcomes[cut.len() - 1].verdict, Verdict::NeedMore(_)), "records of {size}");
        assert_eq!(facts(&tls().decide(&cut)), whole, "records of {size}");
    }
    for at in 1..handshake.len() {
        let cut = [records(&handshake[..at], 1 << 14), records(&handshake[at..], 1 << 14)].concat();
        let decided = tls().decide(&cut);
        assert_eq!((decided.verdict, decided.at), (Verdict::Match, cut.len()), "cut at {at}");
        assert_eq!(facts(&decided), whole, "cut at {at}");
    }
}

#[test]
fn a_changed_byte_never_breaks_the_laws() {
    let (_, bytes) = HELLOS[0];
    for at in 0..bytes.len() {
        for flip in [0x01, 0x80, 0xff] {
            let mut changed = bytes.to_vec();
            changed[at] ^= flip;
            sweep(&changed);
        }
    }
}

#[test]
fn the_record_and_message_headers_reject_at_the_byte_that_is_wrong() {
    rejected(b"\x17\x03\x01", 1);
    rejected(b"\x15\x03\x01", 1);
    rejected(b"\x16\x02\x01", 2);
    rejected(b"\x16\x03\x01\0\0", 5); // an empty record
    rejected(b"\x16\x03\x01\x40\x01", 5); // more than 2^14
    rejected(b"\x16\x03\x01\x41", 4);
    rejected(b"\x16\x03\x01\x02\0\x02", 6); // server hello
    rejected(b"\x16\x03\x01\x02\0\x01\x02\x01\x45", 9); // longer than any hello
    rejected(b"\x16\x03\x01\x02\0\x01\0\0\x28", 9); // shorter than any hello
    rejected(b"\x16\x03\x01\0\x01\x01\x15", 7); // the second record is an alert
    rejected(b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x02", 10); // client_version 2
}

#[test]
fn lengths_that_disagree_reject_where_that_shows() {
    let good = hello(&[(0, &sni(b"a.example"))]);
    assert_eq!(tls().decide(&good).verdict, Verdict::Match);
    // Offsets: 9 version, 11 random, 43 session, 44 suites, 48 methods, 50 extensions, 52 type, 54 length, 56 list.
    for (at, wrong, known) in [
        (43, 33, 44), // a session of more than 32 bytes
        (45, 3, 46),  // an odd number of bytes of suites
        (45, 0, 46),  // no suites
        (44, 1, 45),  // more suites than there are bytes
        (48, 0, 49),  // no methods
        (49, 1, 50),  // none of them is null
        (50, 1, 51),  // the extensions' length is not what is left
        (51, 9, 52),  // neither is this
        (54, 1, 55),  // longer than the list of extensions
        (55, 15, 56), // longer by one
        (57, 11, 58), // the list of names
        (58, 1, 59),  // not a host name
        (60, 8, 61),  // shorter than its list
    ] {
        let mut bytes = good.clone();
        assert_ne!(bytes[at], wrong, "{at}");
        bytes[at] = wrong;
        rejected(&bytes, known);
    }
}

#[test]
fn names_are_put_in_one_form() {
    for (given, known) in [
        (b"WWW.Example.ORG.".as_slice(), Some("www.example.org")),
        (b"xn--bcher-kva.example", Some("xn--bcher-kva.example")),
        (b".", None),
        (b"a\0b", None),
        ("ä.example".as_bytes(), None),
        (&[b'a'; 255], Some(core::str::from_utf8(&[b'a'; 255]).unwrap())),
    ] {
        let decided = tls().decide(&hello(&[(0, &sni(given))]));
        assert_eq!(decided.verdict, Verdict::Match);
        assert_eq!(decided.fact("sni").as_deref(), known);
    }
    rejected(&hello(&[(0, &sni(b""))]), 59);
    rejected(&hello(&[(0, &sni(&[b'a'; 256]))]), 59);
}

#[test]
fn an_extension_that_is_read_comes_once() {
    for (kind, data) in [(0, sni(b"a")), (16, vec![0, 3, 2, b'h', b'2']), (43, vec![2, 3, 4]), (0xfe0d, vec![0, 1])] {
        assert_eq!(tls().decide(&hello(&[(kind, &data)])).verdict, Verdict::Match, "{kind}");
        rejected(&hello(&[(kind, &data), (kind, &data)]), 52 + 4 + data.len() + 2);
    }
    // Others are no business of ours.
    assert_eq!(tls().decide(&hello(&[(10, b""), (10, b"")])).verdict, Verdict::Match);
}

#[test]
fn the_version_is_the_highest_that_exists() {
    let version = |list: &[u8]| tls().decide(&hello(&[(43, list)])).fact("version");
    assert_eq!(version(&[6, 0x7a, 0x7a, 3, 3, 3, 4]).as_deref(), Some("1.3")); // GREASE first
    assert_eq!(version(&[4, 3, 3, 3, 1]).as_deref(), Some("1.2"));
    assert_eq!(version(&[2, 0xfa, 0xfa]).as_deref(), Some("1.2")); // only GREASE: the field counts
    for wrong in [&[][..], &[0], &[1, 3], &[3, 3, 4, 3], &[4, 3, 4]] {
        assert_eq!(tls().decide(&hello(&[(43, wrong)])).verdict, Verdict::Reject, "{wrong:?}");
    }
    for (minor, name) in [(0, "ssl3"), (1, "1.0"), (2, "1.1"), (3, "1.2"), (4, "1.2"), (255, "1.2")] {
        let mut bytes = hello(&[]);
        bytes[10] = minor;
        assert_eq!(tls().decide(&bytes).fact("version").as_deref(), Some(name));
    }
}

#[test]
fn alpn_leaves_out_grease_and_stops_at_its_limits() {
    let list = |names: &[&[u8]]| {
        let names: Vec<u8> = names.iter().flat_map(|name| [&[name.len() as u8], *name].concat()).collect();
        [&(names.len() as u16).to_be_bytes()[..], &names].concat()
    };
    let decided = tls().decide(&hello(&[(16, &list(&[b"\x8a\x8a", b"h2", b"a b", b"\xff"]))]));
    let alpn: Vec<_> = facts(&decided).into_iter().filter(|(name, _)| name == "alpn").map(|(_, value)| value).collect();
    assert_eq!(alpn, ["h2"]);
    let long = |len: usize| tls().decide(&hello(&[(16, &list(&[&vec![b'p'; len]]))])).fact("alpn");
    assert_eq!((long(32).map(|name| name.len()), long(33)), (Some(32), None));
    let count = |names: &[&[u8]]| tls().decide(&hello(&[(16, &list(names))])).facts.len() - 2;
    assert_eq!(count(&[b"x".as_slice(); 33]), 8);
    // The ninth and what follows it is not even read.
    assert_eq!(count(&[b"\x8a\x8a", b"x", b"x", b"x", &[b'p'; 255], b"x", b"x", b"x", b"y", b""]), 6);
    rejected(&hello(&[(16, &[0, 1, 0])]), 58);
    rejected(&hello(&[(16, &[0, 3, 3, b'h', b'2'])]), 59);
}

#[test]
fn encrypted_client_hello_is_noted() {
    let decided = tls().decide(&hello(&[(0, &sni(b"public.example")), (0xfe0d, &[0, 0, 1, 0, 1, 7])]));
    assert_eq!(decided.fact("ech").as_deref(), Some("outer"));
    assert_eq!(decided.fact("sni").as_deref(), Some("public.example"));
    assert_eq!(tls().decide(&hello(&[(0xfe0d, &[1])])).fact("ech"), None);
}

/// A match with the names of its facts, at a byte.
#[track_caller]
fn matched(bytes: &[u8], at: usize, names: &[&str]) {
    let decided = tls().decide(bytes);
    assert_eq!((decided.verdict, decided.at), (Verdict::Match, at), "{} bytes", bytes.len());
    assert!(facts(&decided).iter().map(|(name, _)| name.as_str()).eq(names.iter().copied()), "{:?}", facts(&decided));
    // All prefixes of a long one take seconds.
    sweep(bytes.get(..1000).unwrap_or(bytes));
}

#[test]
fn what_is_behind_a_limit_is_not_looked_at() {
    let many = |count: usize| hello(&vec![(10, b"".as_slice()); count]);
    matched(&many(32), 52 + 32 * 4, &["version", "ja4"]);
    matched(&many(64), 52 + 64 * 4, &["version"]);
    matched(&many(65), 52 + 64 * 4, &[]);
    let handshake = &hello(&[(0, &sni(b"a.example")), (10, &[0; 182])])[5..];
    assert_eq!(handshake.len(), 251);
    matched(&records(handshake, 8), 251 + 32 * 5, &["sni", "version", "ja4"]);
    matched(&records(handshake, 7), 32 * 12 + 3, &["sni"]);
    matched(&records(handshake, 2), 32 * 7 + 3, &[]); // behind the suites
    rejected(&records(handshake, 1), 32 * 6 + 3); // not even there
    let versions = |count: u8| hello(&[(43, &[&[2 * count][..], &[3, 4].repeat(count.into())].concat())]);
    assert_eq!(tls().decide(&versions(32)).fact("version").as_deref(), Some("1.3"));
    assert_eq!(tls().decide(&versions(33)).fact("version").as_deref(), Some("1.2"));
}

#[test]
fn a_hello_longer_than_what_is_looked_at_is_known_where_that_shows() {
    let with = |len: usize| hello(&[(0, &sni(b"a.example")), (21, &vec![0; len]), (43, &[2, 3, 4])]);
    let start = 52 + 4 + 14 + 4;
    let fits = with((16 << 10) - start - 7);
    matched(&fits[..16 << 10], fits.len(), &["sni", "version", "ja4"]);
    // The last extension would end one byte too late, then the one before it does.
    matched(&with((16 << 10) - start - 6)[..16 << 10], (16 << 10) - 1, &["sni"]);
    matched(&records(&with(20_000)[5..], 1 << 14), start, &["sni"]);
    // So many suites are not there to be certain of.
    let mut body = vec![3, 3];
    body.extend([0xaa; 33 - 1]);
    body.extend([0, 0x40, 0]);
    body.extend([0x13; 0x4000]);
    body.extend([1, 0]);
    let decided = tls().decide(&message(&body));
    assert_eq!((decided.verdict, decided.at), (Verdict::Reject, 46));
}

#[test]
fn a_hello_that_is_cut_is_known_at_the_end_from_its_suites_on() {
    let bytes = hello(&[(0, &sni(b"a.example")), (43, &[2, 3, 4]), (16, &[0, 3, 2, b'h', b'2'])]);
    let at_end = |len: usize| {
        let last = Input { timed_out: true, ..Input::new(&bytes[..len]) };
        let outcome = tls().classify(last);
        let names: Vec<String> = outcome.facts.iter().map(|fact| fact.name.clone()).collect();
        (outcome.verdict, names)
    };
    for len in 0..bytes.len() {
        let names: &[&str] = match len {
            0..48 => {
                assert_eq!(at_end(len), (Verdict::Reject, Vec::new()), "{len}");
                continue;
            }
            48..70 => &[],
            70..77 => &["sni"],
            77..86 => &["sni", "version"],
            _ => &["sni", "alpn", "version"],
        };
        assert_eq!(at_end(len), (Verdict::Match, names.iter().map(|name| (*name).to_owned()).collect()), "{len}");
    }
    assert_eq!(at_end(bytes.len()).1, ["sni", "alpn", "version", "ja4"]);
}

#[test]
fn ssl2_hellos_are_known_when_their_lengths_agree() {
    let hello = b"\x80\x2b\x01\x03\x01\x00\x12\x00\x00\x00\x10";
    let outcomes = sweep(hello);
    assert_eq!(outcomes[11].verdict, Verdict::Match);
    assert!(matches!(outcomes[10].verdict, Verdict::NeedMore(11)));
    assert_eq!(tls().decide(hello).fact("version").as_deref(), Some("1.0"));
    let pure = b"\x80\x3b\x01\x00\x02\x00\x12\x00\x10\x00\x10";
    assert_eq!(tls().decide(pure).fact("version").as_deref(), Some("ssl2"));
    for (at, wrong, known) in [
        (0, 0x82, 1), // longer than any
        (1, 0x1b, 2), // shorter than any
        (2, 2, 3),    // another message
        (3, 1, 4),
        (3, 0, 5), // 0.1
        (4, 5, 5),
        (5, 1, 6),  // more ciphers than there are bytes
        (6, 19, 7), // not a multiple of three
        (6, 30, 7), // no room for the challenge
        (7, 1, 8),
        (8, 16, 9),   // then the challenge would be empty
        (10, 17, 11), // one more than is left
    ] {
        let mut bytes = *hello;
        bytes[at] = wrong;
        rejected(&bytes, known);
    }
}

/// Lists as JA4's description writes them: numbers in hexadecimal with commas.
fn list(text: &str) -> Vec<u16> {
    text.split(',').map(|value| u16::from_str_radix(value, 16).unwrap()).collect()
}

/// The fingerprint of a hello with these suites, extensions and signature algorithms.
fn ja4(suites: &[u16], extensions: &[u16], signatures: &[u16], alpn: &[u8]) -> Option<String> {
    let two_bytes = |values: &[u16]| -> Vec<u8> { values.iter().flat_map(|value| value.to_be_bytes()).collect() };
    let with_length = |bytes: &[u8]| [&(bytes.len() as u16).to_be_bytes()[..], bytes].concat();
    let extensions: Vec<_> = extensions
        .iter()
        .map(|kind| {
            let data = match kind {
                0 => sni(b"www.example.org"),
                13 => with_length(&two_bytes(signatures)),
                16 => with_length(&[&[alpn.len() as u8], alpn].concat()),
                43 => vec![6, 0x1a, 0x1a, 3, 4, 3, 3],
                _ => vec![0; 5],
            };
            [&kind.to_be_bytes()[..], &with_length(&data)].concat()
        })
        .collect();
    let body =
        [&[3, 3], &[0xaa; 32][..], &[0], &with_length(&two_bytes(suites)), &[1, 0], &with_length(&extensions.concat())];
    let decided = tls().decide(&message(&body.concat()));
    assert_eq!(decided.verdict, Verdict::Match);
    decided.fact("ja4")
}

/// The lists of the example in JA4's description.
const SUITES: &str = "1301,1302,1303,c02b,c02f,c02c,c030,cca9,cca8,c013,c014,009c,009d,002f,0035";
const EXTENSIONS: &str = "001b,0000,0033,0010,4469,0017,002d,000d,0005,0023,0012,002b,ff01,000b,000a,0015";
const SIGNATURES: &str = "0403,0804,0401,0503,0805,0501,0806,0601";

#[test]
fn the_example_of_ja4s_description_has_its_fingerprint_in_any_order_and_with_grease() {
    let (suites, extensions, signatures) = (list(SUITES), list(EXTENSIONS), list(SIGNATURES));
    let expected = Some("t13d1516h2_8daaf6152771_e5627efa2ab1".to_owned());
    assert_eq!(ja4(&suites, &extensions, &signatures, b"h2"), expected);
    let reversed = |values: &[u16]| values.iter().rev().copied().collect::<Vec<_>>();
    assert_eq!(ja4(&reversed(&suites), &reversed(&extensions), &signatures, b"h2"), expected);
    let grease = |values: &[u16]| [&[0xfafa], values, &[0x0a0a]].concat();
    assert_eq!(ja4(&grease(&suites), &grease(&extensions), &grease(&signatures), b"h2"), expected);
    // Signature algorithms keep their order.
    assert_ne!(ja4(&suites, &extensions, &reversed(&signatures), b"h2"), expected);
}

#[test]
fn parts_of_a_fingerprint_that_are_empty_are_zeros() {
    let no_extensions = tls().decide(&hello(&[])).fact("ja4");
    assert_eq!(no_extensions.as_deref(), Some("t12i010000_0f2cb44170f4_000000000000"));
    // The name and the protocols count, but are no part of the hash; GREASE does not even count.
    let only_grease = ja4(&[0x1a1a], &[0, 16, 0x2a2a], &[], b"h2");
    assert_eq!(only_grease.as_deref(), Some("t12d0002h2_000000000000_000000000000"));
    // SHA-256 of `0005,0017`, without an underscore behind it.
    let no_signatures = ja4(&list(SUITES), &[0x17, 5], &[], b"");
    assert_eq!(no_signatures.as_deref(), Some("t12i150200_8daaf6152771_b514ece70b5c"));
}

#[test]
fn a_fingerprint_has_two_letters_of_the_first_protocol() {
    let letters = |name: &[u8]| ja4(&[0x1301], &[16], &[], name).unwrap()[8..10].to_owned();
    let expected: [(&[u8], &str); 9] = [
        (b"h2", "h2"),
        (b"http/1.1", "h1"),
        (b"x", "xx"),
        (b"\xab", "ab"),
        (b"\xab\xcd", "ad"),
        (b"0\xab", "3b"),
        (b"01\xab\xcd", "3d"),
        (b"0\xab\xcd1", "01"),
        (b"\x8a\x8a", "00"), // GREASE, and no other
    ];
    for (name, two) in expected {
        assert_eq!(letters(name), two, "{}", name.escape_ascii());
    }
}

#[test]
fn a_fingerprint_counts_to_99_and_has_limits() {
    let values = |count: u16| (0x3000..0x3000 + count).collect::<Vec<_>>();
    let count =
        |suites, extensions| ja4(&values(suites), &values(extensions), &[], b"").map(|text| text[4..8].to_owned());
    assert_eq!(count(99, 3).as_deref(), Some("9903"));
    assert_eq!(count(105, 3).as_deref(), Some("9903"));
    assert_eq!(count(106, 3), None);
    assert_eq!(count(1000, 3), None);
    assert_eq!(count(1, 32).as_deref(), Some("0132"));
    assert_eq!(count(1, 33), None);
    assert!(ja4(&values(67), &[13], &values(40), b"").is_some());
    assert_eq!(ja4(&values(68), &[13], &values(40), b""), None);
    assert_eq!(ja4(&[0x1301], &[13], &values(2000), b""), None);
}

#[test]
fn signature_algorithms_have_to_be_a_list() {
    for wrong in [&[][..], &[0, 0], &[0, 1, 4], &[0, 2, 4], &[0, 2, 4, 3, 0]] {
        assert_eq!(tls().decide(&hello(&[(13, wrong)])).verdict, Verdict::Reject, "{wrong:?}");
    }
}

#[test]
fn the_hash_is_sha_256() {
    let hash = |bytes: &[u8]| {
        let mut text = crate::sha256::Text::<192>::new();
        bytes.iter().for_each(|byte| text.push([*byte]));
        text.hash()
    };
    // The examples of FIPS 180-4 and the text that fills a block but for its padding.
    assert_eq!(hash(b""), [0xe3, 0xb0, 0xc4, 0x42, 0x98, 0xfc, 0x1c, 0x14]);
    assert_eq!(hash(b"abc"), [0xba, 0x78, 0x16, 0xbf, 0x8f, 0x01, 0xcf, 0xea]);
    let two_blocks = b"abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq";
    assert_eq!(hash(two_blocks), [0x24, 0x8d, 0x6a, 0x61, 0xd2, 0x06, 0x38, 0xb8]);
    for (len, expected) in [
        (55, [0x9f, 0x43, 0x90, 0xf8, 0xd3, 0x0c, 0x2d, 0xd9]),
        (56, [0xb3, 0x54, 0x39, 0xa4, 0xac, 0x6f, 0x09, 0x48]),
        (63, [0x7d, 0x3e, 0x74, 0xa0, 0x5d, 0x7d, 0xb1, 0x5b]),
        (64, [0xff, 0xe0, 0x54, 0xfe, 0x7a, 0xe0, 0xcb, 0x6d]),
        (119, [0x31, 0xeb, 0xa5, 0x1c, 0x31, 0x3a, 0x5c, 0x08]),
        (120, [0x2f, 0x3d, 0x33, 0x54, 0x32, 0xc7, 0x0b, 0x58]),
    ] {
        assert_eq!(hash(&vec![b'a'; len]), expected, "{len}");
    }
}

#[test]
fn nothing_is_claimed_without_reason() {
    for byte in [0, 0x16, 0x80, 0xff] {
        assert_eq!(tls().decide(&[byte; 64]).verdict, Verdict::Reject, "{byte:#x}");
    }
    assert_eq!(tls().classify(Input::new(b"")).verdict, Verdict::NeedMore(1));
}
