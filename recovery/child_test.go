package recovery

import (
	"fmt"
	"os"
)

// openAndDieEnv names a data directory; the test binary opens it then and ends, without closing anything.
const openAndDieEnv = "RECOVERY_TEST_OPEN"

func openAndDie(dir string) {
	s, err := Open(Options{DataDir: dir})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	fmt.Println(s.Report.String())
	os.Exit(0)
}
