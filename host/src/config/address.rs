//! Addresses as text: where to listen and where to connect to.
//!
//! Listening takes IP addresses and unix sockets only, connecting takes host names as well. Everything that is almost an
//! address is refused with the text that was probably meant. Nothing is looked up or opened here.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};

use super::error::printable;
use super::{Address, Target};

/// Why a text is no address, and what to write instead.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct AddressError {
    pub(super) message: String,
    pub(super) help: String,
}

/// The longest path of a unix socket in bytes: `sun_path` of Linux without its final zero.
const MAX_SOCKET_PATH_BYTES: usize = 107;
/// The longest host name in bytes, RFC 1035 section 2.3.4 without the root's dot.
const MAX_HOST_BYTES: usize = 253;
/// The longest part of a host name in bytes, RFC 1035 section 2.3.4.
const MAX_LABEL_BYTES: usize = 63;

/// Reads an address to listen on; relative socket paths start in `folder`.
pub(super) fn listening(text: &str, folder: &Path) -> Result<Address, AddressError> {
    if let Some(path) = text.strip_prefix("unix:") {
        return socket_path(path, folder).map(Address::Unix);
    }
    if let Ok(address) = text.parse::<SocketAddr>() {
        if let IpAddr::V6(v6) = address.ip()
            && let Some(v4) = v6.to_ipv4_mapped()
        {
            return refuse(
                format!("`{text}` is an IPv4 address in IPv6 form, and IPv6 listeners take no IPv4 connections"),
                format!("write \"{v4}:{}\"", address.port()),
            );
        }
        return Ok(Address::Tcp(address));
    }
    Err(explain_listening(text))
}

/// Reads an address to connect to; relative socket paths start in `folder`.
pub(super) fn target(text: &str, folder: &Path) -> Result<Target, AddressError> {
    if let Some(path) = text.strip_prefix("unix:") {
        return socket_path(path, folder).map(Target::Unix);
    }
    let shown = printable(text);
    if let Ok(address) = text.parse::<SocketAddr>() {
        if address.port() == 0 {
            return refuse(
                format!("`{shown}` has port 0, which nothing can listen on"),
                "write a port from 1 to 65535",
            );
        }
        if address.ip().is_unspecified() {
            let local = if address.is_ipv4() { "127.0.0.1" } else { "[::1]" };
            return refuse(
                format!("`{shown}` is an address to listen on, not to connect to"),
                format!("write \"{local}:{}\" for this machine", address.port()),
            );
        }
        return Ok(Target::Tcp(address));
    }
    if let Some(error) = explain_common(text, "127.0.0.1") {
        return Err(error);
    }
    let Some((host, port)) = text.rsplit_once(':') else {
        return refuse(format!("`{shown}` has no port"), format!("write \"{shown}:443\", with the port that is meant"));
    };
    let port = match port.parse::<u16>() {
        Ok(0) | Err(_) => {
            return refuse(format!("`{}` is no port", printable(port)), "write a port from 1 to 65535");
        }
        Ok(port) => port,
    };
    if host.is_empty() {
        return refuse(format!("`{shown}` has no host"), format!("write \"127.0.0.1:{port}\" for this machine"));
    }
    if is_host_name(host) {
        return Ok(Target::Host(host.to_owned(), port));
    }
    refuse(
        format!("`{}` is neither an IP address nor a host name", printable(host)),
        "write \"host:port\", \"192.0.2.1:port\", \"[2001:db8::1]:port\" or \"unix:/path\"",
    )
}

/// Makes a path absolute, starting in `folder`.
pub(super) fn absolute(path: &str, folder: &Path) -> PathBuf {
    let joined = folder.join(path);
    std::path::absolute(&joined).unwrap_or(joined)
}

fn socket_path(path: &str, folder: &Path) -> Result<PathBuf, AddressError> {
    let shown = printable(path);
    if path.is_empty() {
        return refuse("`unix:` has no path", "write \"unix:/run/portsplit.sock\"");
    }
    if let Some(rest) = path.strip_prefix("//") {
        let rest = printable(rest.trim_start_matches('/'));
        return refuse(format!("`unix:{shown}` is a URL, not an address"), format!("write \"unix:/{rest}\""));
    }
    if path.starts_with('@') {
        return refuse(
            format!("`unix:{shown}` would be an abstract socket, which is not supported"),
            format!("write a path, or \"unix:./{shown}\" for a file of that name"),
        );
    }
    if path.contains('\0') {
        return refuse(format!("`unix:{shown}` has a zero byte in its path"), "remove it");
    }
    if path.ends_with('/') {
        return refuse(format!("`unix:{shown}` is a folder"), format!("write \"unix:{shown}portsplit.sock\""));
    }
    let path = absolute(path, folder);
    let length = path.as_os_str().len();
    if length > MAX_SOCKET_PATH_BYTES {
        return refuse(
            format!("the path of this unix socket has {length} bytes, and the system takes {MAX_SOCKET_PATH_BYTES}"),
            "choose a shorter path",
        );
    }
    Ok(path)
}

/// Says what is wrong with an address to listen on that could not be parsed.
fn explain_listening(text: &str) -> AddressError {
    let shown = printable(text);
    if let Some(error) = explain_common(text, "0.0.0.0") {
        return error;
    }
    let any =
        |port: u16| format!("write \"0.0.0.0:{port}\" for every IPv4 address, \"[::]:{port}\" for every IPv6 one");
    if let Ok(port) = text.parse::<u16>() {
        return error(format!("`{shown}` is a port without an address"), any(port));
    }
    let Some((host, port_text)) = text.rsplit_once(':') else {
        let example = if is_host_name(text) && text.parse::<IpAddr>().is_err() { "0.0.0.0" } else { shown.as_str() };
        return error(
            format!("`{shown}` has no port"),
            format!("write \"{example}:443\", with the port that is meant"),
        );
    };
    let Ok(port) = port_text.parse::<u16>() else {
        return error(format!("`{}` is no port", printable(port_text)), "write a port from 0 to 65535".to_owned());
    };
    match host {
        "" => error(format!("`{shown}` has no address"), any(port)),
        "*" => error(format!("`{shown}` is no IP address"), any(port)),
        "localhost" => error(
            format!("`{shown}` is a host name, and listening takes IP addresses"),
            format!("write \"127.0.0.1:{port}\" and \"[::1]:{port}\""),
        ),
        _ if is_host_name(host) && host.bytes().any(|byte| byte.is_ascii_alphabetic()) => {
            error(format!("`{shown}` is a host name, and listening takes IP addresses"), any(port))
        }
        _ => error(
            format!("`{}` is no IP address", printable(host)),
            "write \"192.0.2.1:443\", \"[2001:db8::1]:443\" or \"unix:/path\"".to_owned(),
        ),
    }
}

/// Says what is wrong with what is neither a good address to listen on nor to connect to.
fn explain_common(text: &str, any_v4: &str) -> Option<AddressError> {
    let shown = printable(text);
    if text.is_empty() {
        return Some(error("an address is empty".to_owned(), format!("write \"{any_v4}:443\" or \"unix:/path\"")));
    }
    if text.trim() != text {
        return Some(error(
            format!("`{shown}` has a space around it"),
            format!("write \"{}\"", printable(text.trim())),
        ));
    }
    if let Some((_, rest)) = text.split_once("://") {
        let rest = printable(rest.trim_end_matches('/'));
        return Some(error(format!("`{shown}` is a URL, not an address"), format!("write \"{rest}\"")));
    }
    if text.starts_with(['/', '.']) {
        return Some(error(format!("`{shown}` is a path without `unix:`"), format!("write \"unix:{shown}\"")));
    }
    if let Some(rest) = text.strip_prefix("tcp:") {
        return Some(error(format!("`{shown}` starts with `tcp:`"), format!("write \"{}\"", printable(rest))));
    }
    // `::1:443` is an IPv6 address by itself, so neither the brackets nor the port can be told.
    if let Ok(whole) = text.parse::<Ipv6Addr>() {
        let help = match text.rsplit_once(':') {
            Some((host, port)) if host.parse::<Ipv6Addr>().is_ok() && port.parse::<u16>().is_ok() => {
                format!("write \"[{host}]:{port}\"")
            }
            Some((host, port)) if host.ends_with(':') && port.parse::<u16>().is_ok_and(|port| port > 9) => {
                format!("write \"[{host}:]:{port}\"")
            }
            _ => format!("write \"[{whole}]:443\", with the port that is meant"),
        };
        return Some(error(format!("`{shown}` is an IPv6 address without brackets"), help));
    }
    if let Some((host, port)) = text.rsplit_once(':')
        && host.parse::<Ipv6Addr>().is_ok()
    {
        let help = format!("write \"[{host}]:{}\"", printable(port));
        return Some(error(format!("`{shown}` is an IPv6 address without brackets"), help));
    }
    if let Some(inside) = text.strip_prefix('[') {
        let message = match inside.split_once(']') {
            None => format!("`{shown}` has no closing bracket"),
            Some((host, "")) if host.parse::<Ipv6Addr>().is_ok() => {
                let help = format!("write \"{shown}:443\", with the port that is meant");
                return Some(error(format!("`{shown}` has no port"), help));
            }
            Some((host, _)) if host.contains('%') => {
                let help = "write the interface as its number, such as \"[fe80::1%2]:443\"".to_owned();
                return Some(error(format!("`{shown}` names an interface"), help));
            }
            Some((host, _)) if host.parse::<Ipv6Addr>().is_err() => {
                format!("`{}` is no IPv6 address", printable(host))
            }
            Some(_) => format!("`{shown}` has no valid port"),
        };
        return Some(error(message, "write it like \"[2001:db8::1]:443\"".to_owned()));
    }
    None
}

/// Tells whether `text` can be a host name; all digits and dots is an IP address gone wrong.
fn is_host_name(text: &str) -> bool {
    let label = |label: &str| {
        !label.is_empty()
            && label.len() <= MAX_LABEL_BYTES
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
    };
    let name = text.strip_suffix('.').unwrap_or(text);
    let numeric = name.rsplit('.').next().is_some_and(|last| last.bytes().all(|byte| byte.is_ascii_digit()));
    name.len() <= MAX_HOST_BYTES && !numeric && name.split('.').all(label)
}

fn error(message: String, help: String) -> AddressError {
    AddressError { message, help }
}

fn refuse<T>(message: impl Into<String>, help: impl Into<String>) -> Result<T, AddressError> {
    Err(error(message.into(), help.into()))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

    use proptest::prelude::*;

    use super::*;

    fn listening_help(text: &str) -> String {
        listening(text, Path::new("/etc")).unwrap_err().help
    }

    fn target_help(text: &str) -> String {
        target(text, Path::new("/etc")).unwrap_err().help
    }

    #[test]
    fn good_addresses_are_read() {
        let folder = Path::new("/etc/portsplit");
        assert_eq!(listening("0.0.0.0:443", folder), Ok(Address::Tcp("0.0.0.0:443".parse().unwrap())));
        assert_eq!(listening("[::]:0", folder), Ok(Address::Tcp("[::]:0".parse().unwrap())));
        assert_eq!(listening("unix:/run/a.sock", folder), Ok(Address::Unix("/run/a.sock".into())));
        assert_eq!(listening("unix:a.sock", folder), Ok(Address::Unix("/etc/portsplit/a.sock".into())));
        assert_eq!(target("[::1]:22", folder), Ok(Target::Tcp("[::1]:22".parse().unwrap())));
        assert_eq!(target("localhost:22", folder), Ok(Target::Host("localhost".into(), 22)));
        assert_eq!(target("a_b.example.org.:22", folder), Ok(Target::Host("a_b.example.org.".into(), 22)));
        assert_eq!(target("unix:/run/b", folder), Ok(Target::Unix("/run/b".into())));
    }

    #[test]
    fn almost_addresses_to_listen_on_are_refused_with_the_right_text() {
        for text in [":443", "443", "*:443"] {
            assert!(listening_help(text).contains("\"0.0.0.0:443\""), "{text}");
            assert!(listening_help(text).contains("\"[::]:443\""), "{text}");
        }
        assert!(listening_help("localhost:443").contains("\"127.0.0.1:443\" and \"[::1]:443\""));
        assert!(listening_help("example.org:443").contains("\"0.0.0.0:443\""));
        assert_eq!(listening_help("::1:443"), "write \"[::1]:443\"");
        assert_eq!(listening_help(":::443"), "write \"[::]:443\"");
        assert_eq!(listening_help("::443"), "write \"[::]:443\"");
        assert_eq!(listening_help("2001:db8::1"), "write \"[2001:db8::1]:443\", with the port that is meant");
        assert!(listening_help("127.0.0.1").contains("\"127.0.0.1:443\""));
        assert!(listening_help("127.0.0.1:99999").contains("0 to 65535"));
        assert!(listening_help("[::ffff:127.0.0.1]:443").contains("\"127.0.0.1:443\""));
        assert!(listening_help("/run/x").contains("\"unix:/run/x\""));
        assert!(listening_help("unix:///run/x").contains("\"unix:/run/x\""), "{}", listening_help("unix:///run/x"));
        assert!(listening_help("tcp://1.2.3.4:5").contains("\"1.2.3.4:5\""));
    }

    #[test]
    fn almost_targets_are_refused_with_the_right_text() {
        assert!(target_help("0.0.0.0:22").contains("\"127.0.0.1:22\""));
        assert!(target_help(":22").contains("\"127.0.0.1:22\""));
        assert!(target_help("localhost").contains("\"localhost:443\""));
        assert!(target_help("127.0.0.1:0").contains("1 to 65535"));
        assert!(target_help("::1:22").contains("\"[::1]:22\""));
        assert!(target_help("http://localhost:80/").contains("\"localhost:80\""));
        assert!(target("1.2.3.400:22", Path::new("/")).is_err(), "digits and dots are no host name");
        assert!(target("a b:22", Path::new("/")).is_err());
    }

    #[test]
    fn a_socket_path_that_the_system_cannot_take_is_refused() {
        let fits = format!("unix:/{}", "x".repeat(106));
        assert!(listening(&fits, Path::new("/")).is_ok());
        assert!(listening(&format!("{fits}x"), Path::new("/")).unwrap_err().message.contains("108 bytes"));
        assert!(listening("unix:", Path::new("/")).is_err());
        assert!(listening("unix:@abstract", Path::new("/")).is_err());
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in r"\PC*|[0-9a-f:.\[\]%*unix/ ]{0,20}") {
            let _ = listening(&text, Path::new("/etc"));
            let _ = target(&text, Path::new("/etc"));
        }
    }
}
