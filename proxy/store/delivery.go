package store

import "github.com/engram-sidecar/engram-sidecar/wal"

// Delivery is one Put of a store that gets its answers one after the other: the records without an answer, in their order, each
// as the store sends it, and the answers of the others. It belongs to one goroutine.
type Delivery[T any] struct {
	Items []T // the records that are left, as the store sends them

	batch []wal.Record
	left  []int // their places in batch
	errs  []error
}

// NewDelivery makes of each record what the store sends. One of which nothing can be made is refused for good.
func NewDelivery[T any](batch []wal.Record, prepare func(*wal.Record) (T, error)) *Delivery[T] {
	d := &Delivery[T]{
		Items: make([]T, 0, len(batch)), batch: batch, left: make([]int, 0, len(batch)), errs: make([]error, len(batch)),
	}
	for i := range batch {
		item, err := prepare(&batch[i])
		if err != nil {
			d.errs[i] = Permanent(err)
			continue
		}
		d.Items, d.left = append(d.Items, item), append(d.left, i)
	}
	return d
}

// First is the first record that is left.
func (d *Delivery[T]) First() *wal.Record { return &d.batch[d.left[0]] }

// Done says that the first n of those left are stored.
func (d *Delivery[T]) Done(n int) { d.left, d.Items = d.left[n:], d.Items[n:] }

// Answer says what became of the first that is left. Where it may still be stored, those behind it in its session wait: they
// must not overtake it.
func (d *Delivery[T]) Answer(err error) {
	first := d.left[0]
	d.errs[first] = err
	d.Done(1)
	if session := d.batch[first].Session; ClassOf(err) == ClassTransient && !session.IsZero() {
		d.holdBack(session)
	}
}

func (d *Delivery[T]) holdBack(session wal.SessionID) {
	kept := 0
	for n, i := range d.left {
		if d.batch[i].Session == session {
			d.errs[i] = ErrBehind
			continue
		}
		d.left[kept], d.Items[kept] = i, d.Items[n]
		kept++
	}
	d.left, d.Items = d.left[:kept], d.Items[:kept]
}

// GiveUp answers all that is left with one reason.
func (d *Delivery[T]) GiveUp(err error) {
	for _, i := range d.left {
		d.errs[i] = err
	}
	d.left, d.Items = nil, nil
}

// Answers is what Put returns, once nothing is left.
func (d *Delivery[T]) Answers() []error { return d.errs }
