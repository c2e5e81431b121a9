//! Short ways to write the tables of a configuration.

use super::Backend;

/// A listener on a free port of 127.0.0.1.
pub const LISTEN: &str = "listen = [\"127.0.0.1:0\"]\n";

/// A `[[service]]` table: `matcher` and `action` are lines such as `prefix = 'SSH-'`.
pub fn service(name: &str, matcher: &str, action: &str) -> String {
    format!("[[service]]\nname = \"{name}\"\n{matcher}\n{action}\n")
}

/// A `[[service]]` table that connects to `backend`.
pub fn to(backend: &Backend, name: &str, matcher: &str) -> String {
    service(name, matcher, &format!("connect = \"{}\"", backend.address()))
}

/// A listener and one service that takes every connection whose first byte is `>`, connected to `backend`.
pub fn all_to(backend: &Backend) -> String {
    format!("{LISTEN}{}", to(backend, "all", "prefix = '>'"))
}

/// Like [`all_to`], with the global keys `globals` in front.
pub fn all_to_with(globals: &str, backend: &Backend) -> String {
    format!("{globals}\n{}", all_to(backend))
}
