package harness

import (
	"fmt"
	"math/rand/v2"
	"net"
	"sync"
	"testing"
)

// given are the ports of this run, none of them given out twice.
var given struct {
	sync.Mutex
	ports map[int]bool
}

// FreeAddress returns a loopback address that nobody listens on. Its port lies below the range from which the system
// takes the ports of outgoing connections, so that it stays free while a killed process is away from it.
func FreeAddress(t testing.TB) string {
	t.Helper()
	given.Lock()
	defer given.Unlock()
	if given.ports == nil {
		given.ports = make(map[int]bool)
	}
	for range 1000 {
		port := 20000 + rand.IntN(12000)
		address := fmt.Sprintf("127.0.0.1:%d", port)
		l, err := net.Listen("tcp", address)
		if err != nil || given.ports[port] {
			if err == nil {
				_ = l.Close()
			}
			continue
		}
		_ = l.Close() // nothing was accepted on it
		given.ports[port] = true
		return address
	}
	t.Fatal("no free port between 20000 and 32000 on 127.0.0.1 in 1000 tries")
	return ""
}
