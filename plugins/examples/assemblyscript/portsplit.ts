// ABI version 1 for plugins in AssemblyScript. Keep this file as it is; the plugin itself is plugin.ts.
//
// A plugin is a WebAssembly module that is shown the first bytes of a connection and says whether they are its
// protocol. The host calls portsplit_buffer(len), writes that many bytes to the address it got, and calls
// portsplit_classify(len, flags). Every call runs in a fresh copy of the module as it was after portsplit_configure, so
// nothing can be kept from one connection to another, and memory need not be given back.
//
// This file has what the host offers, the exports that are the same for every plugin, a cursor to parse with and a
// reader for configurations.

@external("portsplit", "fact")
declare function host_fact(key: usize, keyLen: u32, value: usize, valueLen: u32): i32;
@external("portsplit", "log")
declare function host_log(level: u32, text: usize, len: u32): void;
@external("portsplit", "fail")
declare function host_fail(text: usize, len: u32): void;

// 16 KiB is what the host reads before a decision, unless told otherwise; a plugin with a smaller max_bytes in
// plugin.toml is never shown more than that.
const BUFFER_BYTES: u32 = 16384;
const buffer: usize = memory.data(16384);

export function portsplit_abi_1(): void {}

export function portsplit_buffer(len: u32): usize {
  return len <= BUFFER_BYTES ? buffer : 0;
}

/** Adds a fact; it counts only if this call matches. Keys are [a-z][a-z0-9_.-]{0,31}, values have 1024 bytes at most. */
export function fact(key: string, value: Slice): void {
  const name = String.UTF8.encode(key);
  host_fact(changetype<usize>(name), name.byteLength, value.start, value.len);
}

/** Writes a line to the host's log. Levels: 0 error, 1 warn, 2 info, 3 debug, 4 trace. */
export function log(level: u32, text: string): void {
  const bytes = String.UTF8.encode(text);
  host_log(level, changetype<usize>(bytes), bytes.byteLength);
}

/** Refuses a configuration: return this from portsplit_configure. */
export function refuse(why: string): i32 {
  const bytes = String.UTF8.encode(why);
  host_fail(changetype<usize>(bytes), bytes.byteLength);
  return 1;
}

// A verdict is tag << 32 | argument. The argument of need-more is how many bytes there must be in all before the answer
// can change, or 0 for unknown.
const REJECT: u64 = 0;
const MATCH: u64 = 1 << 32;
const NEED_MORE: u64 = 2 << 32;

/** Some bytes of the buffer. */
export class Slice {
  constructor(readonly start: usize, readonly len: u32) {}
}

/**
 * Reads the buffer from its start. The first read that cannot go on decides: a byte that is not allowed rejects, a byte
 * that has not arrived needs more. All reads after that do nothing and return 0, so a parser is a straight line without
 * a check after each step, and exact however the bytes were cut into segments.
 */
export class Cursor {
  private at: u32 = 0;
  private answer: u64 = MATCH;

  constructor(private len: u32) {}

  /** Whether every read so far succeeded. */
  get going(): bool {
    return this.answer == MATCH;
  }

  /** Rejects unless the condition holds. */
  ensure(condition: bool): void {
    if (this.going && !condition) this.answer = REJECT;
  }

  /** Reads the next `count` bytes, of any value; needs more until all of them have arrived. */
  take(count: u32): Slice {
    const start = buffer + this.at;
    if (!this.going) return new Slice(start, 0);
    if (count > this.len - this.at) {
      this.answer = NEED_MORE | (<u64>this.at + count);
      return new Slice(start, 0);
    }
    this.at += count;
    return new Slice(start, count);
  }

  byte(): u8 {
    const byte = this.take(1);
    return byte.len ? load<u8>(byte.start) : 0;
  }

  /** Reads a byte and rejects unless it is in min..=max. */
  byteIn(min: u8, max: u8): u8 {
    const byte = this.byte();
    this.ensure(min <= byte && byte <= max);
    return byte;
  }

  /** Reads exactly the characters of an ASCII text and rejects at the first that differs. */
  tag(text: string): void {
    for (let i = 0; i < text.length; i++) this.ensure(this.byte() == <u8>text.charCodeAt(i));
  }

  /** Reads `count` bytes and rejects at the first for which `allowed` is false. */
  takeWhere(count: u32, allowed: (byte: u8) => bool): Slice {
    const start = buffer + this.at;
    for (let i: u32 = 0; i < count && this.going; i++) this.ensure(allowed(this.byte()));
    return new Slice(start, count);
  }

  /**
   * What portsplit_classify returns. Any flag (1 the client half-closed, 2 no more bytes will be shown, 4 time is up)
   * means that this call is the last, and that need-more is the same as reject.
   */
  verdict(flags: u32): u64 {
    return flags & 7 && this.answer & NEED_MORE ? REJECT : this.answer;
  }
}

/**
 * Reads a configuration that is an object of whole numbers, such as {"version": 2}: call next() until it returns false;
 * then `wellFormed` says whether the whole configuration was understood. Keys have no escapes; numbers have at most
 * nine digits.
 */
export class Settings {
  key: string = "";
  value: u32 = 0;
  wellFormed: bool = false;
  private at: u32 = 0;
  private count: u32 = 0;

  constructor(private len: u32) {}

  next(): bool {
    if (this.count == 0 && !this.expect(0x7b /* { */)) return false;
    if (this.peek() == 0x7d /* } */) {
      this.at++;
      this.peek();
      this.wellFormed = this.at == this.len;
      return false;
    }
    if (this.count++ > 0 && !this.expect(0x2c /* , */)) return false;
    if (!this.expect(0x22 /* " */)) return false;
    const start = this.at;
    while (this.at < this.len && this.here() != 0x22 && this.here() != 0x5c /* \ */) this.at++;
    this.key = String.UTF8.decodeUnsafe(buffer + start, this.at - start);
    return this.expect(0x22) && this.expect(0x3a /* : */) && this.number();
  }

  private number(): bool {
    const zero = this.peek() == 0x30;
    let digits = 0;
    this.value = 0;
    for (; this.at < this.len && digits < 10 && this.here() - 0x30 <= 9; this.at++, digits++) {
      this.value = this.value * 10 + (this.here() - 0x30);
    }
    return digits > 0 && digits < 10 && !(zero && digits > 1);
  }

  private here(): u8 {
    return load<u8>(buffer + this.at);
  }

  /** The next character that is not white space, not yet read; 0 at the end. */
  private peek(): u8 {
    for (; this.at < this.len; this.at++) {
      const byte = this.here();
      if (byte != 0x20 && byte != 0x09 && byte != 0x0a && byte != 0x0d) return byte;
    }
    return 0;
  }

  private expect(byte: u8): bool {
    if (this.peek() != byte) return false;
    this.at++;
    return true;
  }
}
