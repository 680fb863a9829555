package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// process is a server under measurement.
type process struct {
	cmd     *exec.Cmd
	url     string
	started time.Duration // from its start to its first answer
	output  bytes.Buffer
}

// launch starts a server and waits until it answers at path.
func launch(url, path string, env []string, name string, args ...string) (*process, error) {
	p := &process{cmd: exec.Command(name, args...), url: url}
	p.cmd.Env = append(os.Environ(), env...)
	p.cmd.Stdout, p.cmd.Stderr = nil, nil
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	log, err := os.CreateTemp("", "sealpost-load-log-")
	if err != nil {
		return nil, err
	}
	defer os.Remove(log.Name())
	p.cmd.Stderr = log
	began := time.Now()
	if err := p.cmd.Start(); err != nil {
		return nil, err
	}
	for {
		response, err := http.Get(url + path)
		if err == nil {
			response.Body.Close()
			if response.StatusCode < 500 {
				p.started = time.Since(began)
				return p, nil
			}
		}
		if time.Since(began) > 30*time.Second {
			said, _ := os.ReadFile(log.Name())
			return nil, errors.Join(fmt.Errorf("%s does not answer: %w\n%s", name, err, said), p.stop())
		}
		time.Sleep(time.Millisecond)
	}
}

func (p *process) stop() error {
	_ = p.cmd.Process.Signal(syscall.SIGTERM)
	done := make(chan error, 1)
	go func() { done <- p.cmd.Wait() }()
	select {
	case <-done:
	case <-time.After(20 * time.Second):
		_ = p.cmd.Process.Kill()
		<-done
	}
	return nil
}

// cpu is the processor time that the process has used.
func (p *process) cpu() time.Duration {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", p.cmd.Process.Pid))
	if err != nil {
		return 0
	}
	fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+2:]))
	user, _ := strconv.ParseInt(fields[11], 10, 64)
	system, _ := strconv.ParseInt(fields[12], 10, 64)
	return time.Duration(user+system) * (time.Second / 100) // USER_HZ is 100 on Linux
}

// memory is the resident set, in bytes.
func (p *process) memory() int64 {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.cmd.Process.Pid))
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(status)) {
		if rest, ok := strings.CutPrefix(line, "VmRSS:"); ok {
			kb, _ := strconv.ParseInt(strings.Fields(rest)[0], 10, 64)
			return kb << 10
		}
	}
	return 0
}

func freeAddress() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	defer l.Close()
	return l.Addr().String(), nil
}

// postgres is a server of its own with the settings that Debian ships, but for
// where it listens: fsync is on.
type postgres struct {
	process *exec.Cmd
	url     string // of the server's first database
}

// startPostgres starts one in dir, with settings ("name=value") besides.
func startPostgres(dir string, settings ...string) (*postgres, error) {
	bin := ""
	if found, _ := filepath.Glob("/usr/lib/postgresql/*/bin/postgres"); len(found) > 0 {
		slices.Sort(found)
		bin = filepath.Dir(found[len(found)-1])
	}
	if bin == "" {
		return nil, errors.New("PostgreSQL is not installed; run: apt-get install postgresql")
	}
	address, err := freeAddress()
	if err != nil {
		return nil, err
	}
	host, port, _ := net.SplitHostPort(address)
	data := filepath.Join(dir, "postgres")
	if err := os.MkdirAll(data, 0o755); err != nil {
		return nil, err
	}
	as := func(name string, args ...string) *exec.Cmd {
		c := exec.Command(name, args...)
		c.Dir = data
		c.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGQUIT}
		return c
	}
	if os.Geteuid() == 0 { // it refuses to run as root
		plain := as
		as = func(name string, args ...string) *exec.Cmd {
			return plain("setpriv", append([]string{"--reuid=postgres", "--regid=postgres", "--clear-groups", name}, args...)...)
		}
		for _, d := range []string{dir, data} {
			if err := exec.Command("chown", "postgres:postgres", d).Run(); err != nil {
				return nil, fmt.Errorf("chown: %w", err)
			}
		}
	}
	if out, err := as(bin+"/initdb", "-D", data+"/db", "-U", "postgres", "--auth=trust", "--encoding=UTF8", "--no-locale").CombinedOutput(); err != nil {
		return nil, fmt.Errorf("initdb: %w\n%s", err, out)
	}
	args := []string{"-D", data + "/db"}
	for _, setting := range append(settings, "listen_addresses="+host, "port="+port, "unix_socket_directories=") {
		args = append(args, "-c", setting)
	}
	p := &postgres{process: as(bin+"/postgres", args...)}
	p.url = "postgres://postgres@" + address + "/postgres?sslmode=disable"
	if err := p.process.Start(); err != nil {
		return nil, err
	}
	for began := time.Now(); ; time.Sleep(20 * time.Millisecond) {
		err := p.execute("SELECT 1")
		if err == nil {
			return p, nil
		}
		if time.Since(began) > time.Minute {
			return nil, errors.Join(err, p.stop())
		}
	}
}

func (p *postgres) execute(query string) error {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	conn, err := connect(ctx, p.url)
	if err != nil {
		return err
	}
	_, err = conn.Exec(ctx, query)
	return errors.Join(err, conn.Close(ctx))
}

// database makes an empty database and gives its URL.
func (p *postgres) database(name string) (string, error) {
	return strings.Replace(p.url, "/postgres?", "/"+name+"?", 1), p.execute("CREATE DATABASE " + name)
}

// size is how many bytes a database has on the disk.
func (p *postgres) size(name string) (n int64, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	conn, err := connect(ctx, p.url)
	if err != nil {
		return 0, err
	}
	err = conn.QueryRow(ctx, "SELECT pg_database_size($1)", name).Scan(&n)
	return n, errors.Join(err, conn.Close(ctx))
}

func (p *postgres) stop() error {
	_ = p.process.Process.Signal(syscall.SIGINT)
	return p.process.Wait()
}
