//! ABI version 1 for plugins in Zig. Keep this file as it is; the plugin itself is plugin.zig.
//!
//! A plugin is a WebAssembly module that is shown the first bytes of a connection and says whether they are its
//! protocol. The host calls portsplit_buffer(len), writes that many bytes to the address it got, and calls
//! portsplit_classify(len, flags). Every call runs in a fresh copy of the module as it was after portsplit_configure,
//! so nothing can be kept from one connection to another.
//!
//! This file has what the host offers, the exports that are the same for every plugin, a cursor to parse with and a
//! reader for configurations. It uses no standard library.

/// What the host offers. Text is UTF-8 and given by address and length in bytes.
const host = struct {
    extern "portsplit" fn fact(key: [*]const u8, key_len: usize, value: [*]const u8, value_len: usize) i32;
    extern "portsplit" fn log(level: u32, text: [*]const u8, len: usize) void;
    extern "portsplit" fn fail(text: [*]const u8, len: usize) void;
};

/// 16 KiB is what the host reads before a decision, unless told otherwise; a plugin with a smaller max_bytes in
/// plugin.toml is never shown more than that.
var buffer: [16384]u8 = undefined;

export fn portsplit_abi_1() void {}

export fn portsplit_buffer(len: u32) ?[*]u8 {
    return if (len <= buffer.len) &buffer else null;
}

/// Adds a fact; it counts only if this call matches. Keys are [a-z][a-z0-9_.-]{0,31}, values have 1024 bytes at most.
pub fn fact(key: []const u8, value: []const u8) void {
    _ = host.fact(key.ptr, key.len, value.ptr, value.len);
}

/// Writes a line to the host's log, which limits how many it takes. Levels: 0 error, 1 warn, 2 info, 3 debug, 4 trace.
pub fn log(level: u32, text: []const u8) void {
    host.log(level, text.ptr, text.len);
}

/// Why a parser stopped before it knew that the bytes match.
pub const Stop = error{
    /// No continuation of these bytes is this protocol.
    Reject,
    /// Undecided; `Cursor.need` says how many bytes there must be in all before the answer can change.
    NeedMore,
};

pub fn ensure(condition: bool) Stop!void {
    if (!condition) return Stop.Reject;
}

/// Reads the buffer from its start. A read fails with Reject at the first byte that is not allowed and with NeedMore
/// where the bytes end, so a parser that is a straight line of `try` is exact however the bytes were cut into segments.
pub const Cursor = struct {
    bytes: []const u8,
    at: usize = 0,
    need: usize = 0,

    /// Reads the next `count` bytes, of any value.
    pub fn take(c: *Cursor, count: usize) Stop![]const u8 {
        if (count > c.bytes.len - c.at) {
            c.need = c.at + count;
            return Stop.NeedMore;
        }
        defer c.at += count;
        return c.bytes[c.at..][0..count];
    }

    pub fn byte(c: *Cursor) Stop!u8 {
        return (try c.take(1))[0];
    }

    /// Reads a byte and rejects unless it is in min..=max.
    pub fn byteIn(c: *Cursor, min: u8, max: u8) Stop!u8 {
        const value = try c.byte();
        try ensure(min <= value and value <= max);
        return value;
    }

    /// Reads exactly `text` and rejects at the first byte that differs.
    pub fn tag(c: *Cursor, text: []const u8) Stop!void {
        for (text) |expected| try ensure(try c.byte() == expected);
    }

    /// Reads `count` bytes and rejects at the first for which `allowed` is false.
    pub fn takeWhere(c: *Cursor, count: usize, comptime allowed: fn (u8) bool) Stop![]const u8 {
        const start = c.at;
        for (0..count) |_| try ensure(allowed(try c.byte()));
        return c.bytes[start..c.at];
    }
};

/// Runs `parse` on the first `len` bytes of the buffer: return this from portsplit_classify. The verdict is
/// tag << 32 | argument, with the tags 0 reject, 1 match, 2 need-more. Any flag (1 the client half-closed, 2 no more
/// bytes will be shown, 4 time is up) means that this call is the last, and that need-more is the same as reject.
pub fn verdict(len: u32, flags: u32, comptime parse: fn (*Cursor) Stop!void) u64 {
    var cursor: Cursor = .{ .bytes = buffer[0..len] };
    parse(&cursor) catch |stop| return switch (stop) {
        Stop.Reject => 0,
        Stop.NeedMore => if (flags & 7 != 0) 0 else 2 << 32 | @as(u64, cursor.need),
    };
    return 1 << 32;
}

/// Why a configuration is refused: the text shown to the operator.
pub fn refuse(why: []const u8) i32 {
    host.fail(why.ptr, why.len);
    return 1;
}

/// Reads a configuration that is an object of whole numbers, such as {"version": 2}. Keys have no escapes; numbers have
/// at most nine digits.
pub const Settings = struct {
    text: []const u8,
    at: usize = 0,
    count: usize = 0,

    pub const Setting = struct {
        key: []const u8,
        value: u32,

        pub fn is(s: Setting, key: []const u8) bool {
            if (s.key.len != key.len) return false;
            for (s.key, key) |a, b| if (a != b) return false;
            return true;
        }
    };

    /// The configuration in the first `len` bytes of the buffer.
    pub fn start(len: u32) Settings {
        return .{ .text = buffer[0..len] };
    }

    /// The next setting; null at the end of the object and of the text.
    pub fn next(s: *Settings) error{Malformed}!?Setting {
        if (s.count == 0) try s.expect('{');
        if (s.peek() == '}') {
            s.at += 1;
            if (s.peek() != 0 or s.at != s.text.len) return error.Malformed;
            return null;
        }
        if (s.count > 0) try s.expect(',');
        s.count += 1;
        try s.expect('"');
        const start_of_key = s.at;
        while (s.at < s.text.len and s.text[s.at] != '"' and s.text[s.at] != '\\') s.at += 1;
        const key = s.text[start_of_key..s.at];
        try s.expect('"');
        try s.expect(':');
        return .{ .key = key, .value = try s.number() };
    }

    fn number(s: *Settings) error{Malformed}!u32 {
        var value: u32 = 0;
        var digits: usize = 0;
        const zero = s.peek() == '0';
        while (s.at < s.text.len and digits < 10) : (s.at += 1) {
            const byte = s.text[s.at];
            if (byte < '0' or byte > '9') break;
            digits += 1;
            if (digits < 10) value = value * 10 + (byte - '0');
        }
        if (digits == 0 or digits > 9 or (zero and digits > 1)) return error.Malformed;
        return value;
    }

    /// The next character that is not white space, not yet read; 0 at the end.
    fn peek(s: *Settings) u8 {
        while (s.at < s.text.len) : (s.at += 1) {
            const byte = s.text[s.at];
            if (byte != ' ' and byte != '\t' and byte != '\n' and byte != '\r') return byte;
        }
        return 0;
    }

    fn expect(s: *Settings, byte: u8) error{Malformed}!void {
        if (s.peek() != byte) return error.Malformed;
        s.at += 1;
    }
};
