//! `[plugins]`, `plugin_path`, and what a service's `plugin` and `where` lead to.
//!
//! A plugin is loaded while the file is checked, so that a configuration that starts is one whose plugins run. Services
//! that ask the same plugin with the same configuration share it, and with it one call per connection. What all of them
//! demand in `where` is known before the first is loaded, for a plugin may be told which of its facts are wanted.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use portsplit_runtime::{LoadError, PluginOptions};
use serde_json::Value;
use toml::Spanned;

use super::error::{Reporter, Span, harmless, printable};
use super::raw::{RawConfig, RawPlugin, RawService};
use super::schema::closest;
use super::units::{self, show_size};
use super::{address, settings};
use crate::matcher::{Classifier, Condition, Matcher};
use crate::plugin::{self, Guest, OnError};

/// Where a bare name is looked for unless the file says otherwise.
const PATH_DEFAULT: &str = "plugins";

/// Fuel for one call: below, no module does anything; above, one call could hold a worker for a second.
const FUEL: (i64, i64) = (1_000, 1_000_000_000);
const MEMORY: (u64, u64) = (64 << 10, PluginOptions::MEMORY_CEILING_BYTES as u64);
const MAX_SIZE: (u64, u64) = (1 << 10, PluginOptions::SIZE_CEILING_BYTES as u64);

/// All plugins of a file, loaded as services ask for them.
pub(super) struct Plugins<'a> {
    raw: &'a [RawPlugin],
    folder: &'a Path,
    path: Vec<PathBuf>,
    /// Whether all tables could be seen; if not, a name that leads nowhere is no error of its own.
    complete: bool,
    /// The facts that services demand, with the plugin and the table that they ask.
    demanded: Vec<(Module, Option<usize>, &'a str)>,
    loaded: Vec<Loaded>,
    /// Tables whose `wasm` leads nowhere, which has been reported.
    astray: Vec<usize>,
}

/// A plugin in the router's list.
struct Loaded {
    module: Module,
    /// The `[plugins]` table it is configured by.
    table: Option<usize>,
    guest: Option<Arc<Guest>>,
}

/// Where a module comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Module {
    File(PathBuf),
    Shipped(&'static str),
}

impl<'a> Plugins<'a> {
    /// Takes the tables of a file; relative paths start in `folder`.
    pub(super) fn new(raw: &'a RawConfig, folder: &'a Path) -> Self {
        let path = match &raw.plugin_path {
            Some(folders) => folders.get_ref().iter().map(|path| address::absolute(path.get_ref(), folder)).collect(),
            None => vec![address::absolute(PATH_DEFAULT, folder)],
        };
        let (complete, demanded, loaded) = (raw.plugins_complete, Vec::new(), Vec::new());
        let mut plugins = Self { raw: &raw.plugins, folder, path, complete, demanded, loaded, astray: Vec::new() };
        for service in &raw.services {
            let Some((module, table)) = service.plugin.as_ref().and_then(|name| plugins.locate(name.get_ref())) else {
                continue;
            };
            let facts = service.conditions.iter().flat_map(Spanned::get_ref).map(|(fact, _)| fact.get_ref().as_str());
            plugins.demanded.extend(facts.map(|fact| (module.clone(), table, fact)));
        }
        plugins
    }

    /// Loads the tables that no service asks for, so that a mistake in them is found all the same.
    pub(super) fn load_the_rest(&mut self, reporter: &mut Reporter) {
        for (number, table) in self.raw.iter().enumerate() {
            if let Some(wasm) = &table.wasm
                && let Some(module) = self.module_of_table(number, reporter)
            {
                self.slot(module, Some(number), wasm, reporter);
            }
        }
    }

    /// Returns what the slots of matchers refer to.
    pub(super) fn into_classifiers(self) -> Vec<Arc<dyn Classifier>> {
        self.loaded.into_iter().filter_map(|loaded| loaded.guest.map(|guest| guest as Arc<dyn Classifier>)).collect()
    }

    /// Makes the matcher of a service's `plugin` and `where`.
    pub(super) fn matcher(&mut self, service: &RawService, reporter: &mut Reporter) -> Option<(Matcher, Span)> {
        let Some(name) = &service.plugin else {
            if let (Some(demands), false) = (&service.conditions, service.plugin_attempted) {
                reporter
                    .error(demands.span(), "`where` is about the facts of a plugin, and this service has no `plugin`")
                    .help_with("add one, such as `plugin = \"tls\"`, or remove `where`");
            }
            return None;
        };
        let (module, table) = self.find(name, reporter)?;
        let slot = self.slot(module, table, name, reporter)?;
        let guest = self.loaded.get(slot).and_then(|loaded| loaded.guest.clone())?;
        let mut condition = Condition::default();
        for (fact, globs) in service.conditions.iter().flat_map(Spanned::get_ref) {
            let config = table.and_then(|number| self.raw.get(number)).and_then(|raw| raw.config.as_ref());
            check_fact(fact, &guest, config, reporter);
            let globs = globs.iter().map(|glob| glob.get_ref().clone()).collect();
            condition.demands.push((fact.get_ref().clone(), globs));
        }
        Some((Matcher::Classifier { slot, condition: Arc::new(condition) }, name.span()))
    }

    /// Finds what a service's `plugin` names: a table, a file, a file in the path, or a shipped plugin.
    fn find(&mut self, name: &Spanned<String>, reporter: &mut Reporter) -> Option<(Module, Option<usize>)> {
        let text = name.get_ref().as_str();
        let found = self.locate(text);
        if found.is_some() {
            return found;
        }
        if let Some((number, _)) = self.table(text) {
            self.module_of_table(number, reporter);
            return None;
        }
        if !self.complete {
            return None;
        }
        let shown = printable(text);
        let mut known: Vec<&str> = self.raw.iter().map(|table| table.name.get_ref().as_str()).collect();
        known.extend(plugin::SHIPPED.iter().map(|(name, _)| *name));
        let help = match closest(text, &known) {
            Some(near) => format!("did you mean `{}`?", printable(near)),
            None => {
                "name a [plugins] table, a file that ends in `.wasm`, or a plugin of `portsplit plugin list`".into()
            }
        };
        reporter.error(name.span(), format!("there is no plugin `{shown}`")).help_with(help);
        None
    }

    /// As [`Plugins::find`], without a word where nothing is found.
    fn locate(&self, name: &str) -> Option<(Module, Option<usize>)> {
        match self.table(name) {
            Some((number, table)) => Some((self.module(table.wasm.as_ref()?.get_ref())?, Some(number))),
            None => Some((self.module(name)?, None)),
        }
    }

    fn table(&self, name: &str) -> Option<(usize, &'a RawPlugin)> {
        self.raw.iter().enumerate().find(|(_, table)| table.name.get_ref() == name)
    }

    /// Finds a file, or a bare name in the path or among the shipped plugins.
    fn module(&self, name: &str) -> Option<Module> {
        if name.ends_with(".wasm") {
            return Some(Module::File(address::absolute(name, self.folder)));
        }
        let plain = !name.is_empty() && !name.contains(['/', '\0']);
        let file =
            self.path.iter().map(|folder| folder.join(format!("{name}.wasm"))).find(|file| plain && file.exists());
        let shipped = || plugin::SHIPPED.iter().find(|(shipped, _)| *shipped == name).map(|(name, _)| *name);
        file.map(Module::File).or_else(|| shipped().map(Module::Shipped))
    }

    /// What a table's `wasm` names: a file, or a bare name as in a service. What is wrong with it is said once.
    fn module_of_table(&mut self, number: usize, reporter: &mut Reporter) -> Option<Module> {
        let wasm = self.raw.get(number)?.wasm.as_ref()?;
        let module = self.module(wasm.get_ref());
        if module.is_none() && !self.astray.contains(&number) {
            self.astray.push(number);
            reporter
                .error(wasm.span(), format!("there is no plugin `{}`", printable(wasm.get_ref())))
                .help_with("write the path of a file that ends in `.wasm`, or the name of a shipped plugin");
        }
        module
    }

    /// Returns the number of the loaded plugin, loading it at its first use; `None` if that failed.
    fn slot(
        &mut self,
        module: Module,
        table: Option<usize>,
        written: &Spanned<String>,
        reporter: &mut Reporter,
    ) -> Option<usize> {
        let known = self.loaded.iter().position(|loaded| loaded.module == module && self.same(loaded.table, table));
        let slot = known.unwrap_or_else(|| {
            let guest = self.load(&module, table, written, reporter);
            self.loaded.push(Loaded { module, table, guest: guest.map(Arc::new) });
            self.loaded.len() - 1
        });
        self.loaded.get(slot)?.guest.is_some().then_some(slot)
    }

    /// Tells whether two tables, or none, set up a plugin in the same way.
    fn same(&self, one: Option<usize>, other: Option<usize>) -> bool {
        let setup = |table: Option<usize>| table.and_then(|number| self.raw.get(number)).map(RawPlugin::setup);
        one == other || setup(one).unwrap_or_default() == setup(other).unwrap_or_default()
    }

    /// Whether some service demands a fact of this plugin, set up like this.
    fn is_demanded(&self, module: &Module, table: Option<usize>, fact: &str) -> bool {
        let mut all = self.demanded.iter();
        all.any(|(of, by, demanded)| *demanded == fact && of == module && self.same(*by, table))
    }

    fn load(
        &self,
        module: &Module,
        table: Option<usize>,
        written: &Spanned<String>,
        reporter: &mut Reporter,
    ) -> Option<Guest> {
        let raw = table.and_then(|number| self.raw.get(number));
        let (mut options, on_error) = options(raw, reporter)?;
        if raw.is_none() {
            // The name in logs is the one that the file uses: `our-vpn` for `lib/our-vpn.wasm`.
            let stem = Path::new(written.get_ref()).file_stem().unwrap_or_default();
            options.name = printable(&stem.to_string_lossy());
        }
        let wasm = match module {
            Module::Shipped(name) => plugin::shipped(name)?.to_vec(),
            Module::File(path) => match read_limited(path, options.max_size_bytes) {
                Ok(wasm) => wasm,
                Err(error) => {
                    let shown = printable(written.get_ref());
                    let message = format!("the plugin `{shown}` cannot be read: {error}");
                    let error = reporter.error(written.span(), message);
                    error.help_with("relative paths start in the folder of this file");
                    return None;
                }
            },
        };
        // What cannot be read here, the loading below explains.
        if let Some(manifest) = portsplit_runtime::inspect(&wasm).ok().and_then(|info| info.manifest) {
            plugin::want_facts(&mut options.config, &manifest, |fact| self.is_demanded(module, table, fact));
        }
        match Guest::load(&wasm, &options, on_error) {
            Ok(guest) => Some(guest),
            Err(error) => {
                let message = harmless(&format!("this plugin cannot be used: {error}"));
                let config = raw.and_then(|raw| raw.config.as_ref()).map(Spanned::span);
                let span = match error {
                    LoadError::ConfigRefused { .. } => config.unwrap_or(written.span()),
                    _ => written.span(),
                };
                reporter.error(span, message);
                None
            }
        }
    }
}

/// Turns a table into options, within their ranges.
fn options(raw: Option<&RawPlugin>, reporter: &mut Reporter) -> Option<(PluginOptions, OnError)> {
    let mut options = PluginOptions::default();
    let Some(raw) = raw else { return Some((options, OnError::default())) };
    options.name = raw.name.get_ref().clone();
    options.config = raw.config.as_ref().map(|config| config.get_ref().clone()).unwrap_or(Value::Null);
    // Everything is read before anything is given up, so that all that is wrong is said at once.
    let fuel = raw.fuel.as_ref().map(|fuel| settings::within("fuel", Some(fuel), FUEL.0, FUEL.1, reporter));
    let memory = raw.memory.as_ref().map(|memory| size("memory", memory, MEMORY, reporter));
    let max_size = raw.max_size.as_ref().map(|max_size| size("max_size", max_size, MAX_SIZE, reporter));
    let on_error = match raw.on_error.as_ref().map(|on_error| (on_error.get_ref().as_str(), on_error.span())) {
        None | Some(("reject", _)) => Some(OnError::Reject),
        Some(("close", _)) => Some(OnError::Close),
        Some((other, span)) => {
            reporter
                .error(span, format!("`on_error` is `{}`", printable(other)))
                .help_with("write \"reject\" (the plugin does not match) or \"close\" (the connection is closed)");
            None
        }
    };
    if let Some(fuel) = fuel {
        options.fuel = u64::try_from(fuel?).ok()?;
    }
    if let Some(memory) = memory {
        options.memory_bytes = memory?;
    }
    if let Some(max_size) = max_size {
        options.max_size_bytes = max_size?;
    }
    Some((options, on_error?))
}

fn size(key: &str, text: &Spanned<String>, (least, most): (u64, u64), reporter: &mut Reporter) -> Option<usize> {
    match units::size(text.get_ref()) {
        Ok(bytes) if (least..=most).contains(&bytes) => usize::try_from(bytes).ok(),
        Ok(bytes) => {
            let (least, most) = (show_size(least), show_size(most));
            let message = format!("`{key}` is `{}`, and it has to be from `{least}` to `{most}`", show_size(bytes));
            reporter.error(text.span(), message);
            None
        }
        Err(error) => {
            let message = format!("`{key}` is `{}`, which {}", printable(text.get_ref()), error.reason);
            reporter.error(text.span(), message).help_with(error.help());
            None
        }
    }
}

/// Refuses a fact that the plugin's manifest does not have, or that its configuration switches off; without a manifest
/// nothing is known.
fn check_fact(fact: &Spanned<String>, guest: &Guest, config: Option<&Spanned<Value>>, reporter: &mut Reporter) {
    let Some(manifest) = guest.plugin().manifest() else { return };
    let known: Vec<&str> = manifest.facts.iter().map(|fact| fact.name.as_str()).collect();
    let (name, shown) = (fact.get_ref().as_str(), printable(fact.get_ref()));
    if let Some(config) = config
        && config.get_ref().get(name) == Some(&Value::Bool(false))
        && plugin::optional_facts(manifest).any(|optional| optional == name)
    {
        reporter
            .error(fact.span(), format!("the plugin does not learn `{shown}`, for its `config` has `{shown} = false`"))
            .help_with("remove that key: it is set where a service asks for the fact")
            .related_to(config.span(), "here");
        return;
    }
    if known.contains(&name) {
        return;
    }
    let message = format!("the plugin `{}` has no fact `{shown}`", printable(&manifest.name));
    let help = match closest(fact.get_ref(), &known) {
        Some(near) => format!("did you mean `{near}`?"),
        None if known.is_empty() => "it has no facts at all; remove `where`".to_owned(),
        None => format!("its facts are {}", super::fields::listed(&known)),
    };
    reporter.error(fact.span(), message).help_with(help);
}

/// Reads a file up to one byte past what the runtime accepts, which then says so.
///
/// Only a regular file will do: reading a pipe would wait for somebody to write, and take from the next reload what this
/// one has read.
fn read_limited(path: &Path, limit: usize) -> io::Result<Vec<u8>> {
    let nonblocking = rustix::fs::OFlags::NONBLOCK.bits() as i32;
    let file = File::options().read(true).custom_flags(nonblocking).open(path)?;
    if !file.metadata()?.is_file() {
        return Err(io::Error::other("it is not a regular file"));
    }
    let mut bytes = Vec::new();
    file.take(limit as u64 + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}
