// A detector for a small home-grown protocol. A client opens with
//
//   KNK | version, 1 or 2 | in version 2: 4 bytes of any value | length, 1 to 32 | a name of a-z 0-9 - in that length
//
// The name becomes a fact. The configuration {"version": 2} asks for that version only.

import { Cursor, Settings, fact, refuse } from "./portsplit";
export { portsplit_abi_1, portsplit_buffer } from "./portsplit";

/** The version asked for, 0 for any. Set before the module is copied for its calls. */
let wanted: u32 = 0;

export function portsplit_configure(len: u32): i32 {
  const settings = new Settings(len);
  while (settings.next()) {
    if (settings.key != "version") return refuse("the only key is `version`");
    if (settings.value < 1 || settings.value > 2) return refuse("`version` must be 1 or 2");
    wanted = settings.value;
  }
  return settings.wellFormed ? 0 : refuse('must be an object such as {"version": 2}');
}

function inName(byte: u8): bool {
  return (byte >= 0x61 && byte <= 0x7a) || (byte >= 0x30 && byte <= 0x39) || byte == 0x2d;
}

export function portsplit_classify(len: u32, flags: u32): u64 {
  const c = new Cursor(len);
  c.tag("KNK");
  const version = c.byteIn(1, 2);
  c.ensure(wanted == 0 || version == wanted);
  if (version == 2) c.take(4);
  const nameLen = c.byteIn(1, 32);
  const name = c.takeWhere(nameLen, inName);
  if (c.going) fact("name", name);
  return c.verdict(flags);
}
