//! Hostile plugins in front of a normal service: every one fails by itself, and the clients of the port notice nothing.

use std::io::Read;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use super::guest::{Modules, classifier, start, with_buffer};
use crate::support::config::{LISTEN, service, to};
use crate::support::rng::Rng;
use crate::support::{Backend, Portsplit, Socket, report};

/// How long the port is under attack.
const LASTS: Duration = Duration::from_secs(10);

/// Connections a second that attack it.
const ATTACKS: u32 = 200;

/// Threads that attack.
const ATTACKERS: u32 = 4;

/// How long a normal client may have to wait while that goes on; without an attack it is a few milliseconds, and in a test
/// the machine is busy with others too.
const UNHURT: Duration = Duration::from_secs(1);

/// Name, module, and a word of the log line that must blame it; an empty word is for one that breaks no rule.
fn guests() -> Vec<(&'static str, Vec<u8>, &'static str)> {
    let grow = "(loop $more
        (global.set $memory (memory.grow (i32.const 1)))
        (br_if $more (i32.ne (global.get $memory) (i32.const -1)))) unreachable";
    let flood = "(loop $more (call $log (i32.const 1) (i32.const 28) (i32.const 16)) (br $more)) unreachable";
    let facts = "(loop $more (drop (call $fact (i32.const 10) (i32.const 4) (i32.const 15) (i32.const 6))) (br $more))
        unreachable";
    let load = |address: &str| format!("(drop (i32.load (i32.const {address}))) unreachable");
    vec![
        ("loop", classifier("(loop $more (br $more)) unreachable"), "fuel"),
        ("memory", classifier(grow), "unreachable"),
        ("stack", classifier("(call $overflow (i64.const 0))"), "stack"),
        ("unreachable", classifier("unreachable"), "unreachable"),
        ("divide", classifier("(i64.div_s (i64.const 1) (i64.const 0))"), "zero"),
        ("overflow", classifier("(i64.div_s (i64.const 0x8000000000000000) (i64.const -1))"), "overflow"),
        ("convert", classifier("(i64.trunc_f64_s (f64.const nan))"), "conversion"),
        ("load", classifier(&load("65536")), "out of bounds"),
        ("load-far", classifier(&load("0xfffffffe")), "out of bounds"),
        ("indirect", classifier("(call_indirect (type $nothing) (i32.const 1)) (i64.const 0)"), "uninitialized"),
        ("indirect-far", classifier("(call_indirect (type $nothing) (i32.const 9)) (i64.const 0)"), "out of bounds"),
        (
            "aborts",
            classifier("(call $abort (i32.const 0) (i32.const 0) (i32.const 7) (i32.const 9)) unreachable"),
            "abort",
        ),
        ("tag", classifier("(i64.const 0x700000000)"), "unknown tag"),
        ("no-buffer", with_buffer("(i32.const 0)", "(i64.const 0)"), "refused"),
        ("far-buffer", with_buffer("(i32.const 65536)", "(i64.const 0)"), "outside the memory"),
        ("negative-buffer", with_buffer("(i32.const -1)", "(i64.const 0)"), "outside the memory"),
        ("slow-buffer", with_buffer("(loop $more (br $more)) unreachable", "(i64.const 0)"), "fuel"),
        (
            "log-far",
            classifier("(call $log (i32.const 1) (i32.const 65530) (i32.const 16)) (i64.const 0)"),
            "portsplit.log",
        ),
        (
            "fact-far",
            classifier("(drop (call $fact (i32.const 10) (i32.const 4) (i32.const -8) (i32.const 16))) (i64.const 0)"),
            "portsplit.fact",
        ),
        (
            "fact-name",
            classifier("(drop (call $fact (i32.const 0) (i32.const 9) (i32.const 0) (i32.const 1))) (i64.const 0)"),
            "fact name",
        ),
        ("facts", classifier(facts), "16 facts"),
        ("log-flood", classifier(flood), "fuel"),
        // Asks for ever more, or for fewer than it has, until it is told that there will be no more.
        ("hint-small", classifier(&hint("(i64.const 0x200000001)")), ""),
        ("hint-huge", classifier(&hint("(i64.const 0x2ffffffff)")), ""),
    ]
}

/// A lie about the bytes needed to the clients that the other guests do not hold up; a reject to the normal ones.
fn hint(verdict: &str) -> String {
    format!(
        "(if (result i64) (i32.or (local.get $flags) (i32.eq (i32.load8_u (i32.const 1024)) (i32.const 78)))
           (then (i64.const 0)) (else {verdict}))"
    )
}

/// What the clients of one kind saw.
#[derive(Default)]
struct Tally {
    good: AtomicUsize,
    bad: Mutex<Vec<String>>,
    times: Mutex<Vec<Duration>>,
}

impl Tally {
    fn count(&self, result: Result<(), String>, took: Duration) {
        match result {
            Ok(()) => _ = self.good.fetch_add(1, Ordering::Relaxed),
            Err(error) => self.bad.lock().unwrap().push(error),
        }
        self.times.lock().unwrap().push(took);
    }

    fn p99(&self) -> Duration {
        let mut times = self.times.lock().unwrap().clone();
        times.sort_unstable();
        times.get(times.len() * 99 / 100).copied().unwrap_or_default()
    }

    #[track_caller]
    fn assert_all_good(&self, what: &str, at_least: usize) {
        let bad = self.bad.lock().unwrap();
        assert!(bad.is_empty(), "{} {what} failed, the first: {}", bad.len(), bad[0]);
        let good = self.good.load(Ordering::Relaxed);
        assert!(good >= at_least, "only {good} {what} in {LASTS:?}");
    }
}

/// Sends `first` and random bytes, finishes, and checks that `service` got exactly these.
fn exchange(address: &str, first: u8, len: usize, service: &str, rng: &mut Rng) -> Result<(), String> {
    let client = Socket::try_connect(address).map_err(|error| format!("cannot connect: {error}"))?;
    let mut sent = rng.bytes(len);
    sent.insert(0, first);
    client.send(&sent);
    client.finish();
    let mut got = Vec::new();
    (&mut &client).read_to_end(&mut got).map_err(|error| format!("after {} bytes: {error}", got.len()))?;
    let wanted = [service.as_bytes(), b"\n", &sent].concat();
    if got == wanted { Ok(()) } else { Err(format!("{} bytes instead of {}", got.len(), wanted.len())) }
}

/// Starts a port with `guests` in front of the services `normal` (what begins with N) and fallback.
#[track_caller]
fn behind(modules: &Modules, names: &[&str], normal: &Backend, fallback: &Backend) -> Portsplit {
    let mut config = format!("{}timeout = \"20s\"\n{LISTEN}", modules.key());
    for name in names {
        config += &service(name, &format!("plugin = \"{name}\""), "close = true");
    }
    config += &to(normal, "normal", "prefix = 'N'");
    config += &format!("[[service]]\nname = \"fallback\"\nconnect = \"{}\"\n", fallback.address());
    start(&config)
}

#[test]
fn clients_of_a_port_with_hostile_plugins_under_attack_lose_no_byte() {
    let (guests, modules) = (guests(), Modules::new());
    for (name, wasm, _) in &guests {
        modules.add(name, wasm);
    }
    let names: Vec<&str> = guests.iter().map(|(name, ..)| *name).collect();
    let (normal, fallback) = (Backend::tag("normal"), Backend::tag("fallback"));
    let mut portsplit = behind(&modules, &names, &normal, &fallback);
    let (attacks, clients, over) = (Tally::default(), Tally::default(), AtomicBool::new(false));
    let address = portsplit.address().to_owned();
    let mut rss = Vec::new();
    std::thread::scope(|scope| {
        for number in 0..ATTACKERS {
            let (address, attacks, over) = (&address, &attacks, &over);
            // Each in its turn; a late one does not wait.
            scope.spawn(move || {
                let (mut rng, began) = (Rng::new(number.into()), Instant::now());
                for turn in 0u32.. {
                    let due = Duration::from_secs(1) * ATTACKERS * turn / ATTACKS;
                    std::thread::sleep(due.saturating_sub(began.elapsed()));
                    if over.load(Ordering::Relaxed) {
                        return;
                    }
                    let (started, len) = (Instant::now(), rng.below(64));
                    attacks.count(exchange(address, b'H', len, "fallback", &mut rng), started.elapsed());
                }
            });
        }
        for number in 0..2 {
            let (address, clients, over) = (&address, &clients, &over);
            scope.spawn(move || {
                let mut rng = Rng::new(100 + number);
                while !over.load(Ordering::Relaxed) {
                    let (started, len) = (Instant::now(), rng.below(3000));
                    clients.count(exchange(address, b'N', len, "normal", &mut rng), started.elapsed());
                }
            });
        }
        let began = Instant::now();
        while began.elapsed() < LASTS {
            std::thread::sleep(Duration::from_millis(500));
            rss.push(portsplit.process().rss_kib());
        }
        over.store(true, Ordering::Relaxed);
    });
    assert!(portsplit.runs(), "the process has ended");
    let (early, most) = (rss[1], rss.iter().copied().max().unwrap_or_default());
    report(&format!(
        "{} hostile plugins, {LASTS:?}: {} attacks (p99 {:?}), {} normal clients (p99 {:?}), RSS {early} KiB early, {most} KiB at most",
        names.len(),
        attacks.good.load(Ordering::Relaxed),
        attacks.p99(),
        clients.good.load(Ordering::Relaxed),
        clients.p99(),
    ));
    // Half of what is meant leaves room for a machine that is busy.
    attacks.assert_all_good("attacks", ATTACKS as usize * LASTS.as_secs() as usize / 2);
    clients.assert_all_good("normal clients", 100);
    assert!(clients.p99() < UNHURT, "normal clients wait: p99 {:?}", clients.p99());
    assert!(most < early + 32 * 1024, "resident memory grew from {early} to {most} KiB");
    for (name, _, blame) in guests.iter().filter(|(.., blame)| !blame.is_empty()) {
        let blamed = portsplit.log().find_within(Duration::from_secs(1), 0, |line| {
            line.message() == "a plugin has failed" && line.field("plugin").contains(name)
        });
        let text = blamed.unwrap_or_else(|| panic!("nothing in the log blames {name}")).field("error");
        assert!(text.contains(blame), "{name}: expected `{blame}` in {text}");
    }
    // One line a second for each plugin, a burst of 20 and then 5 a second of a plugin's own.
    let seconds = LASTS.as_secs() as usize + 5;
    let failures = portsplit.log().count(|line| line.message() == "a plugin has failed");
    assert!(failures <= names.len() * seconds, "{failures} lines about failures");
    let own = portsplit.log().count(|line| line.message() == "plugin log");
    assert!(own > 0 && own <= 20 + 5 * seconds, "{own} lines of the flooding plugin");
    portsplit.stop();
}

#[test]
fn a_plugin_that_asks_for_ever_more_holds_a_client_no_longer_than_the_timeout() {
    for (name, verdict) in [("nothing", "(i64.const 0x200000000)"), ("much", "(i64.const 0x2ffffffff)")] {
        let modules = Modules::with(name, &classifier(verdict));
        let (normal, timeout) = (Backend::tag("normal"), Backend::tag("timeout"));
        let portsplit = start(&format!(
            "{}timeout = \"400ms\"\n{LISTEN}{}{}[[service]]\nname = \"timeout\"\nconnect = \"{}\"\n",
            modules.key(),
            service("liar", &format!("plugin = \"{name}\""), "close = true"),
            to(&normal, "normal", "prefix = 'N'"),
            timeout.address()
        ));
        let started = Instant::now();
        let (matched, unknown) = (portsplit.client_sending("Nine"), portsplit.client_sending("Home"));
        assert_eq!(matched.receive_line(), "normal", "what waited for the liar only wins at the timeout");
        assert_eq!(matched.receive(4), b"Nine");
        assert_eq!(unknown.receive_line(), "timeout");
        assert_eq!(unknown.receive(4), b"Home");
        assert!(started.elapsed() >= Duration::from_millis(390));
        let finished = portsplit.client_sending("Nil");
        finished.finish();
        assert_eq!(finished.receive_to_end(), b"normal\nNil", "a half-close ends the waiting");
    }
}
