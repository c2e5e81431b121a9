//! Ten thousand clients that say nothing: they cost little, end on time, and a real client is served at once.

use std::time::{Duration, Instant};

use crate::support::config::{LISTEN, service, to};
use crate::support::process::raise_own_nofile;
use crate::support::{Backend, Portsplit, Socket, assert_took, eventually_within, report, tools};

const SILENT: usize = 10_000;
const TIMEOUT_MS: u64 = 12_000;

#[test]
fn ten_thousand_silent_clients_do_not_keep_a_real_one_waiting() {
    let own = raise_own_nofile();
    if (own as usize) < SILENT + 1500 {
        tools::skip(&format!("{SILENT} connections need more than the hard limit of {own} open files"));
        return;
    }
    let web = Backend::tag("web");
    let globals = format!("timeout = \"{TIMEOUT_MS}ms\"\nmax_connections = 15000\nmax_undecided = 12000\n");
    let timeout = service("timeout", "", "close = true");
    let portsplit = Portsplit::start(&format!("{globals}{LISTEN}{}{timeout}", to(&web, "web", "prefix = 'GET '")));
    let process = portsplit.process();
    let baseline = process.fds();
    let rss_before = process.rss_kib();

    let opening = Instant::now();
    let silent: Vec<Socket> = (0..SILENT).map(|_| portsplit.client()).collect();
    let opened = opening.elapsed();
    eventually_within(Duration::from_secs(5), "all are accepted", || process.fds() >= baseline + SILENT);
    assert!(opened < Duration::from_millis(TIMEOUT_MS - 1000), "opening took {opened:?}: the first are about to end");
    let grown = process.rss_kib().saturating_sub(rss_before);
    let each = grown as f64 / SILENT as f64;

    for _ in 0..20 {
        let started = Instant::now();
        assert_eq!(portsplit.client_sending("GET /").receive_line(), "web");
        assert_took("the real client", started.elapsed(), 0, 300);
    }
    let cpu = process.cpu();
    let idle = Instant::now();
    let left = Duration::from_millis(TIMEOUT_MS).saturating_sub(opening.elapsed() + Duration::from_millis(500));
    std::thread::sleep(left.min(Duration::from_secs(2)));
    let used = process.cpu() - cpu;
    report(&format!(
        "{SILENT} silent connections: opened in {opened:.1?}, {each:.2} KiB each, {used:?} of processor time in {:.1?}",
        idle.elapsed()
    ));
    assert!(each <= 8.0, "one silent connection takes {each:.1} KiB");
    assert!(used <= Duration::from_millis(200), "idle connections cost {used:?} of processor time");

    for client in &silent {
        client.assert_closed_without_a_byte();
    }
    assert_took("the last of them", opening.elapsed(), TIMEOUT_MS, TIMEOUT_MS + opened.as_millis() as u64 + 1500);
    drop(silent);
    let log = portsplit.log();
    eventually_within(Duration::from_secs(10), "every end is logged", || {
        log.count(|line| line.message() == "connection" && line.field("service") == "timeout") == SILENT
    });
    let ended: Vec<u64> =
        log.lines().iter().filter(|line| line.field("service") == "timeout").map(|line| line.decide_ms()).collect();
    let (first, last) = (ended.iter().min().unwrap(), ended.iter().max().unwrap());
    report(&format!("{SILENT} silent connections: decided after {first} to {last} ms, due at {TIMEOUT_MS} ms"));
    assert!(*first >= TIMEOUT_MS && *last <= TIMEOUT_MS + 1000, "decided after {first} to {last} ms");
    portsplit.assert_back_to(baseline);
    let process_left = portsplit.process().threads().len();
    assert!(process_left <= 32, "{process_left} threads");
}
