package proxy

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// modelAnswer is an answer as a plain list would keep it.
type modelAnswer struct {
	a       answer
	text    string
	settled bool
}

// outboxModel holds an outbox against a plain list.
type outboxModel struct {
	o       outbox
	list    []modelAnswer
	index   uint64
	durable uint64
	last    uint64 // the sequence that was last told to be settled
	handing bool   // the last take took something
	since   int    // bytes that were pushed since the last take
}

func TestOutboxAgainstAList(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := &outboxModel{}
		t.Repeat(map[string]func(*rapid.T){
			"push": m.push, "settle": m.settle, "refuse": m.refuse, "drop": m.drop, "take": m.take, "": m.compare,
		})
	})
}

func (m *outboxModel) push(t *rapid.T) {
	for range rapid.IntRange(1, 40).Draw(t, "how many") {
		kind := answerKind(rapid.SampledFrom([]answerKind{answerAck, answerAck, answerAck, answerReady, answerUnasked}).Draw(t, "kind"))
		text := strings.Repeat("x", rapid.IntRange(0, 30).Draw(t, "text"))
		a := answer{kind: kind}
		if kind == answerAck {
			m.index++
			a.index, a.sequence, a.payload = m.index, m.index, 3
		}
		text += fmt.Sprint(len(m.list))
		m.o.push(a, []byte(text))
		m.list = append(m.list, modelAnswer{a: a, text: text})
		a.length = uint32(len(text))
		m.since += costOf(&a)
	}
}

// sweep settles what has nothing to wait for.
func (m *outboxModel) sweep() {
	for i := range m.list {
		a := &m.list[i]
		if a.a.kind == answerAck && a.a.index > m.durable {
			return
		}
		if a.a.kind == answerAck && !a.settled {
			m.last = a.a.sequence
		}
		a.settled = true
	}
}

func (m *outboxModel) settle(t *rapid.T) {
	m.durable = max(m.durable, rapid.Uint64Range(0, m.index).Draw(t, "durable"))
	told := m.last
	m.o.settle(m.durable, time.Unix(7, 0), func(last uint64) { told = last })
	m.sweep()
	if told != m.last {
		t.Fatalf("told that %d is settled, want %d", told, m.last)
	}
}

func (m *outboxModel) refuse(t *rapid.T) {
	want := 0
	for i := range m.list {
		if a := &m.list[i]; a.a.kind == answerAck && !a.settled {
			a.a.kind = answerRefused
			want++
		}
		m.list[i].settled = true
	}
	if n := m.o.refuse(); n != want {
		t.Fatalf("refused %d, want %d", n, want)
	}
}

func (m *outboxModel) drop(*rapid.T) {
	m.o.drop()
	for i := range m.list {
		if !m.list[i].settled {
			m.list = m.list[:i]
			return
		}
	}
}

func (m *outboxModel) take(t *rapid.T) {
	n := rapid.IntRange(1, 50).Draw(t, "at most")
	m.handing, m.since = false, 0
	m.o.take(func(a *answer, text []byte) bool {
		if len(m.list) == 0 || !m.list[0].settled {
			t.Fatalf("took %d %q, which is not settled", a.kind, text)
		}
		want := m.list[0]
		m.list = m.list[1:]
		m.handing = true
		if a.kind != want.a.kind || a.sequence != want.a.sequence || string(text) != want.text {
			t.Fatalf("took %d %d %q, want %d %d %q", a.kind, a.sequence, text, want.a.kind, want.a.sequence, want.text)
		}
		n--
		return n > 0
	})
	if n > 0 && len(m.list) > 0 && m.list[0].settled {
		t.Fatalf("%q is settled and was not taken", m.list[0].text)
	}
}

func (m *outboxModel) compare(t *rapid.T) {
	want := level{stuck: m.handing && m.since > stuckBytes}
	for i := range m.list {
		a := m.list[i]
		a.a.length = uint32(len(a.text))
		want.bytes += costOf(&a.a)
		switch {
		case a.a.kind == answerAck && !a.settled:
			want.owed++
			want.payload += int(a.a.payload)
		case a.a.kind == answerUnasked:
			want.unasked++
		}
	}
	if got := m.o.level(); got != want {
		t.Fatalf("level %+v, want %+v", got, want)
	}
	if want.bytes == 0 && len(m.list) == 0 && m.o.tail != nil && m.o.tail.n > 0 && m.o.head != m.o.mark {
		t.Fatal("an empty outbox keeps its memory")
	}
}

func TestOutboxTellsOfChanges(t *testing.T) {
	var o outbox
	told := func(what string, act func()) {
		t.Helper()
		changed := o.change()
		act()
		select {
		case <-changed:
		default:
			t.Errorf("nobody was told: %s", what)
		}
	}
	o.push(answer{kind: answerAck, index: 1}, nil)
	o.push(answer{kind: answerAck, index: 2}, nil)
	told("settled", func() { o.settle(1, time.Now(), func(uint64) {}) })
	told("taken", func() { o.take(func(*answer, []byte) bool { return true }) })
	told("refused", func() { o.refuse() })
	told("dropped", func() { o.drop() })
}

func TestIdleOutboxKeepsNoMemory(t *testing.T) {
	var o outbox
	for i := range 200 {
		o.push(answer{kind: answerReady}, make([]byte, i))
	}
	o.settle(0, time.Now(), func(uint64) {})
	for range 200 {
		o.take(func(*answer, []byte) bool { return true })
	}
	if o.tail != nil || o.head.chunk != nil || o.mark.chunk != nil {
		t.Error("chunks are kept")
	}
}

// A sender that was poked after its last look at the news looks once more: nothing else would tell it.
func TestPokedOutboxDoesNotRest(t *testing.T) {
	started := 0
	o := outbox{start: func() { started++ }}
	o.poke()
	o.poke()
	if started != 1 {
		t.Fatalf("%d senders were started, want one", started)
	}
	if got := o.rest(); got != looking {
		t.Errorf("a poked sender does %v, want %v", got, looking)
	}
	if got := o.rest(); got != resting || o.level().sending {
		t.Errorf("then it does %v, want %v", got, resting)
	}
	o.poke()
	if started != 2 {
		t.Error("a poke after the rest starts no sender")
	}
	o.retire()
	o.poke()
	if started != 2 {
		t.Error("a poke starts a sender that has failed")
	}
}
