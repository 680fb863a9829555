//go:build unix

package postgrestest

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"sync"
	"syscall"
	"time"
)

// keeper runs a server in its directory until its own standard input ends,
// which it does when the test process is gone, killed or not; then it stops the
// server and removes the directory. (A parent-death signal would be tied to one
// thread of the test process, and leave the files.)
//
// Its standard output is a pipe that only the server keeps open, as descriptor
// 3, so that its end tells that the server has ended.
const keeper = `cd "$0" || exit 1
sh ./run 3>&1 >log 2>&1 </dev/null &
exec >&-
read -r _
kill -s "$1" $!
wait
cd / && rm -rf "$0"`

// stops holds what ends the keepers, lest the collector close them: they are to
// close with the process.
var stops sync.Map

// start runs a server that lives as long as this process and is then stopped by
// the signal, in a directory with the given files, and gives its address once
// ready succeeds. The command is a shell script that ends by turning into the
// server.
func start(signal string, files map[string]string, command func(host, port string) string, ready func(address string) error) (string, error) {
	const host = "127.0.0.1"
	for attempt := 1; ; attempt++ {
		port, err := freePort(host)
		if err != nil {
			return "", err
		}
		address := net.JoinHostPort(host, port)
		err = keep(signal, files, command(host, port), func() error { return ready(address) })
		// Another process may take the free port before the server does.
		if err == nil || attempt == 3 {
			return address, err
		}
	}
}

func keep(signal string, files map[string]string, command string, ready func() error) (err error) {
	dir, err := os.MkdirTemp("", "sealpost-test-")
	if err != nil {
		return err
	}
	attr, own, err := unprivileged()
	if err != nil {
		return err
	}
	paths := []string{dir}
	files["run"] = command
	for name, content := range files {
		path := filepath.Join(dir, name)
		paths = append(paths, path)
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			return err
		}
	}
	for _, path := range paths {
		if err := own(path); err != nil {
			return err
		}
	}
	cmd := exec.Command("/bin/sh", "-c", keeper, dir, signal)
	cmd.SysProcAttr = attr
	stop, err := cmd.StdinPipe()
	if err != nil {
		return err
	}
	alive, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	ended := make(chan struct{})
	go func() {
		_, _ = io.Copy(io.Discard, alive) // returns when the server has ended
		close(ended)
	}()
	for deadline := time.After(startTimeout); ; {
		err := ready()
		if err == nil {
			stops.Store(cmd, stop)
			return nil
		}
		select {
		case <-ended:
		case <-deadline:
		case <-time.After(10 * time.Millisecond):
			continue
		}
		log, _ := os.ReadFile(filepath.Join(dir, "log")) // the error is told with or without it
		return errors.Join(fmt.Errorf("server did not start: %w\n%s", err, log), stop.Close(), cmd.Wait())
	}
}

func freePort(host string) (string, error) {
	l, err := net.Listen("tcp", net.JoinHostPort(host, "0"))
	if err != nil {
		return "", err
	}
	_, port, err := net.SplitHostPort(l.Addr().String())
	return port, errors.Join(err, l.Close())
}

// unprivileged gives the attributes of a process that a server may run in, and
// a function that gives a file to it: servers refuse to run as root. The
// process has a group of its own, so that Ctrl-C reaches the tests alone.
func unprivileged() (*syscall.SysProcAttr, func(path string) error, error) {
	attr := &syscall.SysProcAttr{Setpgid: true}
	if os.Geteuid() != 0 {
		return attr, func(string) error { return nil }, nil
	}
	u, err := user.Lookup("postgres")
	if err != nil {
		u, err = user.Lookup("nobody")
	}
	if err != nil {
		return nil, nil, err
	}
	uid, err := strconv.Atoi(u.Uid)
	if err != nil {
		return nil, nil, err
	}
	gid, err := strconv.Atoi(u.Gid)
	if err != nil {
		return nil, nil, err
	}
	attr.Credential = &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
	return attr, func(path string) error { return os.Chown(path, uid, gid) }, nil
}
