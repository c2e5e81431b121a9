//! A detector for a small home-grown protocol. A client opens with
//!
//!   KNK | version, 1 or 2 | in version 2: 4 bytes of any value | length, 1 to 32 | a name of a-z 0-9 - in that length
//!
//! The name becomes a fact. The configuration {"version": 2} asks for that version only.

const portsplit = @import("portsplit.zig");
const Cursor = portsplit.Cursor;

/// The version asked for, 0 for any. Set before the module is copied for its calls.
var wanted: u32 = 0;

export fn portsplit_configure(len: u32) i32 {
    var settings = portsplit.Settings.start(len);
    while (settings.next() catch return portsplit.refuse("must be an object such as {\"version\": 2}")) |setting| {
        if (!setting.is("version")) return portsplit.refuse("the only key is `version`");
        if (setting.value < 1 or setting.value > 2) return portsplit.refuse("`version` must be 1 or 2");
        wanted = setting.value;
    }
    return 0;
}

fn inName(byte: u8) bool {
    return switch (byte) {
        'a'...'z', '0'...'9', '-' => true,
        else => false,
    };
}

fn parse(c: *Cursor) portsplit.Stop!void {
    try c.tag("KNK");
    const version = try c.byteIn(1, 2);
    try portsplit.ensure(wanted == 0 or version == wanted);
    if (version == 2) _ = try c.take(4);
    const name_len = try c.byteIn(1, 32);
    portsplit.fact("name", try c.takeWhere(name_len, inName));
}

export fn portsplit_classify(len: u32, flags: u32) u64 {
    return portsplit.verdict(len, flags, parse);
}
