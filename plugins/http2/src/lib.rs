//! The classifier for HTTP/2 without TLS by prior knowledge (RFC 9113, section 3.3): the connection preface that
//! clients begin with (section 3.4), 24 bytes that were chosen so that nothing else begins with them.
//!
//! The preface alone decides. What is asked for comes in a later frame, HEADERS, and a client may wait for the server's
//! SETTINGS before it sends that (gRPC for Java does): facts that must be the same however the bytes arrive would have
//! to be waited for. So they are learnt only where the
//! configuration says so, by `headers`.
#![cfg_attr(target_arch = "wasm32", no_std)]

mod headers;
mod hpack;

use portsplit_plugin_sdk::prelude::*;

/// The preface.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// The most bytes looked at: browsers send some 200 bytes of other frames and then some hundred of HEADERS.
const MAX_BYTES: usize = 4 << 10;

config! {
    /// Whether to wait for facts.
    pub struct Settings {
        /// Waits for the first request and learns `method`, `host` and `path` from it. A client that sends none before
        /// the server has spoken is then recognised when the time to decide is up, without facts.
        wait_for_headers: bool = false,
    }
}

/// Recognises HTTP/2 clients.
pub struct Http2 {
    settings: Settings,
}

impl Classifier for Http2 {
    type Config = Settings;

    fn new(settings: Settings) -> Result<Self, ConfigError> {
        Ok(Http2 { settings })
    }

    fn classify(&self, input: Input<'_>, facts: &mut Facts) -> Answer {
        let mut c = input.cursor();
        c.tag(PREFACE)?;
        if self.settings.wait_for_headers
            && let Err(NeedMore(total)) = headers::request(&mut c, facts)
            && total <= MAX_BYTES
            && !input.is_last()
        {
            return Err(NeedMore(total));
        }
        Ok(Match)
    }
}

portsplit_plugin_sdk::export! {
    classifier: Http2,
    name: "http2",
    description: "HTTP/2 clients that need no TLS and no upgrade (prior knowledge), gRPC among them.",
    protocols: ["http"],
    max_bytes: MAX_BYTES,
    facts: {
        "method": "the first request's method; this and the others only with `wait_for_headers`",
        "host": "the host of its `:authority`, in lower case, without port and final dot",
        "path": "its path without query, at most 512 bytes; for gRPC `/package.Service/Method`",
    },
    cannot_see: [
        "the first request, unless `wait_for_headers` is set; a client that waits for the server is then undecided",
        "HTTP/2 in TLS, which `tls` recognises by the fact `alpn`, and HTTP/2 by upgrade, which `http1` recognises",
        "a host that is sent as the field `host`, as some proxies do",
        "a request that begins after the first 4 KiB",
    ],
    examples: [
        Example::text("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").matches(24),
        Example::text("PRI * HTTP/2.0\r\n\r\n").undecided(),
        Example::bytes(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0\0\0\x06\x01\x05\0\0\0\x01\x82\x86\x84\x41\x01a")
            .config(r#"{"wait_for_headers": true}"#).matches(48)
            .fact("method", "GET").fact("path", "/").fact("host", "a"),
        Example::text("PRI * HTTP/1.1\r\n").rejects(12),
        Example::text("POST / HTTP/1.1\r\n").rejects(2),
    ],
}
