//! `socket`: how the TCP sockets of a listener or of a service's connections are set up.
//!
//! What the kernel thinks of a value shows when it is applied (`sockets`); here is what can be told without asking it
//! for a socket: types, ranges, names, and whether this machine has what is named, which is only worth a warning.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use toml::Spanned;

use super::SocketOptions;
use super::error::{Reporter, Span, printable};
use super::raw::RawSocket;
use super::settings::{DurationRule, Zero, within};

/// Silence before a peer is asked whether it is still there. Five minutes outlast no usual firewall's memory of a
/// connection; probing accepted sockets costs nothing per connection, since they inherit it from the listener.
pub(super) const ACCEPTED_KEEPALIVE: Option<Duration> = Some(Duration::from_secs(300));

/// Off: it would take four system calls a connection, and `idle_timeout` ends what is silent.
pub(super) const UPSTREAM_KEEPALIVE: Option<Duration> = None;

/// The kernel keeps the time in seconds and takes 32767 of them.
const KEEPALIVE: DurationRule = DurationRule {
    key: "keepalive",
    default: Duration::ZERO,
    max: Duration::from_secs(9 * 3600),
    zero: Zero::Allowed("write \"0s\" to switch it off"),
};

/// Unacknowledged data. A day is longer than anybody waits.
const USER_TIMEOUT: DurationRule = DurationRule {
    key: "user_timeout",
    default: Duration::ZERO,
    max: Duration::from_secs(24 * 3600),
    zero: Zero::Allowed("write \"0s\" to leave it to the system"),
};

/// Marks are 32 bits, of which none set is no mark.
const MARK_MAX: i64 = u32::MAX as i64;

/// The longest name of a congestion control or of an interface, in bytes: both have 16 with their final zero.
const NAME_MAX: usize = 15;

/// Checks a `socket` table; what it does not say is the default, with this keepalive.
pub(super) fn resolve(raw: Option<&RawSocket>, keepalive: Option<Duration>, reporter: &mut Reporter) -> SocketOptions {
    let defaults = SocketOptions { keepalive, ..SocketOptions::default() };
    let Some(raw) = raw else { return defaults };
    let seconds = |rule: &DurationRule, value: Option<&Spanned<String>>, reporter: &mut Reporter| {
        let value = value?;
        let duration = rule.resolve(Some(value), reporter);
        if duration.subsec_nanos() > 0 {
            let shown = printable(value.get_ref());
            let error = reporter.error(value.span(), format!("`{}` is `{shown}`, which is not in seconds", rule.key));
            error.help_with("the system counts whole seconds here; write it like \"60s\"");
        }
        Some(duration)
    };
    let off = |duration: Duration| (!duration.is_zero()).then_some(duration);
    SocketOptions {
        nodelay: raw.nodelay.as_ref().is_none_or(|nodelay| *nodelay.get_ref()),
        keepalive: seconds(&KEEPALIVE, raw.keepalive.as_ref(), reporter).map_or(defaults.keepalive, off),
        congestion: raw.congestion.as_ref().and_then(|name| congestion(name, reporter)),
        user_timeout: seconds(&USER_TIMEOUT, raw.user_timeout.as_ref(), reporter).and_then(off),
        fast_open: raw.fast_open.as_ref().is_some_and(|fast_open| *fast_open.get_ref()),
        mark: within("mark", raw.mark.as_ref(), 0, MARK_MAX, reporter)
            .and_then(|mark| u32::try_from(mark).ok())
            .filter(|&mark| mark > 0),
        device: raw.device.as_ref().and_then(|name| device(name, reporter)),
    }
}

fn congestion(name: &Spanned<String>, reporter: &mut Reporter) -> Option<Arc<str>> {
    let text = name.get_ref();
    let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '_' | '-');
    if text.is_empty() || text.len() > NAME_MAX || !text.chars().all(fits) {
        let error =
            reporter.error(name.span(), format!("`congestion` is `{}`, which is no name of one", printable(text)));
        error.help_with("write one that `sysctl net.ipv4.tcp_available_congestion_control` lists, such as \"cubic\"");
        return None;
    }
    Some(text.as_str().into())
}

fn device(name: &Spanned<String>, reporter: &mut Reporter) -> Option<Arc<str>> {
    let text = name.get_ref();
    let fits = |c: char| !c.is_whitespace() && !c.is_control() && c != '/';
    if text.is_empty() || text.len() > NAME_MAX || !text.chars().all(fits) {
        let error = reporter.error(name.span(), format!("`device` is `{}`, which is no interface", printable(text)));
        error.help_with("write one that `ip link` lists, such as \"eth0\"");
        return None;
    }
    Some(text.as_str().into())
}

/// Warns of what this machine does not have now; it may by the time it is needed.
pub(super) fn lint(raw: &RawSocket, listens: bool, reporter: &mut Reporter) {
    const CONGESTION: &str = "/proc/sys/net/ipv4/tcp_available_congestion_control";
    const FAST_OPEN: &str = "/proc/sys/net/ipv4/tcp_fastopen";
    /// The bits of the last file that allow fast open to clients and to servers.
    const CLIENT: u32 = 1;
    const SERVER: u32 = 2;
    if let Some(name) = &raw.congestion
        && let Ok(available) = std::fs::read_to_string(CONGESTION)
        && !available.split_whitespace().any(|known| known == name.get_ref())
    {
        let shown = printable(name.get_ref());
        let warning = reporter.warning(name.span(), format!("this machine has no congestion control `{shown}` loaded"));
        warning.help_with(format!("it has {}; others are modules, such as tcp_{shown}", available.trim()));
    }
    if let Some(name) = &raw.device
        && Path::new("/sys/class/net").exists()
        && !Path::new("/sys/class/net").join(name.get_ref()).exists()
    {
        let message = format!("there is no interface `{}` at the moment", printable(name.get_ref()));
        reporter.warning(name.span(), message).help_with("`ip link` lists those there are");
    }
    let bit = if listens { SERVER } else { CLIENT };
    if let Some(fast_open) = raw.fast_open.as_ref().filter(|fast_open| *fast_open.get_ref())
        && let Some(allowed) = std::fs::read_to_string(FAST_OPEN).ok().and_then(|text| text.trim().parse::<u32>().ok())
        && allowed & bit == 0
    {
        let side = if listens { "servers" } else { "clients" };
        let warning = reporter.warning(fast_open.span(), format!("this machine has fast open off for {side}"));
        warning.help_with(format!("`sysctl -w net.ipv4.tcp_fastopen={}` allows it", allowed | bit));
    }
}

/// Refuses a `socket` table where no TCP socket would have it.
pub(super) fn refuse(span: Span, reason: &str, reporter: &mut Reporter) {
    reporter.error(span, format!("`socket` {reason}")).help_with("remove it");
}
