//! The plugin under test: loading it from wasm or native code with a configuration, and calling it.
//!
//! Everything above this file sees a function from bytes and flags to a [`Judgement`]. The file does not assert.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::{Arc, OnceLock};

use portsplit_runtime::{Flags, LoadError, Manifest, ManifestError, PluginOptions, Runtime, RuntimeOptions};
use serde_json::Value;

use super::judgement::Judgement;
use super::reuse;
use crate::native::{Configured, NativePlugin};
use crate::{ConfigError, Input};

/// A plugin under test, loaded with one configuration.
///
/// # Examples
///
/// ```
/// use portsplit_plugin_sdk::harness::Plugin;
///
/// # let wasm = wat::parse_str(include_str!("../../../tests/bad-plugins/good.wat"))?;
/// let plugin = Plugin::wasm(wasm).load()?;
/// plugin.feed(b"GET / HTTP/1.1\r\n").expect_reject().decided_at(1);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Plugin {
    source: Source,
    options: PluginOptions,
    manifest: Option<Manifest>,
    loaded: Loaded,
    /// The same module, changed to run two calls in one instance; made when a law first asks.
    reused: OnceLock<Option<portsplit_runtime::Plugin>>,
}

#[derive(Clone)]
enum Source {
    Wasm(Arc<[u8]>, Runtime),
    Native(NativePlugin),
}

enum Loaded {
    Wasm(portsplit_runtime::Plugin),
    Native(Configured),
}

/// Why a plugin under test cannot be used.
///
/// # Examples
///
/// ```
/// use portsplit_plugin_sdk::harness::Plugin;
/// let failure = Plugin::wasm_file("no/such.wasm").load().unwrap_err();
/// assert!(failure.to_string().contains("cannot read"));
/// ```
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LoadFailure {
    /// The file cannot be read.
    #[error("cannot read `{path}`: {error}")]
    File {
        /// The file.
        path: String,
        /// Why not.
        error: std::io::Error,
    },
    /// The runtime refuses the module, or the module its configuration.
    #[error(transparent)]
    Wasm(#[from] LoadError),
    /// The native classifier refuses its configuration.
    #[error("the plugin refuses its `config`: {0}")]
    Config(ConfigError),
    /// The native plugin's manifest is wrong.
    #[error("the manifest: {0}")]
    Manifest(#[from] ManifestError),
}

impl LoadFailure {
    /// The reason, if it is that the plugin refuses its configuration.
    ///
    /// # Examples
    ///
    /// ```
    /// # let good = wat::parse_str(include_str!("../../../tests/bad-plugins/good.wat"))?;
    /// # let plugin = portsplit_plugin_sdk::harness::Plugin::wasm(good).load()?;
    /// let refusal = plugin.with_config(&serde_json::json!({ "strict": 2 })).unwrap_err();
    /// assert!(refusal.refused_config().is_some_and(|reason| reason.contains("strict")));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn refused_config(&self) -> Option<String> {
        match self {
            LoadFailure::Wasm(LoadError::ConfigRefused { reason }) => Some(reason.clone()),
            LoadFailure::Wasm(error @ LoadError::ConfigUnsupported) => Some(error.to_string()),
            LoadFailure::Config(error) => Some(error.to_string()),
            _ => None,
        }
    }
}

/// A plugin about to be loaded. [`Plugin::wasm`], [`Plugin::wasm_file`] and [`Plugin::native`] make one.
///
/// # Examples
///
/// ```
/// use portsplit_plugin_sdk::harness::Plugin;
/// use serde_json::json;
///
/// # let wasm = wat::parse_str(include_str!("../../../tests/bad-plugins/good.wat"))?;
/// let plugin = Plugin::wasm(wasm).config(json!({ "strict": 1 })).fuel(50_000).load()?;
/// plugin.feed(b"POST\x02\x02ab").expect_reject();
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[must_use]
pub struct Builder {
    source: Result<Given, LoadFailure>,
    options: PluginOptions,
    runtime: Option<Runtime>,
}

enum Given {
    Wasm(Arc<[u8]>),
    Native(NativePlugin),
}

impl Builder {
    fn new(source: Result<Given, LoadFailure>) -> Builder {
        Builder { source, options: PluginOptions::default(), runtime: None }
    }

    /// The configuration, as `[plugins.NAME] config` would have it.
    ///
    /// # Examples
    ///
    /// ```
    /// # let good = wat::parse_str(include_str!("../../../tests/bad-plugins/good.wat"))?;
    /// use portsplit_plugin_sdk::harness::Plugin;
    /// let strict = Plugin::wasm(good).config(serde_json::json!({ "strict": 1 })).load()?;
    /// strict.feed(b"POST\x02").expect_reject();
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn config(mut self, config: Value) -> Builder {
        self.options.config = config;
        self
    }

    /// The fuel each call may use; [`PluginOptions::DEFAULT_FUEL`] unless set.
    ///
    /// # Examples
    ///
    /// ```
    /// # let good = wat::parse_str(include_str!("../../../tests/bad-plugins/good.wat"))?;
    /// use portsplit_plugin_sdk::harness::Plugin;
    /// assert_eq!(Plugin::wasm(good).fuel(5_000).load()?.options().fuel, 5_000);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn fuel(mut self, fuel: u64) -> Builder {
        self.options.fuel = fuel;
        self
    }

    /// Every limit and the configuration at once.
    ///
    /// # Examples
    ///
    /// ```
    /// # let good = wat::parse_str(include_str!("../../../tests/bad-plugins/good.wat"))?;
    /// use portsplit_plugin_sdk::harness::{Plugin, PluginOptions};
    /// let options = PluginOptions { memory_bytes: 1 << 20, ..PluginOptions::default() };
    /// assert_eq!(Plugin::wasm(good).options(options).load()?.options().memory_bytes, 1 << 20);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn options(mut self, options: PluginOptions) -> Builder {
        self.options = options;
        self
    }

    /// The runtime to load into, such as one with a cache; one without a cache, shared by all tests, unless set.
    ///
    /// # Examples
    ///
    /// ```
    /// # let good = wat::parse_str(include_str!("../../../tests/bad-plugins/good.wat"))?;
    /// use portsplit_plugin_sdk::harness::Plugin;
    /// use portsplit_runtime::{Runtime, RuntimeOptions};
    /// let runtime = Runtime::new(RuntimeOptions::default())?;
    /// Plugin::wasm(good).runtime(&runtime).load()?.feed(b"GET").expect_reject();
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn runtime(mut self, runtime: &Runtime) -> Builder {
        self.runtime = Some(runtime.clone());
        self
    }

    /// Loads the plugin as the host would.
    ///
    /// # Errors
    ///
    /// [`LoadFailure`] with what the host would say.
    ///
    /// # Examples
    ///
    /// ```
    /// use portsplit_plugin_sdk::harness::Plugin;
    /// assert!(Plugin::wasm(b"no module".to_vec()).load().is_err());
    /// ```
    pub fn load(self) -> Result<Plugin, LoadFailure> {
        let source = match self.source? {
            Given::Native(native) => Source::Native(native),
            Given::Wasm(wasm) => Source::Wasm(
                wasm,
                match self.runtime {
                    Some(runtime) => runtime,
                    None => shared_runtime()?,
                },
            ),
        };
        Plugin::load(source, self.options)
    }
}

/// The runtime of plugins that are given none.
fn shared_runtime() -> Result<Runtime, LoadError> {
    static SHARED: OnceLock<Runtime> = OnceLock::new();
    if let Some(runtime) = SHARED.get() {
        return Ok(runtime.clone());
    }
    let runtime = Runtime::new(RuntimeOptions { backtrace: true, ..RuntimeOptions::default() })?;
    Ok(SHARED.get_or_init(|| runtime).clone())
}

impl Plugin {
    /// Takes the bytes of a `.wasm` file.
    ///
    /// # Examples
    ///
    /// ```
    /// # let good = wat::parse_str(include_str!("../../../tests/bad-plugins/good.wat"))?;
    /// use portsplit_plugin_sdk::harness::Plugin;
    /// assert_eq!(Plugin::wasm(good).load()?.name(), "good");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn wasm(bytes: impl Into<Vec<u8>>) -> Builder {
        Builder::new(Ok(Given::Wasm(bytes.into().into())))
    }

    /// Takes a `.wasm` file by its path; that it cannot be read is reported by [`Builder::load`].
    ///
    /// # Examples
    ///
    /// ```
    /// use portsplit_plugin_sdk::harness::Plugin;
    /// assert!(Plugin::wasm_file("no/such.wasm").load().is_err());
    /// ```
    pub fn wasm_file(path: impl AsRef<Path>) -> Builder {
        let path = path.as_ref();
        let read = std::fs::read(path).map(|bytes| Given::Wasm(bytes.into()));
        Builder::new(read.map_err(|error| LoadFailure::File { path: path.display().to_string(), error }))
    }

    /// Takes what `portsplit_plugin()` returns, the function that [`export!`](crate::export!) defines.
    ///
    /// # Examples
    ///
    /// ```
    /// use portsplit_plugin_sdk::{harness::Plugin, prelude::*};
    ///
    /// struct Ping;
    /// impl Classifier for Ping {
    ///     type Config = ();
    ///     fn new(_: ()) -> Result<Self, ConfigError> {
    ///         Ok(Ping)
    ///     }
    ///     fn classify(&self, input: Input<'_>, _: &mut Facts) -> Answer {
    ///         input.cursor().tag(b"PING")?;
    ///         Ok(Match)
    ///     }
    /// }
    /// export! { classifier: Ping, name: "ping", description: "A greeting.", protocols: ["ping"], max_bytes: 4 }
    ///
    /// Plugin::native(portsplit_plugin()).load()?.feed(b"PING").expect_match();
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn native(plugin: NativePlugin) -> Builder {
        Builder::new(Ok(Given::Native(plugin)))
    }

    fn load(source: Source, options: PluginOptions) -> Result<Plugin, LoadFailure> {
        let (loaded, manifest) = match &source {
            Source::Wasm(wasm, runtime) => {
                let plugin = runtime.load(wasm, &options)?;
                let manifest = plugin.manifest().cloned();
                (Loaded::Wasm(plugin), manifest)
            }
            Source::Native(native) => {
                let json = if options.config.is_null() { "{}".to_owned() } else { options.config.to_string() };
                let configured = native.configure(&json).map_err(LoadFailure::Config)?;
                (Loaded::Native(configured), Some(Manifest::parse(native.manifest_json().as_bytes())?))
            }
        };
        Ok(Plugin { source, options, manifest, loaded, reused: OnceLock::new() })
    }

    /// Loads the same plugin with another configuration.
    ///
    /// # Errors
    ///
    /// [`LoadFailure`], of which [`LoadFailure::refused_config`] tells a refusal.
    ///
    /// # Examples
    ///
    /// ```
    /// # let good = wat::parse_str(include_str!("../../../tests/bad-plugins/good.wat"))?;
    /// # let plugin = portsplit_plugin_sdk::harness::Plugin::wasm(good).load()?;
    /// let strict = plugin.with_config(&serde_json::json!({ "strict": 1 }))?;
    /// strict.feed(b"POST\x02").expect_reject();
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn with_config(&self, config: &Value) -> Result<Plugin, LoadFailure> {
        Plugin::load(self.source.clone(), PluginOptions { config: config.clone(), ..self.options.clone() })
    }

    /// Makes one call, in a fresh instance, as the host does.
    ///
    /// # Examples
    ///
    /// ```
    /// # let good = wat::parse_str(include_str!("../../../tests/bad-plugins/good.wat"))?;
    /// # let plugin = portsplit_plugin_sdk::harness::Plugin::wasm(good).load()?;
    /// use portsplit_plugin_sdk::{Verdict, harness::Flags};
    /// assert_eq!(plugin.classify(b"POST", Flags::NONE).verdict(), Some(Verdict::NeedMore(6)));
    /// assert_eq!(plugin.classify(b"POST", Flags::HALF_CLOSED).verdict(), Some(Verdict::Reject));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn classify(&self, bytes: &[u8], flags: Flags) -> Judgement {
        match &self.loaded {
            Loaded::Wasm(plugin) => {
                let (result, stats) = plugin.classify_measured(bytes, flags);
                Judgement::of_call(result, stats)
            }
            Loaded::Native(configured) => {
                let input = Input::with_flags(bytes, flags.bits());
                match catch_unwind(AssertUnwindSafe(|| configured.classify(input))) {
                    Ok(outcome) => Judgement::of_native(outcome),
                    Err(panic) => Judgement::of_panic(panic_text(&*panic)),
                }
            }
        }
    }

    /// Makes a call in an instance that was already called with `before`; `None` if the module cannot be made to.
    ///
    /// The host never does this. A plugin that answers differently then keeps something from one call to the next.
    ///
    /// # Examples
    ///
    /// ```
    /// # let good = wat::parse_str(include_str!("../../../tests/bad-plugins/good.wat"))?;
    /// # let plugin = portsplit_plugin_sdk::harness::Plugin::wasm(good).load()?;
    /// use portsplit_plugin_sdk::harness::Flags;
    /// let fresh = plugin.classify(b"POST\x01\x02ab", Flags::NONE);
    /// let reused = plugin.classify_reused(b"GET", b"POST\x01\x02ab", Flags::NONE).expect("it can be called twice");
    /// assert_eq!(reused.answer, fresh.answer);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn classify_reused(&self, before: &[u8], bytes: &[u8], flags: Flags) -> Option<Judgement> {
        match &self.loaded {
            Loaded::Native(_) => {
                self.classify(before, Flags::NONE);
                Some(self.classify(bytes, flags))
            }
            Loaded::Wasm(_) => {
                let twice = self.reused.get_or_init(|| self.load_reusing()).as_ref()?;
                Some(reuse::call(twice, self.max_bytes(), before, bytes, flags))
            }
        }
    }

    fn load_reusing(&self) -> Option<portsplit_runtime::Plugin> {
        let Source::Wasm(wasm, runtime) = &self.source else { return None };
        let options = PluginOptions {
            fuel: self.options.fuel.saturating_mul(2).saturating_add(reuse::FUEL),
            ..self.options.clone()
        };
        let changed = reuse::instrument(wasm)?;
        let options = PluginOptions { max_size_bytes: options.max_size_bytes.max(changed.len()), ..options };
        runtime.load(&changed, &options).ok()
    }

    /// The name in the manifest, or `plugin`.
    ///
    /// # Examples
    ///
    /// ```
    /// # let good = wat::parse_str(include_str!("../../../tests/bad-plugins/good.wat"))?;
    /// # let plugin = portsplit_plugin_sdk::harness::Plugin::wasm(good).load()?;
    /// assert_eq!(plugin.name(), "good");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn name(&self) -> &str {
        self.manifest.as_ref().map_or("plugin", |manifest| &manifest.name)
    }

    /// What the plugin says about itself, if it carries a manifest.
    ///
    /// # Examples
    ///
    /// ```
    /// # let good = wat::parse_str(include_str!("../../../tests/bad-plugins/good.wat"))?;
    /// # let plugin = portsplit_plugin_sdk::harness::Plugin::wasm(good).load()?;
    /// assert_eq!(plugin.manifest().map(|manifest| manifest.examples.len()), Some(2));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn manifest(&self) -> Option<&Manifest> {
        self.manifest.as_ref()
    }

    /// The configuration and limits it was loaded with.
    ///
    /// # Examples
    ///
    /// ```
    /// # let good = wat::parse_str(include_str!("../../../tests/bad-plugins/good.wat"))?;
    /// # let plugin = portsplit_plugin_sdk::harness::Plugin::wasm(good).load()?;
    /// assert!(plugin.options().config.is_null());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn options(&self) -> &PluginOptions {
        &self.options
    }

    /// The most bytes it is shown; `None` if its manifest does not say.
    ///
    /// # Examples
    ///
    /// ```
    /// # let good = wat::parse_str(include_str!("../../../tests/bad-plugins/good.wat"))?;
    /// # let plugin = portsplit_plugin_sdk::harness::Plugin::wasm(good).load()?;
    /// assert_eq!(plugin.max_bytes(), Some(4096));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn max_bytes(&self) -> Option<usize> {
        self.manifest.as_ref().and_then(|manifest| manifest.max_bytes).map(|max| max as usize)
    }

    /// The wasm module, unless the plugin is native.
    ///
    /// # Examples
    ///
    /// ```
    /// # let good = wat::parse_str(include_str!("../../../tests/bad-plugins/good.wat"))?;
    /// # let plugin = portsplit_plugin_sdk::harness::Plugin::wasm(good).load()?;
    /// assert!(plugin.module().is_some_and(|wasm| wasm.starts_with(b"\0asm")));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn module(&self) -> Option<&[u8]> {
        match &self.source {
            Source::Wasm(wasm, _) => Some(wasm),
            Source::Native(_) => None,
        }
    }

    /// The loaded module, unless the plugin is native.
    ///
    /// # Examples
    ///
    /// ```
    /// # let good = wat::parse_str(include_str!("../../../tests/bad-plugins/good.wat"))?;
    /// # let plugin = portsplit_plugin_sdk::harness::Plugin::wasm(good).load()?;
    /// assert!(plugin.runtime_plugin().is_some());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn runtime_plugin(&self) -> Option<&portsplit_runtime::Plugin> {
        match &self.loaded {
            Loaded::Wasm(plugin) => Some(plugin),
            Loaded::Native(_) => None,
        }
    }
}

impl std::fmt::Debug for Plugin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let native = matches!(self.source, Source::Native(_));
        f.debug_struct("Plugin").field("name", &self.name()).field("native", &native).finish_non_exhaustive()
    }
}

fn panic_text(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "without a message".to_owned())
}
