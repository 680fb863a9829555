package deploy

import (
	"bytes"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

const folder = "../../deploy"

var binary string

func TestMain(m *testing.M) {
	os.Exit(func() int {
		dir, err := os.MkdirTemp("", "sealpost-deploy-")
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		defer os.RemoveAll(dir)
		binary = filepath.Join(dir, "sealpost")
		build := exec.Command("go", "build", "-o", binary, "./cmd/sealpost")
		build.Dir = "../.."
		if out, err := build.CombinedOutput(); err != nil {
			fmt.Fprintf(os.Stderr, "go build: %v\n%s", err, out)
			return 1
		}
		return m.Run()
	}())
}

func read(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(folder, name))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// installation stands for the files that a machine has and this one has not:
// a folder with the secrets, under their names.
type installation struct {
	t               *testing.T
	dir             string
	port, adminPort string // that nobody listens on
}

func install(t *testing.T) installation {
	t.Helper()
	in := installation{t: t, dir: t.TempDir()}
	for _, port := range []*string{&in.port, &in.adminPort} {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		if _, *port, err = net.SplitHostPort(l.Addr().String()); err != nil {
			t.Fatal(err)
		}
	}
	secret, err := exec.Command(binary, "secret").Output()
	if err != nil {
		t.Fatal(err)
	}
	for name, content := range map[string]string{
		"secret": string(secret), "database": "sqlite:" + filepath.Join(in.dir, "test.db"), "mail-url": "smtp://user:password@smtp.example.com:587",
	} {
		in.write(name, content)
	}
	return in
}

func (in installation) write(name, content string) string {
	in.t.Helper()
	file := filepath.Join(in.dir, name)
	if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
		in.t.Fatal(err)
	}
	return file
}

var secretsFolder = regexp.MustCompile(`(/run/secrets/sealpost|/run/secrets|/etc/sealpost|%d)/(secret|database|mail-url)\b`)

// here puts the files of the installation in the place of those of the machine.
func (in installation) here(text string) string {
	return secretsFolder.ReplaceAllString(text, in.dir+"/$2")
}

// takes wants the binary to take settings: a file, and an environment. It gives
// what they come to.
func (in installation) takes(settings string, environ ...string) string {
	in.t.Helper()
	args := []string{"config"}
	if settings != "" {
		args = append(args, "--config", in.write("sealpost.yaml", in.here(settings)))
	}
	cmd := exec.Command(binary, args...)
	for _, variable := range os.Environ() {
		if !strings.HasPrefix(variable, "SEALPOST_") {
			cmd.Env = append(cmd.Env, variable)
		}
	}
	for _, variable := range environ {
		cmd.Env = append(cmd.Env, in.here(variable))
	}
	var out, log bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &log
	if err := cmd.Run(); err != nil {
		in.t.Errorf("sealpost does not take the settings: %v\n%s", err, log.String())
	}
	return out.String()
}

// says wants a line among settings.
func says(t *testing.T, settings, line string) {
	t.Helper()
	if !strings.Contains("\n"+settings, "\n"+line+"\n") {
		t.Errorf("%q is not among the settings:\n%s", line, settings)
	}
}
