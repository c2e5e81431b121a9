package main

// ABI version 1 for plugins in Go. Keep this file as it is; the plugin itself is plugin.go.
//
// A plugin is a WebAssembly module that is shown the first bytes of a connection and says whether they are its
// protocol. The host calls portsplit_buffer(len), writes that many bytes to the address it got, and calls
// portsplit_classify(len, flags). Every call runs in a fresh copy of the module as it was after portsplit_configure, so
// nothing can be kept from one connection to another.
//
// This file has what the host offers, the exports that are the same for every plugin, a cursor to parse with and a
// reader for configurations.

import "unsafe"

//go:wasmimport portsplit fact
func hostFact(key unsafe.Pointer, keyLen uint32, value unsafe.Pointer, valueLen uint32) int32

//go:wasmimport portsplit log
func hostLog(level uint32, text unsafe.Pointer, len uint32)

//go:wasmimport portsplit fail
func hostFail(text unsafe.Pointer, len uint32)

// 16 KiB is what the host reads before a decision, unless told otherwise; a plugin with a smaller max_bytes in
// plugin.toml is never shown more than that.
var buffer [16384]byte

//go:wasmexport portsplit_abi_1
func abi1() {}

//go:wasmexport portsplit_buffer
func bufferOf(len uint32) unsafe.Pointer {
	if len > uint32(cap(buffer)) {
		return nil
	}
	return unsafe.Pointer(&buffer)
}

// fact adds a fact; it counts only if this call matches. Keys are [a-z][a-z0-9_.-]{0,31}, values have 1024 bytes at
// most.
func fact(key string, value []byte) {
	hostFact(unsafe.Pointer(unsafe.StringData(key)), uint32(len(key)), unsafe.Pointer(unsafe.SliceData(value)), uint32(len(value)))
}

// logLine writes a line to the host's log. Levels: 0 error, 1 warn, 2 info, 3 debug, 4 trace.
func logLine(level uint32, text string) {
	hostLog(level, unsafe.Pointer(unsafe.StringData(text)), uint32(len(text)))
}

// refuse says why a configuration is refused: return it from portsplit_configure.
func refuse(why string) int32 {
	hostFail(unsafe.Pointer(unsafe.StringData(why)), uint32(len(why)))
	return 1
}

// A verdict is tag << 32 | argument. The argument of needMore is how many bytes there must be in all before the answer
// can change, or 0 for unknown.
const (
	reject   uint64 = 0
	match    uint64 = 1 << 32
	needMore uint64 = 2 << 32
)

// A cursor reads the buffer from its start. The first read that cannot go on decides: a byte that is not allowed
// rejects, a byte that has not arrived needs more. All reads after that do nothing and return 0, so a parser is a
// straight line without a check after each step, and exact however the bytes were cut into segments.
type cursor struct {
	bytes  []byte
	at     int
	answer uint64
}

func newCursor(len uint32) cursor {
	return cursor{bytes: buffer[:len], answer: match}
}

// going tells whether every read so far succeeded.
func (c *cursor) going() bool {
	return c.answer == match
}

// ensure rejects unless the condition holds.
func (c *cursor) ensure(condition bool) {
	if c.going() && !condition {
		c.answer = reject
	}
}

// take reads the next count bytes, of any value; it needs more until all of them have arrived.
func (c *cursor) take(count int) []byte {
	if !c.going() {
		return nil
	}
	start := c.at
	if count > len(c.bytes)-start {
		c.answer = needMore | uint64(start+count)
		return nil
	}
	c.at += count
	return c.bytes[start:c.at]
}

func (c *cursor) byte() byte {
	if b := c.take(1); b != nil {
		return b[0]
	}
	return 0
}

// byteIn reads a byte and rejects unless it is in min..=max.
func (c *cursor) byteIn(min, max byte) byte {
	b := c.byte()
	c.ensure(min <= b && b <= max)
	return b
}

// tag reads exactly text and rejects at the first byte that differs.
func (c *cursor) tag(text string) {
	for i := range len(text) {
		c.ensure(c.byte() == text[i])
	}
}

// takeWhere reads count bytes and rejects at the first for which allowed is false.
func (c *cursor) takeWhere(count int, allowed func(byte) bool) []byte {
	start := c.at
	for i := 0; i < count && c.going(); i++ {
		c.ensure(allowed(c.byte()))
	}
	return c.bytes[start:c.at]
}

// verdict is what portsplit_classify returns. Any flag (1 the client half-closed, 2 no more bytes will be shown, 4 time
// is up) means that this call is the last, and that need-more is the same as reject.
func (c *cursor) verdict(flags uint32) uint64 {
	if flags&7 != 0 && c.answer&needMore != 0 {
		return reject
	}
	return c.answer
}

// settings reads a configuration that is an object of whole numbers, such as {"version": 2}: call next until it returns
// false; then wellFormed says whether the whole configuration was understood. Keys have no escapes; numbers have at most
// nine digits. encoding/json would make the module larger than the 4 MiB a host takes unless told otherwise.
type settings struct {
	text       []byte
	at, count  int
	key        string
	value      int
	wellFormed bool
}

func newSettings(len uint32) settings {
	return settings{text: buffer[:len]}
}

func (s *settings) next() bool {
	if s.count == 0 && !s.expect('{') {
		return false
	}
	if s.peek() == '}' {
		s.at++
		s.peek()
		s.wellFormed = s.at == len(s.text)
		return false
	}
	if s.count > 0 && !s.expect(',') {
		return false
	}
	s.count++
	if !s.expect('"') {
		return false
	}
	start := s.at
	for s.at < len(s.text) && s.text[s.at] != '"' && s.text[s.at] != '\\' {
		s.at++
	}
	s.key = string(s.text[start:s.at])
	return s.expect('"') && s.expect(':') && s.number()
}

func (s *settings) number() bool {
	zero := s.peek() == '0'
	digits := 0
	for s.value = 0; s.at < len(s.text) && digits < 10; digits++ {
		digit := s.text[s.at] - '0'
		if digit > 9 {
			break
		}
		s.value = s.value*10 + int(digit)
		s.at++
	}
	return digits > 0 && digits < 10 && !(zero && digits > 1)
}

// peek is the next character that is not white space, not yet read; 0 at the end.
func (s *settings) peek() byte {
	for ; s.at < len(s.text); s.at++ {
		if b := s.text[s.at]; b != ' ' && b != '\t' && b != '\n' && b != '\r' {
			return b
		}
	}
	return 0
}

func (s *settings) expect(b byte) bool {
	if s.peek() != b {
		return false
	}
	s.at++
	return true
}

// main is never run: the host calls _initialize, which the compiler adds.
func main() {}
