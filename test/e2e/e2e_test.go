package e2e

import (
	"os"
	"testing"

	"github.com/sealpost/sealpost/test/world"
)

func TestMain(m *testing.M) { os.Exit(world.RunTests(m)) }
