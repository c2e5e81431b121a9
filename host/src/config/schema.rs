//! Which keys exist, where, and which one a mistyped key was meant to be.
//!
//! Adding a key means naming it here, reading it in `raw` and giving it a meaning in `resolve`; a key that is only
//! planned goes into `unavailable`, so that it is refused as such and not as a typing error.

/// The keys of one kind of table.
#[derive(Debug)]
pub(super) struct Schema {
    /// How messages name the table.
    pub(super) place: &'static str,
    /// The keys it takes.
    pub(super) keys: &'static [&'static str],
    /// Keys that are documented for other versions.
    pub(super) unavailable: &'static [&'static str],
}

pub(super) static ROOT: Schema = Schema {
    place: "the top level",
    keys: &[
        "listen",
        "timeout",
        "max_first_flight",
        "max_connections",
        "max_undecided",
        "max_connections_per_source",
        "connect_timeout",
        "idle_timeout",
        "half_close_timeout",
        "splice",
        "drain_timeout",
        "workers",
        "pid_file",
        "user",
        "group",
        "log",
        "plugin_path",
        "plugins",
        "service",
    ],
    unavailable: &["admin", "proxy_protocol"],
};

pub(super) static LISTEN: Schema = Schema {
    place: "[[listen]]",
    keys: &["address", "services", "mode", "backlog", "socket"],
    unavailable: &["proxy_protocol"],
};

pub(super) static LOG: Schema = Schema { place: "[log]", keys: &["level", "format"], unavailable: &[] };

pub(super) static SERVICE: Schema = Schema {
    place: "[[service]]",
    keys: &["name", "prefix", "regex", "plugin", "where", "connect", "socket", "exec", "pty", "echo", "close"],
    unavailable: &["proxy_protocol"],
};

pub(super) static PLUGIN: Schema = Schema {
    place: "[plugins.…]",
    keys: &["wasm", "config", "fuel", "memory", "max_size", "on_error"],
    unavailable: &[],
};

pub(super) static SOCKET: Schema = Schema {
    place: "socket",
    keys: &["nodelay", "keepalive", "congestion", "user_timeout", "fast_open", "mark", "device"],
    unavailable: &[],
};

/// Every kind of table, to find where a misplaced key belongs.
static ALL: [&Schema; 6] = [&ROOT, &LISTEN, &LOG, &SERVICE, &PLUGIN, &SOCKET];

/// Words that other programs use for our keys.
const SYNONYMS: [(&str, &str); 22] = [
    ("addr", "address"),
    ("args", "exec"),
    ("bind_device", "device"),
    ("backend", "connect"),
    ("bind", "listen"),
    ("cc", "congestion"),
    ("command", "exec"),
    ("execarg", "exec"),
    ("fwmark", "mark"),
    ("host", "address"),
    ("interface", "device"),
    ("maxconn", "max_connections"),
    ("pattern", "regex"),
    ("pid", "pid_file"),
    ("regexp", "regex"),
    ("run", "exec"),
    ("string", "prefix"),
    ("target", "connect"),
    ("tfo", "fast_open"),
    ("threads", "workers"),
    ("tty", "pty"),
    ("upstream", "connect"),
];

/// What is known about a key that a table does not take.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Unknown {
    /// Planned or documented, but not in this version.
    Unavailable,
    /// A key of another table, given by how messages name it.
    Misplaced(&'static str),
    /// Probably this key.
    Mistyped(&'static str),
    /// Nothing like it exists.
    Nothing,
}

impl Schema {
    /// Classifies a key that is not in `keys`.
    pub(super) fn explain(&self, key: &str) -> Unknown {
        if self.unavailable.contains(&key) {
            return Unknown::Unavailable;
        }
        if let Some(other) = ALL.iter().find(|other| other.keys.contains(&key)) {
            // One letter too many or too few is likelier than a misplaced key: `service` in a [[listen]].
            return match closest(key, self.keys) {
                Some(near) if strsim::levenshtein(near, key) == 1 => Unknown::Mistyped(near),
                _ => Unknown::Misplaced(other.place),
            };
        }
        if let Some(near) = closest(key, self.keys) {
            return Unknown::Mistyped(near);
        }
        if ALL.iter().any(|other| other.unavailable.contains(&key)) {
            return Unknown::Unavailable;
        }
        Unknown::Nothing
    }
}

/// Returns the word of `words` that `typed` was probably meant to be.
pub(super) fn closest<'a>(typed: &str, words: &[&'a str]) -> Option<&'a str> {
    /// Nothing that is longer than this is worth comparing: the cost grows with the product of the lengths.
    const LONGEST: usize = 64;
    if typed.len() > LONGEST {
        return None;
    }
    let folded = typed.to_lowercase().replace('-', "_");
    let synonym = SYNONYMS.iter().find(|(word, _)| *word == folded).map(|(_, key)| *key);
    if let Some(word) = synonym.and_then(|key| words.iter().find(|word| **word == key)) {
        return Some(word);
    }
    let distances = words.iter().map(|word| {
        let plain = word.to_lowercase().replace('-', "_");
        (strsim::damerau_levenshtein(&folded, &plain), *word)
    });
    let (distance, word) = distances.min_by_key(|(distance, _)| *distance)?;
    // A third of the letters may be wrong, but at least one: `nme` is still `name`.
    let allowed = (folded.chars().count().max(word.chars().count()) / 3).max(1);
    (distance <= allowed).then_some(word)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mistyped_key_is_recognised() {
        assert_eq!(ROOT.explain("timout"), Unknown::Mistyped("timeout"));
        assert_eq!(ROOT.explain("Max-Connections"), Unknown::Mistyped("max_connections"));
        assert_eq!(ROOT.explain("bind"), Unknown::Mistyped("listen"));
        assert_eq!(SERVICE.explain("string"), Unknown::Mistyped("prefix"));
        assert_eq!(LISTEN.explain("service"), Unknown::Mistyped("services"));
        assert_eq!(ROOT.explain("banana"), Unknown::Nothing);
        assert_eq!(ROOT.explain(&"x".repeat(100_000)), Unknown::Nothing);
    }

    #[test]
    fn a_key_of_another_table_is_said_to_be_misplaced() {
        assert_eq!(LOG.explain("idle_timeout"), Unknown::Misplaced("the top level"));
        assert_eq!(ROOT.explain("prefix"), Unknown::Misplaced("[[service]]"));
    }

    #[test]
    fn a_planned_key_is_no_typing_error() {
        assert_eq!(ROOT.explain("admin"), Unknown::Unavailable);
        assert_eq!(SERVICE.explain("proxy_protocol"), Unknown::Unavailable);
        assert_eq!(LOG.explain("admin"), Unknown::Unavailable);
    }
}
