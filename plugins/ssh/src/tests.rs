#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

use portsplit_plugin_sdk::native::{Configured, Decided};
use portsplit_plugin_sdk::prelude::*;

/// The line that OpenSSH 9.2 of Debian 12 sent to a loopback listener, and the beginning of a key exchange.
const OPENSSH: &[u8] = b"SSH-2.0-OpenSSH_9.2p1 Debian-2+deb12u10\r\n\x00\x00\x05\xd4\x07\x14";

fn ssh() -> Configured {
    crate::portsplit_plugin().configure("{}").unwrap()
}

fn decide(bytes: &[u8]) -> Decided {
    ssh().decide(bytes)
}

#[track_caller]
fn rejected(bytes: &[u8], at: usize) {
    let decided = decide(bytes);
    assert_eq!((decided.verdict, decided.at), (Verdict::Reject, at), "{}", bytes.escape_ascii());
}

#[test]
fn a_real_client_is_known_at_the_end_of_its_line() {
    let decided = decide(OPENSSH);
    assert_eq!((decided.verdict, decided.at), (Verdict::Match, 41));
    assert_eq!(decided.fact("version").as_deref(), Some("2.0"));
    assert_eq!(decided.fact("software").as_deref(), Some("OpenSSH_9.2p1"));
}

#[test]
fn every_prefix_waits_for_the_next_byte_and_later_ones_change_nothing() {
    let ssh = ssh();
    for n in 0..41 {
        assert_eq!(ssh.classify(Input::new(&OPENSSH[..n])).verdict, Verdict::NeedMore(n + 1), "{n} bytes");
        let last = Input { half_closed: true, ..Input::new(&OPENSSH[..n]) };
        let expected = if n > 8 { Verdict::Match } else { Verdict::Reject };
        assert_eq!(ssh.classify(last).verdict, expected, "{n} bytes");
    }
    let whole = ssh.classify(Input::new(OPENSSH));
    for n in 41..OPENSSH.len() {
        assert_eq!(ssh.classify(Input::new(&OPENSSH[..n])), whole, "{n} bytes");
    }
}

#[test]
fn each_wrong_byte_of_the_fixed_part_rejects_at_that_byte() {
    for at in 0..8 {
        let mut bytes = OPENSSH.to_vec();
        bytes[at] = b'!';
        rejected(&bytes, at + 1);
    }
}

#[test]
fn near_misses_reject_at_the_byte_that_tells() {
    rejected(b"ssh-2.0-x\r\n", 1);
    rejected(b"SSH-0.9-x\r\n", 5);
    rejected(b"SSH-2.x-x\r\n", 7);
    rejected(b"SSH-1.999-x\r\n", 9);
    rejected(b"SSH-2.0-\r\n", 9);
    rejected(b"SSH-2.0- comment\r\n", 9);
    rejected(b"SSH-2.0-a\0b\r\n", 10);
    rejected(b"SSH-2.0-a\rb\n", 11);
    rejected(b"SSH-2.0-a\tb\n", 10);
    rejected(b"\nSSH-2.0-a\r\n", 1);
}

#[test]
fn old_versions_bare_lf_minus_signs_and_utf8_comments_are_known() {
    for (line, version, software) in [
        ("SSH-1.99-Cisco-1.25\n", "1.99", "Cisco-1.25"),
        ("SSH-1.5-1.2.27\n", "1.5", "1.2.27"),
        ("SSH-2.0-libssh-0.6.3\r\n", "2.0", "libssh-0.6.3"),
        ("SSH-2.0-x größe\r\n", "2.0", "x"),
    ] {
        let decided = decide(line.as_bytes());
        assert_eq!((decided.verdict, decided.at), (Verdict::Match, line.len()), "{line}");
        assert_eq!(decided.fact("version").as_deref(), Some(version));
        assert_eq!(decided.fact("software").as_deref(), Some(software));
    }
}

#[test]
fn the_longest_line_has_255_bytes() {
    let line = |len: usize| [b"SSH-2.0-".as_slice(), &vec![b'a'; len - 10], b"\r\n"].concat();
    let decided = decide(&line(255));
    assert_eq!((decided.verdict, decided.at), (Verdict::Match, 255));
    // The last byte that could have been the LF is a CR.
    for longer in [line(256), [b"SSH-2.0-".as_slice(), &[b'a'; 9000]].concat()] {
        let decided = decide(&longer);
        assert_eq!((decided.verdict, decided.at), (Verdict::Match, 255));
        assert_eq!(decided.fact("software"), None);
    }
}
