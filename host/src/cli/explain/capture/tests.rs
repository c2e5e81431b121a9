#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

mod files;

use proptest::prelude::*;

use self::files::{
    ACK, CLIENT, FIN, Packet, SERVER, SYN, ethernet, linux_cooked, linux_cooked_2, loopback, pcap, pcapng,
};
use super::*;

const MOST: usize = 64;

fn read(file: &[u8]) -> Capture {
    Capture::read(file, MOST).unwrap()
}

fn error(file: &[u8]) -> String {
    format!("{:#}", Capture::read(file, MOST).unwrap_err())
}

/// The only connection of a capture of Ethernet packets.
fn only(packets: &[Packet<'_>]) -> Flow {
    let frames: Vec<Vec<u8>> = packets.iter().map(|packet| ethernet(&packet.ip())).collect();
    let mut flows = read(&pcap(1, &frames)).flows;
    assert_eq!(flows.len(), 1, "{flows:?}");
    flows.pop().unwrap()
}

fn client(number: u32, payload: &[u8]) -> Packet<'_> {
    Packet { from: CLIENT, to: SERVER, number, flags: ACK, payload }
}

fn server(number: u32, payload: &[u8]) -> Packet<'_> {
    Packet { from: SERVER, to: CLIENT, number, flags: ACK, payload }
}

/// The handshake of a client whose first byte has number 1000.
fn handshake() -> [Packet<'static>; 3] {
    [Packet { flags: SYN, ..client(999, b"") }, Packet { flags: SYN | ACK, ..server(4_999, b"") }, client(1_000, b"")]
}

fn after_handshake<'a>(packets: &[Packet<'a>]) -> Flow {
    let mut all: Vec<Packet<'a>> = handshake().to_vec();
    all.extend_from_slice(packets);
    only(&all)
}

#[test]
fn the_client_is_who_opened_the_connection() {
    let flow = after_handshake(&[client(1_000, b"GET "), server(5_000, b"HTTP"), client(1_004, b"/\r\n")]);
    let want = Flow {
        client: CLIENT,
        server: SERVER,
        flight: b"GET /\r\n".to_vec(),
        from_start: true,
        incomplete: false,
        half_closed: false,
        server_spoke_after: Some(4),
    };
    assert_eq!(flow, want);
}

#[test]
fn a_client_with_the_lower_port_is_still_the_client() {
    let (low, high) = ("10.0.0.1:80".parse().unwrap(), "10.0.0.2:50000".parse().unwrap());
    let packet = |flags, number, payload| Packet { from: low, to: high, number, flags, payload };
    let flow = only(&[packet(SYN, 7, b""), packet(ACK, 8, b"hi")]);
    assert_eq!((flow.client, flow.flight.as_slice(), flow.from_start), (low, &b"hi"[..], true));
}

#[test]
fn the_answer_to_a_handshake_is_enough_to_know_the_client() {
    let answer = Packet { flags: SYN | ACK, ..server(4_999, b"") };
    let flow = only(&[answer, client(1_002, b"cd"), client(1_000, b"ab")]);
    assert_eq!((flow.client, flow.flight.as_slice()), (CLIENT, &b"abcd"[..]));
}

#[test]
fn without_a_handshake_the_lower_port_is_the_server() {
    let flow = only(&[server(5_000, b"220"), client(1_000, b"EHLO")]);
    assert_eq!((flow.client, flow.server, flow.from_start), (CLIENT, SERVER, false));
    assert_eq!((flow.flight.as_slice(), flow.server_spoke_after), (&b"EHLO"[..], Some(0)));
}

#[test]
fn segments_are_put_in_order_and_doubles_count_once() {
    let flow = after_handshake(&[
        client(1_004, b"efgh"),
        client(1_000, b"ab"),
        client(1_002, b"cdXX"),
        client(1_000, b"ZZ"),
        client(1_008, b"ij"),
    ]);
    assert_eq!((flow.flight.as_slice(), flow.incomplete), (&b"abcdXXghij"[..], false));
}

#[test]
fn sequence_numbers_wrap_around() {
    let start = u32::MAX - 1;
    let open = Packet { flags: SYN, ..client(start.wrapping_sub(1), b"") };
    let flow = only(&[open, client(start.wrapping_add(4), b"ef"), client(start, b"abcd")]);
    assert_eq!(flow.flight, b"abcdef");
}

#[test]
fn a_missing_segment_ends_the_first_flight() {
    let flow = after_handshake(&[client(1_000, b"ab"), client(1_004, b"ef")]);
    assert_eq!((flow.flight.as_slice(), flow.incomplete), (&b"ab"[..], true));
}

#[test]
fn a_packet_that_was_cut_at_capture_ends_the_first_flight() {
    let mut frames: Vec<Vec<u8>> = handshake().iter().map(|packet| ethernet(&packet.ip())).collect();
    let mut cut = ethernet(&client(1_000, b"abcdef").ip());
    cut.truncate(cut.len() - 2);
    frames.push(cut);
    let flows = read(&pcap(1, &frames)).flows;
    assert_eq!((flows[0].flight.as_slice(), flows[0].incomplete), (&b"abcd"[..], true));
}

#[test]
fn a_half_close_is_told_only_after_all_bytes() {
    let fin = Packet { flags: FIN | ACK, ..client(1_002, b"cd") };
    assert!(after_handshake(&[client(1_000, b"ab"), fin]).half_closed);
    assert!(after_handshake(&[fin, client(1_000, b"ab")]).half_closed);
    let flow = after_handshake(&[fin]);
    assert_eq!((flow.half_closed, flow.incomplete), (false, true));
    assert!(after_handshake(&[Packet { flags: FIN | ACK, ..client(1_000, b"") }]).half_closed);
}

#[test]
fn an_acknowledgement_after_a_half_close_is_no_missing_byte() {
    let fin = Packet { flags: FIN | ACK, ..client(1_000, b"ab") };
    let flow = after_handshake(&[fin, server(5_000, b"bye"), client(1_003, b"")]);
    assert_eq!((flow.half_closed, flow.incomplete, flow.flight.as_slice()), (true, false, &b"ab"[..]));
}

#[test]
fn bytes_sent_with_the_opening_packet_count() {
    let flow = only(&[Packet { flags: SYN, ..client(999, b"ab") }, client(1_002, b"cd")]);
    assert_eq!(flow.flight, b"abcd");
}

#[test]
fn a_repeated_opening_is_the_same_connection_and_a_new_one_is_another() {
    let again = handshake()[0];
    let flow = only(&[again, again, client(1_000, b"ab")]);
    assert_eq!(flow.flight, b"ab");
    let new = Packet { flags: SYN, ..client(70_000, b"") };
    let packets = [again, client(1_000, b"ab"), new, client(70_001, b"xy")];
    let frames: Vec<Vec<u8>> = packets.iter().map(|packet| ethernet(&packet.ip())).collect();
    let flights: Vec<Vec<u8>> = read(&pcap(1, &frames)).flows.into_iter().map(|flow| flow.flight).collect();
    assert_eq!(flights, [b"ab", b"xy"]);
}

#[test]
fn no_more_is_kept_than_a_first_flight_may_have() {
    let long = [b'x'; 100];
    let flow = after_handshake(&[client(1_000, &long), client(1_100, &long)]);
    assert_eq!((flow.flight.len(), flow.incomplete), (MOST, false));
    let behind_a_gap = after_handshake(&[client(1_001, &long), client(1_050, b"y")]);
    assert_eq!(behind_a_gap.flight.len(), 0);
}

#[test]
fn stray_packets_are_no_connection() {
    let frames = [ethernet(&client(5, b"").ip()), ethernet(&server(5, b"").ip())];
    assert!(read(&pcap(1, &frames)).flows.is_empty());
}

#[test]
fn packets_without_tcp_are_counted() {
    let mut udp = client(1, b"x").ip();
    udp[9] = 17;
    let mut fragment = client(1, b"x").ip();
    fragment[6] = 0x20;
    let mut arp = ethernet(&[0; 28]);
    arp[12..14].copy_from_slice(&[8, 6]);
    let frames = [ethernet(&udp), ethernet(&fragment), arp, vec![0; 3], ethernet(&client(1, b"x").ip())];
    let capture = read(&pcap(1, &frames));
    assert_eq!((capture.left_out.without_tcp, capture.flows.len()), (4, 1));
}

#[test]
fn every_kind_of_network_that_is_known_is_read() {
    let ip = client(1_000, b"hello").ip();
    let v6 = Packet {
        from: "[2001:db8::1]:50000".parse().unwrap(),
        to: "[::1]:443".parse().unwrap(),
        ..client(1, b"hello")
    };
    let mut tagged = ethernet(&ip);
    tagged.splice(12..12, [0x81, 0, 0, 7]);
    for (link, frame) in [
        (1_u16, ethernet(&ip)),
        (1, ethernet(&v6.ip())),
        (1, tagged),
        (101, ip.clone()),
        (12, v6.ip()),
        (228, ip.clone()),
        (229, v6.ip()),
        (0, loopback(&ip)),
        (108, loopback(&v6.ip())),
        (113, linux_cooked(&ip)),
        (276, linux_cooked_2(&v6.ip())),
    ] {
        let frames = [frame];
        for file in [pcap(link.into(), &frames), pcapng(link, &frames, false), pcapng(link, &frames, true)] {
            let flows = read(&file).flows;
            assert_eq!(flows.len(), 1, "link type {link}");
            assert_eq!(flows[0].flight, b"hello", "link type {link}");
        }
    }
}

#[test]
fn an_unknown_kind_of_network_is_an_error_with_its_number() {
    assert!(error(&pcap(105, &[vec![0; 60]])).contains("105"));
}

#[test]
fn connections_past_the_limit_are_left_out_and_counted() {
    let file = |flows: usize| {
        let frames: Vec<Vec<u8>> = (0..flows)
            .map(|flow| {
                let port = 10_000 + u16::try_from(flow).unwrap();
                ethernet(&Packet { from: SocketAddr::new(CLIENT.ip(), port), ..client(1, b"x") }.ip())
            })
            .collect();
        pcap(1, &frames)
    };
    let capture = read(&file(MAX_FLOWS));
    assert_eq!((capture.flows.len(), capture.left_out.past_limit), (MAX_FLOWS, 0));
    let capture = read(&file(MAX_FLOWS + 3));
    assert_eq!((capture.flows.len(), capture.left_out.past_limit), (MAX_FLOWS, 3));
}

#[test]
fn what_is_kept_in_all_is_limited() {
    const ROUND: usize = 60_000;
    let payload = vec![b'x'; ROUND];
    let mut builder = Builder::new(1 << 20);
    builder.links.push(Linktype(101));
    for port in 1_000..1_100 {
        for round in 0..17 {
            let from = SocketAddr::new(CLIENT.ip(), port);
            let number = u32::try_from(round * ROUND).unwrap();
            builder.packet(0, &Packet { from, ..client(number, &payload) }.ip()).unwrap();
        }
    }
    assert_eq!(builder.kept_bytes, MAX_KEPT_BYTES);
    let flows = builder.finish().unwrap().flows;
    assert_eq!(flows.iter().map(|flow| flow.flight.len()).sum::<usize>(), MAX_KEPT_BYTES);
    assert_eq!(flows.len(), 100);
    assert!(!flows[0].incomplete && flows[99].incomplete);
}

#[test]
fn blocks_that_are_larger_than_the_buffer_are_read_up_to_a_limit() {
    let frames = [vec![0; READ_BYTES * 3], ethernet(&client(1, b"hello").ip())];
    for file in [pcap(1, &frames), pcapng(1, &frames, false)] {
        assert_eq!(read(&file).flows.len(), 1);
    }
    let mut huge = pcap(1, &frames[1..]);
    huge[32..36].copy_from_slice(&0x7fff_ffff_u32.to_le_bytes());
    huge.resize(MAX_BLOCK_BYTES * 2, 0);
    assert!(error(&huge).contains("damaged"), "{}", error(&huge));
}

#[test]
fn files_that_are_no_captures_are_errors() {
    assert_eq!(error(b""), "it is empty");
    assert_eq!(error(b"GET / HTTP/1.1\r\nHost: example.org\r\n"), "it is neither pcap nor pcapng");
    let undescribed = {
        let mut file = pcapng(1, &[], false);
        let other = pcapng(1, &[ethernet(&client(1, b"x").ip())], false);
        // The interface's block is 20 bytes behind the section header's 28.
        file.truncate(28);
        file.extend_from_slice(&other[48..]);
        file
    };
    assert!(error(&undescribed).contains("interface"), "{}", error(&undescribed));
}

#[test]
fn every_file_that_is_cut_short_is_an_error_or_ends_between_packets() {
    let frames: Vec<Vec<u8>> = handshake().iter().map(|packet| ethernet(&packet.ip())).collect();
    for file in [pcap(1, &frames), pcapng(1, &frames, false)] {
        let whole = (0..file.len()).filter(|length| Capture::read(&file[..*length], MOST).is_ok()).count();
        // Behind the header, and behind every packet but the last; pcapng has a block for the interface besides.
        assert!((3..=4).contains(&whole), "{whole}");
    }
}

proptest! {
    #[test]
    fn damaged_files_never_panic(
        form in 0..3usize,
        damage in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
        cut in any::<prop::sample::Index>(),
    ) {
        let packets = [handshake()[0], handshake()[1], client(1_000, b"hello"), client(1_005, b"you")];
        let frames: Vec<Vec<u8>> = packets.iter().map(|packet| ethernet(&packet.ip())).collect();
        let mut file = match form {
            0 => pcap(1, &frames),
            1 => pcapng(1, &frames, false),
            _ => pcapng(1, &frames, true),
        };
        for (at, byte) in damage {
            let at = at.index(file.len());
            file[at] = byte;
        }
        let _ = Capture::read(file.as_slice(), MOST);
        let _ = Capture::read(&file[..cut.index(file.len())], MOST);
    }

    #[test]
    fn any_bytes_never_panic(mut bytes in proptest::collection::vec(any::<u8>(), 0..200), magic in 0..4usize) {
        let magics: [&[u8]; 4] = [b"", b"\xd4\xc3\xb2\xa1", b"\xa1\xb2\xc3\xd4", b"\x0a\x0d\x0d\x0a"];
        bytes.splice(0..0, magics[magic].iter().copied());
        let _ = Capture::read(bytes.as_slice(), MOST);
    }
}
