//! Options of TCP sockets: what the file says is what the kernel has, for listeners, accepted sockets and upstreams, and
//! what the kernel refuses is refused at the start or the reload, by name.

use std::io::{Read, Write};
use std::os::fd::{AsRawFd, OwnedFd};
use std::time::Duration;

use rustix::net::sockopt;
use socket2::SockRef;

use crate::relay::wait_until_blocked;
use crate::support::backend::{Refused, discard};
use crate::support::client::End;
use crate::support::config::{LISTEN, all_to, all_to_with, service, to};
use crate::support::portsplit::{is_failed_reload, run_config};
use crate::support::{Backend, Portsplit, Socket, eventually, tools};

/// What the tests look at of a socket.
#[derive(Debug, PartialEq)]
struct Seen {
    nodelay: bool,
    /// Idle time and time between probes in seconds, and their number; `None` if it is off.
    keepalive: Option<(u64, u64, u32)>,
    congestion: String,
    user_timeout_ms: u32,
    mark: u32,
    device: Option<Vec<u8>>,
}

impl Seen {
    fn of(socket: &OwnedFd) -> Seen {
        let seconds = |duration: rustix::io::Result<Duration>| duration.unwrap().as_secs();
        let keepalive = sockopt::socket_keepalive(socket).unwrap().then(|| {
            let (idle, between) = (sockopt::tcp_keepidle(socket), sockopt::tcp_keepintvl(socket));
            (seconds(idle), seconds(between), sockopt::tcp_keepcnt(socket).unwrap())
        });
        Seen {
            nodelay: sockopt::tcp_nodelay(socket).unwrap(),
            keepalive,
            congestion: sockopt::tcp_congestion(socket).unwrap(),
            user_timeout_ms: sockopt::tcp_user_timeout(socket).unwrap(),
            mark: SockRef::from(socket).mark().unwrap(),
            device: SockRef::from(socket).device().unwrap(),
        }
    }
}

fn peer_of(socket: &OwnedFd) -> String {
    SockRef::from(socket).peer_addr().ok().and_then(|addr| addr.as_socket()).map_or(String::new(), |a| a.to_string())
}

/// The socket of `portsplit` that is connected to `address`.
fn connected_to(portsplit: &Portsplit, address: &str) -> OwnedFd {
    portsplit.process().socket(|socket| peer_of(socket) == address).expect("it has such a connection")
}

fn listening(portsplit: &Portsplit) -> OwnedFd {
    let is_listening = |socket: &OwnedFd| {
        let socket = SockRef::from(socket);
        let address = socket.local_addr().ok().and_then(|addr| addr.as_socket());
        socket.is_listener().unwrap_or(false) && address.is_some_and(|it| it.to_string() == portsplit.address())
    };
    portsplit.process().socket(is_listening).expect("it listens")
}

/// How many fast connections may be incomplete at a listening socket.
fn fast_open_queue(socket: &OwnedFd) -> libc::c_int {
    let (mut value, mut length) = (0, size_of::<libc::c_int>() as libc::socklen_t);
    #[allow(unsafe_code)]
    // SAFETY: the descriptor is open, and the call writes at most `length` bytes to `value`.
    let result = unsafe {
        let to = (&raw mut value).cast();
        libc::getsockopt(socket.as_raw_fd(), libc::IPPROTO_TCP, libc::TCP_FASTOPEN, to, &raw mut length)
    };
    assert_eq!(result, 0);
    value
}

/// The congestion control of sockets that nobody chose one for.
fn usual_congestion() -> String {
    std::fs::read_to_string("/proc/sys/net/ipv4/tcp_congestion_control").unwrap().trim().to_owned()
}

#[test]
fn without_options_sockets_send_small_writes_at_once_and_clients_are_probed() {
    let backend = Backend::echo();
    let portsplit = Portsplit::start(&all_to(&backend));
    let client = portsplit.client_sending(">");
    assert_eq!(client.receive(1), b">");
    let usual = |nodelay, keepalive| Seen {
        nodelay,
        keepalive,
        congestion: usual_congestion(),
        user_timeout_ms: 0,
        mark: 0,
        device: None,
    };
    let probed = Some((300, 50, 6));
    assert_eq!(Seen::of(&listening(&portsplit)), usual(true, probed));
    assert_eq!(Seen::of(&connected_to(&portsplit, &client.local())), usual(true, probed));
    let upstream = connected_to(&portsplit, backend.address());
    // The first write to an upstream waits for nothing, so the option comes with the second.
    assert_eq!(Seen::of(&upstream), usual(false, None));
    client.send("x");
    assert_eq!(client.receive(1), b"x");
    assert_eq!(Seen::of(&upstream), usual(true, None));
}

#[test]
fn sockets_are_set_up_as_the_file_says() {
    if !tools::are_root() {
        return;
    }
    let backend = Backend::echo();
    let listener = "[[listen]]\naddress = \"127.0.0.1:0\"\nsocket = { nodelay = false, keepalive = \"12s\", \
                    congestion = \"reno\", user_timeout = \"7s\", fast_open = true, mark = 5, device = \"lo\" }\n";
    let all = to(&backend, "all", "prefix = '>'");
    let upstream = "socket.nodelay = false\nsocket.keepalive = \"3s\"\nsocket.congestion = \"reno\"\n\
                    socket.user_timeout = \"9s\"\nsocket.mark = 4294967295\nsocket.device = \"lo\"\n";
    let portsplit = Portsplit::start(&format!("{listener}{all}{upstream}"));
    let client = portsplit.client_sending(">");
    assert_eq!(client.receive(1), b">");
    client.send("x");
    assert_eq!(client.receive(1), b"x");
    let device = Some(b"lo".to_vec());
    let accepted = || Seen {
        nodelay: false,
        keepalive: Some((12, 2, 6)),
        congestion: "reno".to_owned(),
        user_timeout_ms: 7_000,
        mark: 5,
        device: device.clone(),
    };
    let listening = listening(&portsplit);
    assert_eq!(Seen::of(&listening), accepted());
    assert_eq!(fast_open_queue(&listening), 256);
    assert_eq!(Seen::of(&connected_to(&portsplit, &client.local())), accepted());
    let opened = Seen { keepalive: Some((3, 1, 6)), user_timeout_ms: 9_000, mark: u32::MAX, ..accepted() };
    assert_eq!(Seen::of(&connected_to(&portsplit, backend.address())), opened);
}

#[test]
fn urgent_data_of_a_client_stays_in_its_place() {
    let backend = Backend::echo();
    let portsplit = Portsplit::start(&all_to(&backend));
    let client = portsplit.client_sending(">");
    assert_eq!(client.receive(1), b">");
    let Socket::Tcp(tcp) = &client else { panic!("the client is TCP") };
    for _ in 0..50 {
        client.send("ab");
        rustix::net::send(tcp, b"!", rustix::net::SendFlags::OOB).unwrap();
        client.send("cd");
        assert_eq!(client.receive(5), b"ab!cd");
    }
}

#[test]
fn urgent_data_of_an_upstream_stays_in_its_place() {
    let backend = Backend::tcp(|socket| {
        let Socket::Tcp(tcp) = &socket else { panic!("the backend is TCP") };
        while let Ok(1) = (&mut &socket).read(&mut [0]) {
            socket.send("ab");
            rustix::net::send(tcp, b"!", rustix::net::SendFlags::OOB).unwrap();
            socket.send("cd");
        }
    });
    for way in ["auto", "always", "never"] {
        let portsplit = Portsplit::start(&all_to_with(&format!("splice = \"{way}\""), &backend));
        let client = portsplit.client();
        for _ in 0..50 {
            client.send(">");
            assert_eq!(client.receive(5), b"ab!cd", "{way}");
        }
    }
}

#[test]
fn a_peer_that_vanishes_is_not_taken_for_one_that_has_finished() {
    if !tools::are_root() || !tools::have(&["ip"]) {
        return;
    }
    enter_own_network(0);
    tools::run("ip", &["addr", "add", "10.0.0.2/32", "dev", "lo"]);
    let backend = Backend::tcp_on("10.0.0.2:0", |socket| while (&mut &socket).write(&[b'x'; 65536]).is_ok() {});
    let portsplit =
        Portsplit::start(&format!("{}\nsocket.keepalive = \"1s\"\nsocket.user_timeout = \"1s\"\n", all_to(&backend)));
    let client = portsplit.client_sending(">");
    let upstream = format!("0200000A:{:04X}", backend.port());
    let is_connected = || {
        let table = std::fs::read_to_string("/proc/thread-self/net/tcp").unwrap();
        table.lines().any(|line| line.split_whitespace().nth(2) == Some(&upstream))
    };
    // The client takes nothing, so neither does the relay: nobody reads the upstream when it vanishes.
    wait_until_blocked(&portsplit, std::slice::from_ref(&client));
    assert!(is_connected());
    tools::run("ip", &["addr", "del", "10.0.0.2/32", "dev", "lo"]);
    eventually("the system has given the upstream up", || !is_connected());
    assert_eq!(client.drain().1, End::Reset, "a cut answer looks complete");
}

#[test]
fn what_the_system_refuses_is_an_error_at_the_start() {
    let connect = |socket: &str| service("all", "prefix = '>'", &format!("connect = \"127.0.0.1:1\"\n{socket}"));
    let listen = |socket: &str| format!("[[listen]]\naddress = \"127.0.0.1:0\"\n{socket}\n{}", connect(""));
    for (config, expected) in [
        (
            listen("socket.congestion = \"no-such-cc\""),
            "cannot listen on 127.0.0.1:0: the system refuses `congestion = no-such-cc`: No such file or directory \
             (os error 2); `sysctl net.ipv4.tcp_available_congestion_control` lists what there is",
        ),
        (
            listen("socket.device = \"no-such-if0\""),
            "cannot listen on 127.0.0.1:0: the system refuses `device = no-such-if0`: No such device (os error 19); \
             `ip link` lists the interfaces there are",
        ),
        (
            format!("{LISTEN}{}", connect("socket.congestion = \"no-such-cc\"")),
            "cannot connect for the service `all`: the system refuses `congestion = no-such-cc`",
        ),
    ] {
        let output = run_config(&config);
        assert_eq!(output.code, Some(1), "{}", output.stderr);
        assert!(output.stderr.contains(expected), "{}", output.stderr);
    }
    if tools::are_root() {
        let output = run_config(&format!("user = \"nobody\"\n{LISTEN}{}", connect("socket.mark = 1")));
        let expected = "the system refuses `mark = 1`: Operation not permitted (os error 1); it takes CAP_NET_ADMIN";
        assert!(output.code == Some(1) && output.stderr.contains(expected), "{}", output.stderr);
    }
}

#[test]
fn a_reload_to_options_that_are_refused_changes_nothing() {
    let backend = Backend::echo();
    let portsplit = Portsplit::start(&all_to(&backend));
    let line = portsplit.reload(&format!("{}socket.congestion = \"no-such-cc\"\n", all_to(&backend)));
    assert!(is_failed_reload(&line), "{}", line.text());
    assert!(line.text().contains("no-such-cc"), "{}", line.text());
    assert_eq!(portsplit.client_sending(">").receive(1), b">");
    let same = to(&backend, "all", "prefix = '>'");
    let changed = format!("[[listen]]\naddress = \"127.0.0.1:0\"\nsocket.keepalive = \"7s\"\n{same}");
    let from = portsplit.log().len();
    assert!(!is_failed_reload(&portsplit.reload(&changed)));
    portsplit.wait_for_line_after(from, "the socket stays as it is, and that is said", |line| {
        line.text().contains("next start") && line.text().contains("socket")
    });
    assert_eq!(Seen::of(&listening(&portsplit)).keepalive, Some((300, 50, 6)));
}

/// Moves this thread, and what it starts from now on, into a network of its own in which fast open is set to `mode`.
fn enter_own_network(mode: u32) {
    #[allow(unsafe_code)]
    // SAFETY: takes an integer and changes nothing but the network that this thread sees.
    let result = unsafe { libc::unshare(libc::CLONE_NEWNET) };
    assert_eq!(result, 0, "{}", std::io::Error::last_os_error());
    tools::run("ip", &["link", "set", "lo", "up"]);
    std::fs::write("/proc/sys/net/ipv4/tcp_fastopen", mode.to_string()).unwrap();
}

/// The counter `name` of the network that this thread is in.
fn counter(name: &str) -> u64 {
    let text = std::fs::read_to_string("/proc/thread-self/net/netstat").unwrap();
    let mut lines = text.lines().filter(|line| line.starts_with("TcpExt:"));
    let (names, values) = (lines.next().unwrap(), lines.next().unwrap());
    let at = names.split(' ').position(|known| known == name).unwrap_or_else(|| panic!("there is no {name}"));
    values.split(' ').nth(at).unwrap().parse().unwrap()
}

#[test]
fn fast_open_sends_the_first_flight_with_the_first_packet_and_survives_a_refusal() {
    if !tools::are_root() || !tools::have(&["ip"]) {
        return;
    }
    // For clients and servers, without the cookie that they exchange at first.
    enter_own_network(0x207);
    let backend = Backend::tcp(|socket| {
        let got = socket.receive(6);
        socket.send(&got);
        discard(&socket);
    });
    let accepts_fast = service("all", "prefix = '>'", &format!("connect = \"{}\"", backend.address()));
    let behind =
        Portsplit::start(&format!("[[listen]]\naddress = \"127.0.0.1:0\"\nsocket.fast_open = true\n{accepts_fast}"));
    let refused = Refused::new();
    let list = format!("connect = [\"{}\", \"{}\"]\nsocket.fast_open = true", refused.address(), behind.address());
    let portsplit = Portsplit::start(&format!("{LISTEN}{}", service("all", "prefix = '>'", &list)));
    for round in 1..=20 {
        let client = portsplit.client_sending(">hello");
        assert_eq!(client.receive(6), b">hello");
        assert!(counter("TCPFastOpenPassive") >= round, "round {round}: nothing was taken from a first packet");
        assert!(counter("TCPFastOpenActive") >= round, "round {round}: nothing went along with a first packet");
        drop(client);
    }
    eventually("every connection has ended", || {
        portsplit.log().count(|line| line.message() == "connection" && line.number("bytes_in") == 6) == 20
    });
}

#[test]
fn fast_open_that_the_system_does_not_allow_is_refused() {
    if !tools::are_root() || !tools::have(&["ip"]) {
        return;
    }
    enter_own_network(0);
    let all = service("all", "prefix = '>'", "connect = \"127.0.0.1:1\"\nsocket.fast_open = true");
    let output = run_config(&format!("{LISTEN}{all}"));
    let expected = "cannot connect for the service `all`: the system refuses `fast_open = true`";
    assert!(output.code == Some(1) && output.stderr.contains(expected), "{}", output.stderr);
    assert!(output.stderr.contains("this machine has fast open off for clients"), "{}", output.stderr);
}
