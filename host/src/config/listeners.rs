//! `listen`: the addresses, and which services each of them leads to.

use std::path::Path;
use std::sync::Arc;

use toml::Spanned;

use super::error::{Reporter, Span, printable};
use super::raw::{RawConfig, RawListener};
use super::schema::closest;
use super::services::{SPECIAL, Services};
use super::settings::within;
use super::{Address, Listener, SocketOptions, address, socket};
use crate::router::{Router, Rule};

/// Access to a unix socket's file: its owner only, because whoever may connect is past every packet filter.
const MODE_DEFAULT: u32 = 0o600;
/// Connections that the kernel keeps until they are accepted; 4096 is the most that Linux allows unless told otherwise.
const BACKLOG_DEFAULT: u32 = 4096;
const BACKLOG_MAX: i64 = 65_535;

/// A listener before its router is made, and where it stands.
#[derive(Debug)]
pub(super) struct PlacedListener {
    pub(super) address: Address,
    pub(super) span: Span,
    /// Numbers of its services, in file order.
    pub(super) services: Vec<usize>,
    mode: u32,
    backlog: u32,
    socket: SocketOptions,
}

/// Checks all listeners of a file; relative paths start in `folder`.
pub(super) fn resolve(
    raw: &RawConfig,
    services: &Services,
    folder: &Path,
    reporter: &mut Reporter,
) -> Vec<PlacedListener> {
    let Some(listen) = &raw.listen else {
        if !raw.listen_attempted {
            reporter
                .error_in_file("there is no `listen`")
                .help_with("add `listen = [\"0.0.0.0:443\", \"[::]:443\"]` above the first [table]");
        }
        return Vec::new();
    };
    let mut listeners: Vec<PlacedListener> = Vec::new();
    for raw_listener in listen.get_ref() {
        if let Some(listener) = resolve_one(raw_listener, raw.services_complete, services, folder, reporter) {
            report_duplicate(&listener, &listeners, reporter);
            listeners.push(listener);
        }
    }
    if listen.get_ref().is_empty() && !reporter.has_errors() {
        reporter.error(listen.span(), "`listen` is an empty list").help_with("add an address, such as \"0.0.0.0:443\"");
    }
    listeners
}

impl PlacedListener {
    /// Makes the listener with a router over its services.
    pub(super) fn finish(self, services: &Services) -> Listener {
        let rules = self.services.iter().filter_map(|&number| {
            let service = services.ordinary.get(number)?;
            let matchers = service.matchers.iter().map(|placed| placed.matcher.clone()).collect();
            Some(Rule { service: number, matchers })
        });
        let router = Arc::new(Router::new(rules.collect(), services.classifiers.clone()));
        let PlacedListener { address, mode, backlog, socket, .. } = self;
        Listener { address, mode, backlog, socket, router }
    }
}

fn resolve_one(
    raw: &RawListener,
    services_complete: bool,
    services: &Services,
    folder: &Path,
    reporter: &mut Reporter,
) -> Option<PlacedListener> {
    let numbers = match &raw.services {
        Some(names) => subset(names, services_complete, services, reporter),
        None => (0..services.ordinary.len()).collect(),
    };
    let backlog = within("backlog", raw.backlog.as_ref(), 1, BACKLOG_MAX, reporter);
    let mode = raw.mode.as_ref().and_then(|mode| socket_mode(mode, reporter));
    let raw_socket = raw.socket.as_ref().map(Spanned::get_ref);
    let socket = socket::resolve(raw_socket, socket::ACCEPTED_KEEPALIVE, reporter);
    let written = raw.address.as_ref()?;
    let address = match address::listening(written.get_ref(), folder) {
        Ok(address) => address,
        Err(refused) => {
            reporter.error(written.span(), refused.message).help_with(refused.help);
            return None;
        }
    };
    if let (Address::Tcp(_), Some(mode)) = (&address, &raw.mode) {
        reporter.error(mode.span(), "`mode` is only for unix sockets").help_with("remove it");
    }
    if let (Address::Unix(_), Some(raw)) = (&address, &raw.socket) {
        socket::refuse(raw.span(), "is only for TCP addresses", reporter);
    } else if let Some(raw) = raw_socket {
        socket::lint(raw, true, reporter);
    }
    Some(PlacedListener {
        address,
        span: written.span(),
        services: numbers,
        mode: mode.unwrap_or(MODE_DEFAULT),
        backlog: backlog.and_then(|backlog| u32::try_from(backlog).ok()).unwrap_or(BACKLOG_DEFAULT),
        socket,
    })
}

/// Refuses an address that an earlier listener has, or that cannot be bound beside it; port 0 is another port each time.
fn report_duplicate(listener: &PlacedListener, earlier: &[PlacedListener], reporter: &mut Reporter) {
    let Some(first) = earlier.iter().find(|other| overlap(&other.address, &listener.address)) else { return };
    let shown = printable(&listener.address.to_string());
    let line = reporter.line(&first.span);
    let message = if first.address == listener.address {
        format!("`{shown}` is listened on already, see line {line}")
    } else {
        format!("`{shown}` and `{}` on line {line} cannot both be bound", printable(&first.address.to_string()))
    };
    reporter
        .error(listener.span.clone(), message)
        .help_with("remove one of the two")
        .related_to(first.span.clone(), "first here");
}

/// Tells whether a connection could be for both addresses: they are equal, or one is every address of its family.
fn overlap(one: &Address, other: &Address) -> bool {
    match (one, other) {
        (Address::Tcp(one), Address::Tcp(other)) => {
            let any = one.ip().is_unspecified() || other.ip().is_unspecified();
            one.port() != 0 && one.port() == other.port() && (one == other || (any && one.is_ipv4() == other.is_ipv4()))
        }
        _ => one == other,
    }
}

fn subset(
    names: &Spanned<Vec<Spanned<String>>>,
    complete: bool,
    services: &Services,
    reporter: &mut Reporter,
) -> Vec<usize> {
    let mut numbers = Vec::new();
    for name in names.get_ref() {
        let shown = printable(name.get_ref());
        match services.index_of(name.get_ref()) {
            Some(number) if numbers.contains(&number) => {
                let error = reporter.error(name.span(), format!("the service `{shown}` is listed twice"));
                error.help_with("remove one of the two; the order is always that of the [[service]] tables");
            }
            Some(number) => numbers.push(number),
            None if SPECIAL.contains(&name.get_ref().as_str()) => {
                let error = reporter.error(name.span(), format!("`{shown}` belongs to every listener"));
                error.help_with("remove it here");
            }
            None if complete => {
                let known: Vec<&str> = services.ordinary.iter().map(|service| &*service.name).collect();
                let error = reporter.error(name.span(), format!("there is no service `{shown}`"));
                error.help_with(match closest(name.get_ref(), &known) {
                    Some(near) => format!("did you mean `{}`?", printable(near)),
                    None => format!("add a [[service]] with the name `{shown}`"),
                });
            }
            None => {}
        }
    }
    numbers.sort_unstable();
    numbers
}

fn socket_mode(mode: &Spanned<String>, reporter: &mut Reporter) -> Option<u32> {
    let text = mode.get_ref();
    let octal = (3..=4).contains(&text.len()) && text.bytes().all(|byte| matches!(byte, b'0'..=b'7'));
    match u32::from_str_radix(text, 8) {
        Ok(bits) if octal && bits <= 0o777 => Some(bits),
        _ => {
            reporter
                .error(
                    mode.span(),
                    format!("`mode` is `{}`, and it has to be from \"0000\" to \"0777\"", printable(text)),
                )
                .help_with("write it as for chmod, such as \"0600\" for the owner or \"0660\" for the group as well");
            None
        }
    }
}
