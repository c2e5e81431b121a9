//! The classifier for git's own protocol, `git://` (gitprotocol-pack, "Git transport"): the request that clients send
//! first.
//!
//! It is one pkt-line: its length in four hex digits, the service, the repository's path and a zero, mostly the host
//! and a zero, and further parameters. The service's name is long and the length has to cover it all. It matches where
//! the host ends.
#![cfg_attr(target_arch = "wasm32", no_std)]

use portsplit_plugin_sdk::prelude::*;

/// The most bytes looked at: the longest path and host.
const MAX_BYTES: usize = 4 + 20 + MAX_PATH_BYTES + 1 + 5 + MAX_HOST_BYTES + 1;

/// The shortest request.
const MIN_BYTES: usize = "0016git-upload-pack /\0".len();

/// The longest path, as systems limit it.
const MAX_PATH_BYTES: usize = 4096;

/// The longest host with its port.
const MAX_HOST_BYTES: usize = 255 + 6;

/// The most bytes of a path that become a fact.
const MAX_FACT_BYTES: usize = 512;

/// Recognises git clients; it has nothing to configure.
pub struct Git;

impl Classifier for Git {
    type Config = ();

    fn new(_: ()) -> Result<Self, ConfigError> {
        Ok(Git)
    }

    fn classify(&self, input: Input<'_>, facts: &mut Facts) -> Answer {
        let mut c = input.cursor();
        let mut len = 0;
        for _ in 0..4 {
            let digit = char::from(c.u8()?).to_digit(16).ok_or(Reject)?;
            len = 16 * len + digit as usize;
        }
        ensure(len >= MIN_BYTES)?;
        let len = len - 4;
        let mut known = false;
        match c.part(len, |c| request(c, facts, &mut known)) {
            // The parameters behind the host need not be read.
            Err(Reject) if known => Ok(Match),
            answer => answer.map(|()| Match),
        }
    }
}

const SERVICES: [&str; 3] = ["upload-pack", "receive-pack", "upload-archive"];

fn request(c: &mut Cursor<'_>, facts: &mut Facts, known: &mut bool) -> Result<(), Stop> {
    c.tag(b"git-")?;
    let service = c.one_of(&SERVICES.map(str::as_bytes))?;
    facts.add("service", SERVICES.get(service).copied().unwrap_or_default());
    c.tag(b" ")?;
    // From the root, or from a user's home.
    ensure(matches!(c.peek()?, b'/' | b'~'))?;
    let path = c.take_until_where(0, MAX_PATH_BYTES, |b| b >= b' ')?;
    facts.add("path", path.get(..MAX_FACT_BYTES).unwrap_or(path));
    // Without a host another zero follows, and parameters, or nothing.
    if !c.at_end() && c.peek()? != 0 {
        c.tag(b"host=")?;
        let host = c.take_until_where(0, MAX_HOST_BYTES, |b| b > b' ' && b != 0x7f)?;
        facts.add_host("host", host);
    }
    *known = true;
    Ok(())
}

portsplit_plugin_sdk::export! {
    classifier: Git,
    name: "git",
    description: "git clients that fetch or push by `git://`.",
    protocols: ["git"],
    max_bytes: MAX_BYTES,
    facts: {
        "service": "`upload-pack` to fetch, `receive-pack` to push, `upload-archive` for an archive",
        "path": "the repository's path, such as `/project.git` or `~alice/project`, at most its first 512 bytes",
        "host": "the host of the URL, in lower case, without port and final dot",
    },
    cannot_see: ["git over SSH and HTTP, which are SSH and HTTP"],
    examples: [
        Example::text("0032git-upload-pack /project.git\0host=example.org\0").matches(50)
            .fact("service", "upload-pack").fact("path", "/project.git").fact("host", "example.org"),
        Example::text("0032git-receive-pack /a\0").undecided(),
        Example::text("0008git-upload-pack /").rejects(4),
        Example::text("0032git-shell ").rejects(9),
        Example::text("GET / HTTP/1.1\r\n").rejects(1),
    ],
}
