package envelope

import "google.golang.org/protobuf/encoding/protowire"

// Circumstances are what a recall by context, or by tags, looks at in a message: views into it. An episode has a time, a
// place and people; a memory has a time, its created_at, and tags.
type Circumstances struct {
	When    Timestamp // zero unless HasWhen
	HasWhen bool
	Place   []byte   // where_location
	People  [][]byte // who
	Tags    [][]byte
}

// OfEpisode reads them out of an Episode. All three methods read messages that a Scan function has accepted, or a part of
// one whose embedding may hold anything: nothing else is judged. The error wraps ErrMalformed. The slices of c are used
// again.
func (c *Circumstances) OfEpisode(b []byte) error {
	c.reset()
	return c.episode(b)
}

// OfRemember reads them out of a RememberRequest.
func (c *Circumstances) OfRemember(b []byte) error {
	c.reset()
	return eachField(b, func(f *field) error {
		switch f.num {
		case 2:
			return c.memory(f.data)
		case 3:
			return c.episode(f.data)
		default:
			return nil
		}
	})
}

// OfExperience reads them out of an ExperienceRequest.
func (c *Circumstances) OfExperience(b []byte) error {
	c.reset()
	return eachField(b, func(f *field) error {
		if f.num == 2 {
			return c.episode(f.data)
		}
		return nil
	})
}

// OfMemory reads them out of a Memory.
func (c *Circumstances) OfMemory(b []byte) error {
	c.reset()
	return c.memory(b)
}

func (c *Circumstances) reset() {
	*c = Circumstances{People: c.People[:0], Tags: c.Tags[:0]}
}

func (c *Circumstances) episode(b []byte) error {
	return eachField(b, func(f *field) error {
		switch f.num {
		case 2:
			c.HasWhen = true
			return scanTimestamp("when", f.data, &c.When)
		case 10:
			c.Place = f.data
		case 11:
			c.People = append(c.People, f.data)
		}
		return nil
	})
}

func (c *Circumstances) memory(b []byte) error {
	return eachField(b, func(f *field) error {
		switch f.num {
		case 6:
			c.HasWhen = true
			return scanTimestamp("created_at", f.data, &c.When)
		case 20:
			c.Tags = append(c.Tags, f.data)
		}
		return nil
	})
}

// eachField calls visit for each field of a message that holds bytes: all that matter here do.
func eachField(b []byte, visit func(*field) error) error {
	var f field
	r := reader{b: b}
	for r.next(&f) {
		if f.typ != protowire.BytesType {
			continue
		}
		if err := visit(&f); err != nil {
			return err
		}
	}
	return r.err()
}
