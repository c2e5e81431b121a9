//! The macro that turns a classifier into a plugin: the ABI's exports and the manifest in wasm, a
//! `portsplit_plugin` function elsewhere.

/// Makes a plugin of a [`Classifier`](crate::Classifier). Use it once, in the crate's root.
///
/// The keys come in this order; those with a star can be left out:
///
/// | key | value |
/// |---|---|
/// | `classifier` | the type |
/// | `name` | `[a-z][a-z0-9_-]{0,31}` |
/// | `version` * | the crate's version unless given |
/// | `description` | one sentence |
/// | `protocols` | the protocols it recognises |
/// | `max_bytes` | the most bytes it ever looks at; at that length need-more counts as reject |
/// | `facts` * | each fact's name and what it is |
/// | `cannot_see` * | what it does not see or cannot tell apart, a sentence each |
/// | `examples` * | [`Example`](crate::Example)s that `portsplit plugin test` runs |
///
/// In wasm this defines the exports of the ABI, a buffer of `max_bytes` (at least 4 KiB, for the configuration), the
/// section `portsplit.manifest`, and the panic handler, which a crate that uses `std` leaves to it with the SDK's
/// feature `std`. Elsewhere it defines `pub fn portsplit_plugin() ->`
/// [`NativePlugin`](crate::native::NativePlugin).
///
/// # Examples
///
/// ```
/// use portsplit_plugin_sdk::prelude::*;
///
/// struct Hello;
/// impl Classifier for Hello {
///     type Config = ();
///     fn new(_: ()) -> Result<Self, ConfigError> {
///         Ok(Hello)
///     }
///     fn classify(&self, input: Input<'_>, facts: &mut Facts) -> Answer {
///         let mut c = input.cursor();
///         c.tag(b"HELLO ")?;
///         facts.add("host", c.line_where(58, |b| b.is_ascii_graphic())?);
///         Ok(Match)
///     }
/// }
///
/// export! {
///     classifier: Hello,
///     name: "hello",
///     description: "A greeting with a host name.",
///     protocols: ["hello"],
///     max_bytes: 64,
///     facts: { "host": "the name the client greets" },
///     examples: [
///         Example::text("HELLO example.org\r\n").matches(19).fact("host", "example.org"),
///         Example::text("HELP\r\n").rejects(4),
///     ],
/// }
///
/// let decided = portsplit_plugin().configure("{}")?.decide(b"HELLO example.org\r\n");
/// assert_eq!((decided.verdict, decided.at), (Verdict::Match, 19));
/// # Ok::<(), ConfigError>(())
/// ```
#[macro_export]
macro_rules! export {
    (
        classifier: $classifier:ty,
        name: $name:expr,
        $(version: $version:expr,)?
        description: $description:expr,
        protocols: [$($protocol:expr),* $(,)?],
        max_bytes: $max_bytes:expr
        $(, facts: { $($fact:literal : $about:expr),* $(,)? })?
        $(, cannot_see: [$($blind:expr),* $(,)?])?
        $(, examples: [$($example:expr),* $(,)?])?
        $(,)?
    ) => {
        #[doc(hidden)]
        pub const __PORTSPLIT_MANIFEST: $crate::Manifest = $crate::Manifest {
            name: $name,
            version: $crate::__version!($($version)?),
            description: $description,
            protocols: &[$($protocol),*],
            max_bytes: $max_bytes,
            facts: &[$($($crate::FactSpec { name: $fact, description: $about }),*)?],
            cannot_see: &[$($($blind),*)?],
            config: <<$classifier as $crate::Classifier>::Config as $crate::Config>::SCHEMA,
            examples: &[$($($example),*)?],
        };

        #[doc(hidden)]
        pub const __PORTSPLIT_JSON: $crate::JsonText<{ $crate::manifest_json::<0>(&__PORTSPLIT_MANIFEST).len() }> =
            $crate::manifest_json(&__PORTSPLIT_MANIFEST);

        /// This plugin as native code.
        #[cfg(not(target_arch = "wasm32"))]
        pub fn portsplit_plugin() -> $crate::native::NativePlugin {
            static JSON: $crate::JsonText<{ __PORTSPLIT_JSON.len() }> = __PORTSPLIT_JSON;
            $crate::native::NativePlugin::new::<$classifier>(JSON.as_str(), __PORTSPLIT_MANIFEST.max_bytes)
        }

        // The names and signatures of the ABI are fixed, and nothing else in a plugin has them.
        #[cfg(target_arch = "wasm32")]
        #[allow(unsafe_code)]
        const _: () = {
            const MAX_BYTES: usize = __PORTSPLIT_MANIFEST.max_bytes;
            /// The configuration comes through the same buffer.
            const BUFFER_BYTES: usize = if MAX_BYTES < 4096 { 4096 } else { MAX_BYTES };

            static BUFFER: $crate::wasm::Buffer<BUFFER_BYTES> = $crate::wasm::Buffer::new();
            static INSTANCE: $crate::wasm::Instance<$classifier> = $crate::wasm::Instance::new();

            // Not `#[used]`: the compiler keeps the section by itself, and would keep a second copy in the memory.
            #[unsafe(link_section = "portsplit.manifest")]
            static SECTION: [u8; __PORTSPLIT_JSON.len()] = __PORTSPLIT_JSON.to_array();

            #[unsafe(no_mangle)]
            extern "C" fn portsplit_abi_1() {}

            #[unsafe(no_mangle)]
            extern "C" fn portsplit_buffer(len: usize) -> *mut u8 {
                BUFFER.reserve(len)
            }

            #[unsafe(no_mangle)]
            extern "C" fn portsplit_configure(len: usize) -> i32 {
                INSTANCE.configure(&BUFFER, len)
            }

            #[unsafe(no_mangle)]
            extern "C" fn portsplit_classify(len: usize, flags: u32) -> i64 {
                INSTANCE.classify(&BUFFER, len, flags, MAX_BYTES)
            }

            $crate::__panic_handler!();
        };
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __version {
    () => {
        ::core::env!("CARGO_PKG_VERSION")
    };
    ($version:expr) => {
        $version
    };
}

#[cfg(not(feature = "std"))]
#[doc(hidden)]
#[macro_export]
macro_rules! __panic_handler {
    () => {
        #[panic_handler]
        fn panic(info: &::core::panic::PanicInfo<'_>) -> ! {
            $crate::wasm::panicked(info)
        }
    };
}

#[cfg(feature = "std")]
#[doc(hidden)]
#[macro_export]
macro_rules! __panic_handler {
    () => {};
}
