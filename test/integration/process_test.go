//go:build integration

package integration

import (
	"bytes"
	"crypto/rand"
	"errors"
	"fmt"
	"math/big"
	"net"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// process is a program under way. At the end of the test, however it ends, it is
// killed with all that it has started, and what it wrote is shown when the test
// has failed.
type process struct {
	t     testing.TB
	cmd   *exec.Cmd
	out   output
	ended chan struct{}
	told  bool // to stop
}

// output collects what a process writes.
type output struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.String()
}

// environ is that of the tests without settings, which come from a test alone.
func environ() []string {
	own := slices.DeleteFunc(os.Environ(), func(variable string) bool { return strings.HasPrefix(variable, "SEALPOST_") })
	return append(own, "GORACE=atexit_sleep_ms=0")
}

func startProcess(t testing.TB, cmd *exec.Cmd, more ...string) *process {
	t.Helper()
	p := &process{t: t, cmd: cmd, ended: make(chan struct{})}
	cmd.Env = append(environ(), more...)
	if cmd.Dir == "" {
		cmd.Dir = t.TempDir()
	}
	cmd.Stdout, cmd.Stderr = &p.out, &p.out
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // a group of its own
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		_ = cmd.Wait() // ProcessState tells
		close(p.ended)
	}()
	release := keep(t, cmd.Process.Pid)
	t.Cleanup(func() {
		release()
		<-p.ended
		if t.Failed() {
			t.Logf("%s\n%s", cmd, &p.out)
		}
	})
	return p
}

// keeper kills a group of processes when its input ends, as it does when the
// tests are interrupted. There may be nobody left to kill.
const keeper = `cat >/dev/null; kill -s KILL -- "-$0" 2>/dev/null || true`

// keep gives the function that ends a group of processes.
func keep(t testing.TB, group int) (release func()) {
	t.Helper()
	cmd := exec.Command("/bin/sh", "-c", keeper, strconv.Itoa(group))
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // Ctrl-C reaches the tests alone
	held, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	return func() {
		if err := errors.Join(held.Close(), cmd.Wait()); err != nil {
			t.Errorf("kill the processes of group %d: %v", group, err)
		}
	}
}

func (p *process) over() bool {
	select {
	case <-p.ended:
		return true
	default:
		return false
	}
}

// stop tells the process to stop, once, and wants it to end well.
func (p *process) stop() {
	p.t.Helper()
	if p.told {
		return
	}
	p.told = true
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		p.t.Errorf("%s ended too early: %s", p.cmd, p.cmd.ProcessState)
		return
	}
	select {
	case <-p.ended:
	case <-time.After(patience):
		p.t.Errorf("%s did not end", p.cmd)
		return
	}
	if !p.cmd.ProcessState.Success() {
		p.t.Errorf("%s: %s", p.cmd, p.cmd.ProcessState)
	}
}

// Ports below those that the system gives to connections and to listeners that
// ask for any, so that one which is free stays free.
const (
	portsFrom = 11000
	portsTo   = 21000
)

var ports struct {
	sync.Mutex
	taken map[int]bool
}

// freePort gives a port of the loopback address that nobody listens on, and
// gives it once.
func freePort(t testing.TB) string {
	t.Helper()
	for range 1000 {
		n, err := rand.Int(rand.Reader, big.NewInt(portsTo-portsFrom))
		if err != nil {
			t.Fatal(err)
		}
		if port := portsFrom + int(n.Int64()); takePort(port) {
			return strconv.Itoa(port)
		}
	}
	t.Fatal("no port is free")
	return ""
}

// takePort says whether nobody listens on a port and nobody has been given it.
func takePort(port int) bool {
	ports.Lock()
	defer ports.Unlock()
	if ports.taken == nil {
		ports.taken = map[int]bool{}
	}
	if ports.taken[port] {
		return false
	}
	ports.taken[port] = true
	l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port))
	return err == nil && l.Close() == nil
}
