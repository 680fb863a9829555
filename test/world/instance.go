package world

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

// Instance is a process of the binary.
type Instance struct {
	t      testing.TB
	cmd    *exec.Cmd
	Log    *lines // standard error
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

// Record is a line of the log.
type Record map[string]any

// Text is a value of the record as one would write it.
func (r Record) Text(key string) string {
	if v, ok := r[key]; ok {
		return fmt.Sprint(v)
	}
	return ""
}

// Records gives the whole lines that are JSON.
func (l *lines) Records() []Record {
	var out []Record
	for line := range strings.Lines(l.String()) {
		var r Record
		if strings.HasSuffix(line, "\n") && json.Unmarshal([]byte(line), &r) == nil {
			out = append(out, r)
		}
	}
	return out
}

// Start runs the provider with the settings of the world and some changes, and
// waits until it is ready.
func (w *World) Start(changes map[string]any) *Instance {
	w.T.Helper()
	in := w.Launch(changes)
	in.Ready(w.Issuer)
	return in
}

// Launch is start without the wait.
func (w *World) Launch(changes map[string]any) *Instance {
	w.T.Helper()
	w.served = true
	return w.run(nil, "serve", "--config", w.SettingsFile(changes))
}

// run starts a process that is told to stop at the end of the test, if it has
// not ended before.
func (w *World) run(environ []string, args ...string) *Instance {
	w.T.Helper()
	in := StartProcess(w.T, exec.Command(Binary(w.T), args...), append(environ, w.Environ...))
	w.instances = append(w.instances, in)
	w.T.Cleanup(func() {
		if !in.wanted {
			in.Stop()
		}
	})
	return in
}

func StartProcess(t testing.TB, cmd *exec.Cmd, environ []string) *Instance {
	t.Helper()
	in := &Instance{t: t, cmd: cmd, Log: &lines{}, out: &lines{}, ended: make(chan struct{})}
	for _, variable := range os.Environ() {
		if !strings.HasPrefix(variable, "SEALPOST_") { // settings come from the test alone
			cmd.Env = append(cmd.Env, variable)
		}
	}
	cmd.Env = append(cmd.Env, "GORACE=atexit_sleep_ms=0") // races are told when they happen
	cmd.Env = append(cmd.Env, environ...)
	cmd.Dir = t.TempDir() // nothing is to be found, or left, where it starts
	cmd.Stdout, cmd.Stderr = in.out, in.Log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		_ = cmd.Wait() // ProcessState tells
		close(in.ended)
	}()
	return in
}

func (in *Instance) over() bool {
	select {
	case <-in.ended:
		return true
	default:
		return false
	}
}

// Ready waits until the process says that it can serve.
func (in *Instance) Ready(address string) {
	in.t.Helper()
	in.Answers(address + "/readyz")
}

// Answers waits until a process answers at an address with 200.
func (in *Instance) Answers(address string) {
	in.t.Helper()
	client := http.Client{Timeout: patience}
	Eventually(in.t, "answer from "+address, func() bool {
		if in.over() {
			in.t.Fatalf("%s ended: %s\n%s", in.cmd, in.cmd.ProcessState, in.Log)
		}
		answer, err := client.Get(address)
		if err != nil {
			return false
		}
		_ = answer.Body.Close()
		return answer.StatusCode == http.StatusOK
	})
}

// Stop tells the process to stop, and wants it to end well.
func (in *Instance) Stop() {
	in.t.Helper()
	in.Terminate()
	in.Ends(0)
}

// Terminate tells the process to stop.
func (in *Instance) Terminate() {
	in.t.Helper()
	if err := in.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		in.t.Errorf("%s ended too early: %s\n%s", in.cmd, in.cmd.ProcessState, in.Log)
	}
}

// Ends waits for the end of the process.
func (in *Instance) Ends(code int) {
	in.t.Helper()
	in.wanted = true
	select {
	case <-in.ended:
	case <-time.After(patience):
		_ = in.cmd.Process.Kill() // ends it, or it has ended
		<-in.ended
		in.t.Errorf("%s did not end\n%s", in.cmd, in.Log)
		return
	}
	if got := in.cmd.ProcessState.ExitCode(); got != code {
		in.t.Errorf("%s: exit code %d (%s), want %d\n%s", in.cmd, got, in.cmd.ProcessState, code, in.Log)
	}
}

// Kill ends the process as a crash of the machine would.
func (in *Instance) Kill() {
	in.t.Helper()
	in.wanted, in.killed = true, true
	if err := in.cmd.Process.Kill(); err != nil {
		in.t.Fatal(err)
	}
	<-in.ended
}

// Dies waits until the process was killed, by itself or by another.
func (in *Instance) Dies() {
	in.t.Helper()
	in.killed = true
	in.Ends(-1)
}

// PID is the process's number.
func (in *Instance) PID() int { return in.cmd.Process.Pid }

// Says waits for a line of the log.
func (in *Instance) Says(what string, is func(Record) bool) Record {
	in.t.Helper()
	var found Record
	Eventually(in.t, "line in the log: "+what, func() bool {
		for _, r := range in.Log.Records() {
			if is(r) {
				found = r
				return true
			}
		}
		return false
	})
	return found
}

// Events gives what the processes of the world logged of an event.
func (w *World) Events(name string) []Record {
	var out []Record
	for _, in := range w.instances {
		for _, r := range in.Log.Records() {
			if r.Text("event") == name {
				out = append(out, r)
			}
		}
	}
	return out
}

// Do runs a command of the binary with the settings of the world and some
// changes, wants it to end well, and gives what it printed.
func (w *World) Do(changes map[string]any, args ...string) string {
	w.T.Helper()
	cmd := exec.Command(Binary(w.T), append(args, "--config", w.SettingsFile(changes))...)
	cmd.Dir = w.T.TempDir()
	var out, log bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &log
	if err := cmd.Run(); err != nil {
		w.T.Fatalf("%s: %v\n%s", cmd, err, log.String())
	}
	return out.String()
}
