package buffers

import "testing"

func TestGetGivesTheLengthAndLittleMore(t *testing.T) {
	var p Pool
	for _, n := range []int{0, 1, 1025, 2048, 2049, 3300, 3456, 3457, 4096, 4097, 16384, 32768, 32769, 1 << 20} {
		b := p.Get(n)
		if len(*b) != n || n > 1024 && cap(*b) > 2*n {
			t.Errorf("%d: length %d, capacity %d; want that length, and at most twice as much memory", n, len(*b), cap(*b))
		}
		p.Put(b)
	}
}

func TestBuffersAreUsedAgain(t *testing.T) {
	var p Pool
	var last *byte
	for range 1000 { // a pool may forget, and does at random under the race detector
		b := p.Get(3300)
		if &(*b)[0] == last {
			return
		}
		last = &(*b)[0]
		*b = (*b)[:100] // gRPC gives back what is left of it
		p.Put(b)
	}
	t.Error("no buffer came back in 1,000 times")
}

func TestForeignBuffersAreNotKept(t *testing.T) {
	var p Pool
	foreign := make([]byte, 3000)
	for range 100 {
		p.Put(&foreign)
		if b := p.Get(3000); cap(*b) == 3000 {
			t.Fatal("a buffer of another size came back")
		}
	}
}
