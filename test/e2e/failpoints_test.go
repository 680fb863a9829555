package e2e

import (
	"bytes"
	"os"
	"testing"

	"github.com/sealpost/sealpost/test/world"
)

// test/fault builds the program with more in it than anybody should run.
func TestTheProgramHasNoFailpoints(t *testing.T) {
	program, err := os.ReadFile(world.Binary(t))
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Contains(program, []byte("SEALPOST_CONFIG")) {
		t.Error("the texts of the program are not where they are looked for")
	}
	if bytes.Contains(program, []byte("FAILPOINT")) {
		t.Error("it has failpoints")
	}
}
