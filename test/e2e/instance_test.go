package e2e

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// instance is a process of the binary.
type instance struct {
	t      testing.TB
	cmd    *exec.Cmd
	log    *lines // standard error
	out    *lines // standard output
	ended  chan struct{}
	wanted bool // its end
	killed bool
}

// lines collects what a process writes.
type lines struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// record is a line of the log.
type record map[string]any

// text is a value of the record as one would write it.
func (r record) text(key string) string {
	if v, ok := r[key]; ok {
		return fmt.Sprint(v)
	}
	return ""
}

// records gives the whole lines that are JSON.
func (l *lines) records() []record {
	var out []record
	for line := range strings.Lines(l.String()) {
		var r record
		if strings.HasSuffix(line, "\n") && json.Unmarshal([]byte(line), &r) == nil {
			out = append(out, r)
		}
	}
	return out
}

// start runs the provider with the settings of the world and some changes, and
// waits until it is ready.
func (w *world) start(changes map[string]any) *instance {
	w.t.Helper()
	in := w.launch(changes)
	in.ready(w.issuer)
	return in
}

// launch is start without the wait.
func (w *world) launch(changes map[string]any) *instance {
	w.t.Helper()
	return w.run(nil, "serve", "--config", w.settingsFile(changes))
}

// run starts a process that is told to stop at the end of the test, if it has
// not ended before.
func (w *world) run(environ []string, args ...string) *instance {
	w.t.Helper()
	in := startProcess(w.t, exec.Command(sealpost(w.t), args...), environ)
	w.instances = append(w.instances, in)
	w.t.Cleanup(func() {
		if !in.wanted {
			in.stop()
		}
	})
	return in
}

func startProcess(t testing.TB, cmd *exec.Cmd, environ []string) *instance {
	t.Helper()
	in := &instance{t: t, cmd: cmd, log: &lines{}, out: &lines{}, ended: make(chan struct{})}
	for _, variable := range os.Environ() {
		if !strings.HasPrefix(variable, "SEALPOST_") { // settings come from the test alone
			cmd.Env = append(cmd.Env, variable)
		}
	}
	cmd.Env = append(cmd.Env, "GORACE=atexit_sleep_ms=0") // races are told when they happen
	cmd.Env = append(cmd.Env, environ...)
	cmd.Dir = t.TempDir() // nothing is to be found, or left, where it starts
	cmd.Stdout, cmd.Stderr = in.out, in.log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		_ = cmd.Wait() // ProcessState tells
		close(in.ended)
	}()
	return in
}

func (in *instance) over() bool {
	select {
	case <-in.ended:
		return true
	default:
		return false
	}
}

// ready waits until the process says that it can serve.
func (in *instance) ready(address string) {
	in.t.Helper()
	in.answers(address + "/readyz")
}

// answers waits until a process answers at an address with 200.
func (in *instance) answers(address string) {
	in.t.Helper()
	client := http.Client{Timeout: patience}
	eventually(in.t, "answer from "+address, func() bool {
		if in.over() {
			in.t.Fatalf("%s ended: %s\n%s", in.cmd, in.cmd.ProcessState, in.log)
		}
		answer, err := client.Get(address)
		if err != nil {
			return false
		}
		_ = answer.Body.Close()
		return answer.StatusCode == http.StatusOK
	})
}

// stop tells the process to stop, and wants it to end well.
func (in *instance) stop() {
	in.t.Helper()
	in.terminate()
	in.ends(0)
}

// terminate tells the process to stop.
func (in *instance) terminate() {
	in.t.Helper()
	if err := in.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		in.t.Errorf("%s ended too early: %s\n%s", in.cmd, in.cmd.ProcessState, in.log)
	}
}

// ends waits for the end of the process.
func (in *instance) ends(code int) {
	in.t.Helper()
	in.wanted = true
	select {
	case <-in.ended:
	case <-time.After(patience):
		_ = in.cmd.Process.Kill() // ends it, or it has ended
		<-in.ended
		in.t.Errorf("%s did not end\n%s", in.cmd, in.log)
		return
	}
	if got := in.cmd.ProcessState.ExitCode(); got != code {
		in.t.Errorf("%s: exit code %d (%s), want %d\n%s", in.cmd, got, in.cmd.ProcessState, code, in.log)
	}
}

// kill ends the process as a crash of the machine would.
func (in *instance) kill() {
	in.t.Helper()
	in.wanted, in.killed = true, true
	if err := in.cmd.Process.Kill(); err != nil {
		in.t.Fatal(err)
	}
	<-in.ended
}

// says waits for a line of the log.
func (in *instance) says(what string, is func(record) bool) record {
	in.t.Helper()
	var found record
	eventually(in.t, "line in the log: "+what, func() bool {
		for _, r := range in.log.records() {
			if is(r) {
				found = r
				return true
			}
		}
		return false
	})
	return found
}

// events gives what the processes of the world logged of an event.
func (w *world) events(name string) []record {
	var out []record
	for _, in := range w.instances {
		for _, r := range in.log.records() {
			if r.text("event") == name {
				out = append(out, r)
			}
		}
	}
	return out
}
