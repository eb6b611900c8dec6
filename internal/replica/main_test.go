package replica

import (
	"os"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	if os.Getenv(processEnv) != "" {
		runProcess() // does not return
	}
	goleak.VerifyTestMain(m)
}
