// A detector for a small home-grown protocol. A client opens with
//
//	KNK | version, 1 or 2 | in version 2: 4 bytes of any value | length, 1 to 32 | a name of a-z 0-9 - in that length
//
// The name becomes a fact. The configuration {"version": 2} asks for that version only.
package main

// The version asked for, 0 for any. Set before the module is copied for its calls.
var wanted int

//go:wasmexport portsplit_configure
func configure(length uint32) int32 {
	settings := newSettings(length)
	for settings.next() {
		if settings.key != "version" {
			return refuse("the only key is `version`")
		}
		if settings.value != 1 && settings.value != 2 {
			return refuse("`version` must be 1 or 2")
		}
		wanted = settings.value
	}
	if !settings.wellFormed {
		return refuse(`must be an object such as {"version": 2}`)
	}
	return 0
}

func inName(b byte) bool {
	return b >= 'a' && b <= 'z' || b >= '0' && b <= '9' || b == '-'
}

//go:wasmexport portsplit_classify
func classify(length, flags uint32) uint64 {
	c := newCursor(length)
	c.tag("KNK")
	version := c.byteIn(1, 2)
	c.ensure(wanted == 0 || int(version) == wanted)
	if version == 2 {
		c.take(4)
	}
	nameLen := c.byteIn(1, 32)
	name := c.takeWhere(int(nameLen), inName)
	if c.going() {
		fact("name", name)
	}
	return c.verdict(flags)
}
