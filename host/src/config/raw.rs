//! The configuration as written: each key with its place, no defaults and no meaning yet.
//!
//! `resolve` turns it into the valid [`Config`](super::Config). Unknown keys and wrong types are reported while this is
//! read; a field that could not be read is absent here.

use serde_json::Value;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::error::{Reporter, Span, printable};
use super::fields::{Fields, type_name};
use super::{schema, syntax};

/// One configuration file.
#[derive(Debug, Default)]
pub(super) struct RawConfig {
    /// Addresses in file order; `None` if the key is absent.
    pub(super) listen: Option<Spanned<Vec<RawListener>>>,
    pub(super) timeout: Option<Spanned<String>>,
    pub(super) max_first_flight: Option<Spanned<String>>,
    pub(super) max_connections: Option<Spanned<i64>>,
    pub(super) max_undecided: Option<Spanned<i64>>,
    pub(super) max_connections_per_source: Option<Spanned<i64>>,
    pub(super) connect_timeout: Option<Spanned<String>>,
    pub(super) idle_timeout: Option<Spanned<String>>,
    pub(super) half_close_timeout: Option<Spanned<String>>,
    pub(super) splice: Option<Spanned<String>>,
    pub(super) drain_timeout: Option<Spanned<String>>,
    pub(super) workers: Option<Spanned<i64>>,
    pub(super) pid_file: Option<Spanned<String>>,
    pub(super) user: Option<Spanned<String>>,
    pub(super) group: Option<Spanned<String>>,
    pub(super) log: RawLog,
    pub(super) plugin_path: Option<Spanned<Vec<Spanned<String>>>>,
    pub(super) plugins: Vec<RawPlugin>,
    pub(super) services: Vec<RawService>,
    /// Whether all plugins could be seen; if not, a reference to an unknown one is no error of its own.
    pub(super) plugins_complete: bool,
    /// Whether `listen` was attempted, even under a mistyped key: its absence is then no second error.
    pub(super) listen_attempted: bool,
    /// Whether all services could be seen; if not, a reference to an unknown one is no error of its own.
    pub(super) services_complete: bool,
}

/// One address, as a string or as a `[[listen]]` table.
#[derive(Debug)]
pub(super) struct RawListener {
    /// The address, or where it is missing.
    pub(super) address: Option<Spanned<String>>,
    pub(super) services: Option<Spanned<Vec<Spanned<String>>>>,
    pub(super) mode: Option<Spanned<String>>,
    pub(super) backlog: Option<Spanned<i64>>,
    pub(super) socket: Option<Spanned<RawSocket>>,
}

/// A table `socket` of a listener or a service.
#[derive(Debug, Default)]
pub(super) struct RawSocket {
    pub(super) nodelay: Option<Spanned<bool>>,
    pub(super) keepalive: Option<Spanned<String>>,
    pub(super) congestion: Option<Spanned<String>>,
    pub(super) user_timeout: Option<Spanned<String>>,
    pub(super) fast_open: Option<Spanned<bool>>,
    pub(super) mark: Option<Spanned<i64>>,
    pub(super) device: Option<Spanned<String>>,
}

/// The table `[log]`.
#[derive(Debug, Default)]
pub(super) struct RawLog {
    pub(super) level: Option<Spanned<String>>,
    pub(super) format: Option<Spanned<String>>,
}

/// One `[plugins.NAME]`.
#[derive(Debug)]
pub(super) struct RawPlugin {
    pub(super) name: Spanned<String>,
    pub(super) wasm: Option<Spanned<String>>,
    pub(super) config: Option<Spanned<Value>>,
    pub(super) fuel: Option<Spanned<i64>>,
    pub(super) memory: Option<Spanned<String>>,
    pub(super) max_size: Option<Spanned<String>>,
    pub(super) on_error: Option<Spanned<String>>,
}

/// What a service demands: facts, each with the globs of which one has to match.
pub(super) type RawConditions = Vec<(Spanned<String>, Vec<Spanned<String>>)>;

/// One `[[service]]`.
#[derive(Debug)]
pub(super) struct RawService {
    /// The header of the table.
    pub(super) span: Span,
    pub(super) name: Option<Spanned<String>>,
    pub(super) prefix: Option<Spanned<Vec<Spanned<String>>>>,
    pub(super) regex: Option<Spanned<Vec<Spanned<String>>>>,
    pub(super) plugin: Option<Spanned<String>>,
    pub(super) conditions: Option<Spanned<RawConditions>>,
    pub(super) connect: Option<Spanned<Vec<Spanned<String>>>>,
    pub(super) socket: Option<Spanned<RawSocket>>,
    pub(super) exec: Option<Spanned<Vec<Spanned<String>>>>,
    pub(super) pty: Option<Spanned<bool>>,
    pub(super) echo: Option<Spanned<bool>>,
    pub(super) close: Option<Spanned<bool>>,
    /// Where the keys of matchers stand, also of those that could not be read.
    pub(super) matcher_keys: Vec<(&'static str, Span)>,
    /// Where the keys of actions stand, also of those that could not be read.
    pub(super) action_keys: Vec<(&'static str, Span)>,
    /// Keys that are missing but were attempted, so that their absence has been explained.
    pub(super) name_attempted: bool,
    pub(super) matcher_attempted: bool,
    pub(super) plugin_attempted: bool,
    pub(super) action_attempted: bool,
    pub(super) pty_attempted: bool,
}

const MATCHERS: [&str; 3] = ["prefix", "regex", "plugin"];
const ACTIONS: [&str; 3] = ["connect", "exec", "close"];

impl RawConfig {
    /// Reads the text that `reporter` holds. `None` if its structure is broken; the reporter knows why.
    pub(super) fn read(reporter: &mut Reporter) -> Option<Self> {
        let text = reporter.text().to_owned();
        let (document, errors) = DeTable::parse_recoverable(&text);
        let broken = syntax::report(&errors, reporter);
        (!broken).then(|| Self::from_table(document.get_ref(), reporter))
    }

    fn from_table(table: &DeTable<'_>, reporter: &mut Reporter) -> Self {
        let fields = Fields::open(&schema::ROOT, table, reporter);
        let services: Vec<RawService> =
            fields.value("service").map(|value| read_services(value, reporter)).unwrap_or_default();
        Self {
            listen: fields.value("listen").and_then(|value| read_listeners(value, reporter)),
            timeout: fields.duration("timeout", reporter),
            max_first_flight: fields.size("max_first_flight", reporter),
            max_connections: fields.number("max_connections", reporter),
            max_undecided: fields.number("max_undecided", reporter),
            max_connections_per_source: fields.number("max_connections_per_source", reporter),
            connect_timeout: fields.duration("connect_timeout", reporter),
            idle_timeout: fields.duration("idle_timeout", reporter),
            half_close_timeout: fields.duration("half_close_timeout", reporter),
            splice: fields.text("splice", "\"auto\"", reporter),
            drain_timeout: fields.duration("drain_timeout", reporter),
            workers: fields.number("workers", reporter),
            pid_file: fields.text("pid_file", "\"/run/portsplit.pid\"", reporter),
            user: fields.text("user", "\"nobody\"", reporter),
            group: fields.text("group", "\"nogroup\"", reporter),
            log: fields.value("log").map(|value| RawLog::read(value, reporter)).unwrap_or_default(),
            plugin_path: fields.texts("plugin_path", "[\"plugins\"]", reporter),
            plugins: fields.value("plugins").map(|value| read_plugins(value, reporter)).unwrap_or_default(),
            plugins_complete: !fields.is_mistyped("plugins")
                && fields.value("plugins").is_none_or(|value| matches!(value.get_ref(), DeValue::Table(_))),
            services_complete: !fields.is_mistyped("service") && services.iter().all(|service| service.name.is_some()),
            services,
            listen_attempted: fields.is_attempted("listen"),
        }
    }
}

impl RawListener {
    fn from_address(address: Spanned<String>) -> Self {
        Self { address: Some(address), services: None, mode: None, backlog: None, socket: None }
    }

    fn from_table(table: &DeTable<'_>, span: Span, reporter: &mut Reporter) -> Self {
        let fields = Fields::open(&schema::LISTEN, table, reporter);
        let address = fields.text("address", "\"0.0.0.0:443\"", reporter);
        if !fields.is_attempted("address") {
            reporter
                .error(span, "this [[listen]] has no `address`")
                .help_with("add one, such as `address = \"0.0.0.0:443\"`");
        }
        Self {
            address,
            services: fields.texts("services", "[\"web\", \"ssh\"]", reporter),
            mode: fields.text("mode", "\"0600\"", reporter),
            backlog: fields.number("backlog", reporter),
            socket: RawSocket::read(&fields, reporter),
        }
    }
}

impl RawSocket {
    /// Reads the `socket` of a table, if it has one; its place is that of the key.
    fn read(parent: &Fields<'_>, reporter: &mut Reporter) -> Option<Spanned<Self>> {
        let (value, span) = (parent.value("socket")?, parent.key_span("socket")?);
        let DeValue::Table(table) = value.get_ref() else {
            let found = type_name(value.get_ref());
            let error = reporter.error(value.span(), format!("`socket` needs a table, not {found}"));
            error.help_with("write it like { keepalive = \"60s\", congestion = \"cubic\" }");
            return None;
        };
        let fields = Fields::open(&schema::SOCKET, table, reporter);
        let socket = Self {
            nodelay: fields.boolean("nodelay", reporter),
            keepalive: fields.duration("keepalive", reporter),
            congestion: fields.text("congestion", "\"cubic\"", reporter),
            user_timeout: fields.duration("user_timeout", reporter),
            fast_open: fields.boolean("fast_open", reporter),
            mark: fields.number("mark", reporter),
            device: fields.text("device", "\"eth0\"", reporter),
        };
        Some(Spanned::new(span, socket))
    }
}

impl RawLog {
    fn read(value: &Spanned<DeValue<'_>>, reporter: &mut Reporter) -> Self {
        let DeValue::Table(table) = value.get_ref() else {
            let found = type_name(value.get_ref());
            let error = reporter.error(value.span(), format!("`log` needs a table, not {found}"));
            error.help_with("write `[log]` on a line of its own and `level = \"info\"` below it");
            return Self::default();
        };
        let fields = Fields::open(&schema::LOG, table, reporter);
        Self { level: fields.text("level", "\"info\"", reporter), format: fields.text("format", "\"text\"", reporter) }
    }
}

impl RawService {
    fn read(value: &Spanned<DeValue<'_>>, reporter: &mut Reporter) -> Option<Self> {
        let DeValue::Table(table) = value.get_ref() else {
            report_no_service_table(value, reporter);
            return None;
        };
        let fields = Fields::open(&schema::SERVICE, table, reporter);
        let spans = |keys: &[&'static str]| -> Vec<(&'static str, Span)> {
            keys.iter().filter_map(|key| Some((*key, fields.key_span(key)?))).collect()
        };
        // A key of a version to come may well be this service's matcher: its refusal is enough.
        let later = table.keys().any(|key| schema::SERVICE.unavailable.contains(&key.get_ref().as_ref()));
        Some(Self {
            span: value.span(),
            name: fields.text("name", "\"ssh\"", reporter),
            prefix: fields.texts("prefix", "'SSH-'", reporter),
            regex: fields.texts("regex", "'^GET '", reporter),
            plugin: fields.text("plugin", "\"tls\"", reporter),
            conditions: fields.value("where").and_then(|value| read_conditions(value, reporter)),
            connect: fields.texts("connect", "\"127.0.0.1:22\"", reporter),
            socket: RawSocket::read(&fields, reporter),
            exec: read_exec(&fields, reporter),
            pty: fields.boolean("pty", reporter),
            echo: fields.boolean("echo", reporter),
            close: fields.boolean("close", reporter),
            matcher_keys: spans(&MATCHERS),
            action_keys: spans(&ACTIONS),
            name_attempted: fields.is_attempted("name"),
            matcher_attempted: later || MATCHERS.iter().any(|key| fields.is_attempted(key)),
            plugin_attempted: fields.is_attempted("plugin"),
            action_attempted: ACTIONS.iter().any(|key| fields.is_attempted(key)),
            pty_attempted: fields.is_attempted("pty"),
        })
    }
}

impl RawPlugin {
    fn read(name: Spanned<String>, value: &Spanned<DeValue<'_>>, reporter: &mut Reporter) -> Option<Self> {
        let DeValue::Table(table) = value.get_ref() else {
            let (found, shown) = (type_name(value.get_ref()), printable(name.get_ref()));
            let error = reporter.error(value.span(), format!("the plugin `{shown}` needs a table, not {found}"));
            error.help_with(format!("write `[plugins.{shown}]` and `wasm = \"{shown}.wasm\"` below it"));
            return None;
        };
        let fields = Fields::open(&schema::PLUGIN, table, reporter);
        if !fields.is_attempted("wasm") {
            reporter
                .error(name.span(), format!("the plugin `{}` has no `wasm`", printable(name.get_ref())))
                .help_with("add one, such as `wasm = \"our-vpn.wasm\"`");
        }
        Some(Self {
            wasm: fields.text("wasm", "\"our-vpn.wasm\"", reporter),
            config: fields.value("config").map(|value| Spanned::new(value.span(), json(value.get_ref()))),
            fuel: fields.number("fuel", reporter),
            memory: fields.size("memory", reporter),
            max_size: fields.size("max_size", reporter),
            on_error: fields.text("on_error", "\"reject\"", reporter),
            name,
        })
    }

    /// Returns everything but the name and the module, to tell whether two tables ask for the same.
    pub(super) fn setup(&self) -> impl PartialEq + Default + use<> {
        let text = |text: &Option<Spanned<String>>| text.as_ref().map(|text| text.get_ref().clone());
        (
            self.config.as_ref().map(|config| config.get_ref().clone()),
            self.fuel.as_ref().map(|fuel| *fuel.get_ref()),
            text(&self.memory),
            text(&self.max_size),
            text(&self.on_error),
        )
    }
}

fn read_plugins(value: &Spanned<DeValue<'_>>, reporter: &mut Reporter) -> Vec<RawPlugin> {
    let DeValue::Table(table) = value.get_ref() else {
        let found = type_name(value.get_ref());
        let error = reporter.error(value.span(), format!("`plugins` needs tables, not {found}"));
        error.help_with("write `[plugins.our-vpn]` and `wasm = \"our-vpn.wasm\"` below it");
        return Vec::new();
    };
    let named = table.iter().map(|(name, value)| (Spanned::new(name.span(), name.get_ref().to_string()), value));
    named.filter_map(|(name, value)| RawPlugin::read(name, value, reporter)).collect()
}

/// Reads `where`: facts with a glob or a list of globs.
fn read_conditions(value: &Spanned<DeValue<'_>>, reporter: &mut Reporter) -> Option<Spanned<RawConditions>> {
    const EXAMPLE: &str = "write it like { sni = [\"example.org\", \"*.example.org\"], alpn = \"h2\" }";
    let refuse = |value: &Spanned<DeValue<'_>>, needs: &str, reporter: &mut Reporter| {
        let found = type_name(value.get_ref());
        reporter.error(value.span(), format!("`where` needs {needs}, not {found}")).help_with(EXAMPLE);
    };
    let DeValue::Table(table) = value.get_ref() else {
        refuse(value, "a table of facts", reporter);
        return None;
    };
    let mut conditions = RawConditions::new();
    for (fact, globs) in table.iter() {
        let list = match globs.get_ref() {
            DeValue::Array(list) if list.is_empty() => {
                let fact = printable(fact.get_ref());
                let error = reporter.error(globs.span(), format!("`where` accepts no value of `{fact}`"));
                error.help_with("write the values that will do, \"*\" for any, or remove the fact");
                continue;
            }
            DeValue::Array(list) => list.iter().collect(),
            _ => vec![globs],
        };
        let mut read = Vec::new();
        for glob in list {
            match glob.get_ref() {
                DeValue::String(text) => read.push(Spanned::new(glob.span(), text.to_string())),
                _ => refuse(glob, "strings", reporter),
            }
        }
        conditions.push((Spanned::new(fact.span(), fact.get_ref().to_string()), read));
    }
    Some(Spanned::new(value.span(), conditions))
}

/// Turns a value into the JSON that a plugin is configured with. A date becomes its text.
fn json(value: &DeValue<'_>) -> Value {
    match value {
        DeValue::String(text) => Value::from(text.as_ref()),
        DeValue::Integer(integer) => {
            i64::from_str_radix(integer.as_str(), integer.radix()).map_or(Value::Null, Value::from)
        }
        DeValue::Float(float) => float.as_str().parse::<f64>().map_or(Value::Null, Value::from),
        DeValue::Boolean(boolean) => Value::from(*boolean),
        DeValue::Datetime(date) => Value::from(date.to_string()),
        DeValue::Array(list) => list.iter().map(|item| json(item.get_ref())).collect(),
        DeValue::Table(table) => {
            table.iter().map(|(key, value)| (key.get_ref().to_string(), json(value.get_ref()))).collect()
        }
    }
}

/// Reads `exec`, which is always a list: one string would leave open whether a shell splits it.
fn read_exec(fields: &Fields<'_>, reporter: &mut Reporter) -> Option<Spanned<Vec<Spanned<String>>>> {
    let value = fields.value("exec")?;
    if let DeValue::String(command) = value.get_ref() {
        let words: Vec<String> = command.split_whitespace().map(|word| format!("\"{}\"", printable(word))).collect();
        reporter
            .error(value.span(), "`exec` needs a list of the program and its arguments, not a string")
            .help_with(format!("write [{}]; no shell takes part", words.join(", ")));
        return None;
    }
    fields.texts("exec", "[\"/bin/cat\", \"-u\"]", reporter)
}

fn read_listeners(value: &Spanned<DeValue<'_>>, reporter: &mut Reporter) -> Option<Spanned<Vec<RawListener>>> {
    let mut listeners = Vec::new();
    let mut read_one = |item: &Spanned<DeValue<'_>>| match item.get_ref() {
        DeValue::String(address) => {
            listeners.push(RawListener::from_address(Spanned::new(item.span(), address.clone().into_owned())));
        }
        DeValue::Table(table) => listeners.push(RawListener::from_table(table, item.span(), reporter)),
        other => {
            let found = type_name(other);
            let help = match other {
                DeValue::Integer(port) => format!("write \"0.0.0.0:{0}\" or \"[::]:{0}\"", port.as_str()),
                _ => "write it like [\"0.0.0.0:443\", \"[::]:443\"], or as [[listen]] tables".to_owned(),
            };
            reporter.error(item.span(), format!("`listen` needs addresses, not {found}")).help_with(help);
        }
    };
    match value.get_ref() {
        DeValue::Array(list) => list.iter().for_each(&mut read_one),
        // `[listen]` for `[[listen]]`: one listener is what was meant.
        _ => read_one(value),
    }
    Some(Spanned::new(value.span(), listeners))
}

fn read_services(value: &Spanned<DeValue<'_>>, reporter: &mut Reporter) -> Vec<RawService> {
    match value.get_ref() {
        DeValue::Array(list) => list.iter().filter_map(|item| RawService::read(item, reporter)).collect(),
        _ => {
            report_no_service_table(value, reporter);
            Vec::new()
        }
    }
}

fn report_no_service_table(value: &Spanned<DeValue<'_>>, reporter: &mut Reporter) {
    let found = match value.get_ref() {
        DeValue::Table(_) => "one table",
        other => type_name(other),
    };
    reporter
        .error(value.span(), format!("`service` needs a list of tables, not {found}"))
        .help_with("write `[[service]]`, with two brackets, above the keys of each service");
}
