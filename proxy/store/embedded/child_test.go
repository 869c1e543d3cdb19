package embedded

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"testing"
)

// startChild runs this test binary again as a process that stores tulips from first on, and writes the number of the last
// confirmed one after each batch.
func startChild(t *testing.T, dir string, first int) (*exec.Cmd, io.Reader) {
	t.Helper()
	child := exec.Command(os.Args[0], "-test.run=^TestKilledProcess$")
	child.Env = append(os.Environ(), "EMBEDDED_STORE_CHILD="+dir, "EMBEDDED_STORE_FIRST="+strconv.Itoa(first))
	child.Stderr = os.Stderr
	out, err := child.StdoutPipe()
	if err == nil {
		err = child.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	return child, out
}

// storeForEver is the child's part; it ends by being killed.
func storeForEver(dir string) {
	s, err := Open(dir, small())
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	first, err := strconv.Atoi(os.Getenv("EMBEDDED_STORE_FIRST"))
	for k := first; err == nil; k += 5 {
		for _, refused := range s.Put(context.Background(), tulips(k, 5)) {
			if refused != nil {
				err = refused
			}
		}
		if err == nil {
			fmt.Println(k + 4)
		}
	}
	fmt.Println(err)
	os.Exit(1)
}
