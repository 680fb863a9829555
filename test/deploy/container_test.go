package deploy

import (
	"bytes"
	"errors"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/compose-spec/compose-go/v2/cli"
	"github.com/moby/buildkit/frontend/dockerfile/instructions"
	"github.com/moby/buildkit/frontend/dockerfile/parser"
)

// image is what the last stage of the Dockerfile says.
type image struct {
	from, user                     string
	env                            []string
	ports, entrypoint, cmd, health []string
	shell                          bool
}

func readImage(t *testing.T) image {
	t.Helper()
	file, err := parser.Parse(strings.NewReader(read(t, "Dockerfile")))
	if err != nil {
		t.Fatal(err)
	}
	for _, warning := range file.Warnings {
		t.Errorf("Dockerfile: %s", warning.Short)
	}
	stages, _, err := instructions.Parse(file.AST, nil)
	if err != nil {
		t.Fatal(err)
	}
	last := stages[len(stages)-1]
	img := image{from: last.BaseName}
	for _, command := range last.Commands {
		switch c := command.(type) {
		case *instructions.UserCommand:
			img.user = c.User
		case *instructions.EnvCommand:
			for _, pair := range c.Env {
				img.env = append(img.env, pair.Key+"="+pair.Value)
			}
		case *instructions.ExposeCommand:
			img.ports = append(img.ports, c.Ports...)
		case *instructions.EntrypointCommand:
			img.entrypoint, img.shell = c.CmdLine, img.shell || c.PrependShell
		case *instructions.CmdCommand:
			img.cmd, img.shell = c.CmdLine, img.shell || c.PrependShell
		case *instructions.HealthCheckCommand:
			img.health = c.Health.Test
		case *instructions.RunCommand:
			t.Error("Dockerfile: the last stage runs something; it has nothing to run it with")
		}
	}
	return img
}

func TestDockerfile(t *testing.T) {
	img := readImage(t)
	if img.from != "scratch" || img.user != "65532:65532" || img.shell {
		t.Errorf("from %s, as user %s, with a shell: %t", img.from, img.user, img.shell)
	}
	if !slices.Equal(img.entrypoint, []string{"/sealpost"}) || !slices.Equal(img.cmd, []string{"serve"}) ||
		!slices.Equal(img.health, []string{"CMD", "/sealpost", "healthcheck"}) {
		t.Errorf("runs %v %v, asks %v", img.entrypoint, img.cmd, img.health)
	}
	settings := install(t).takes("", img.env...)
	for _, listener := range []string{"listen: :8080", "admin_listen: :9090"} {
		says(t, settings, listener)
	}
	if !slices.Equal(img.ports, []string{"8080", "9090"}) {
		t.Errorf("exposes %v", img.ports)
	}
}

func TestCompose(t *testing.T) {
	options, err := cli.NewProjectOptions([]string{filepath.Join(folder, "compose.yaml")},
		cli.WithEnv([]string{"SEALPOST_HOST=login.example.com", "SEALPOST_FROM=Example <login@example.com>"}))
	if err != nil {
		t.Fatal(err)
	}
	project, err := options.LoadProject(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	sealpost, caddy := project.Services["sealpost"], project.Services["caddy"]

	image := readImage(t)
	environ := image.env
	for name, value := range sealpost.Environment {
		environ = append(environ, name+"="+*value)
	}
	for _, secret := range sealpost.Secrets {
		if !slices.ContainsFunc(environ, func(e string) bool { return strings.HasSuffix(e, "=/run/secrets/"+secret.Source) }) {
			t.Errorf("no setting reads the secret %s", secret.Source)
		}
	}
	in := install(t)
	settings := in.takes("", environ...)
	says(t, settings, "issuer: https://login.example.com")
	says(t, settings, "listen: :8080")
	if subnet := project.Networks["outside"].Ipam.Config[0].Subnet; !strings.Contains(settings, subnet) {
		t.Errorf("trusted_proxies does not have %s, where Caddy is:\n%s", subnet, settings)
	}
	if upstream := *caddy.Environment["SEALPOST_UPSTREAM"]; upstream != "sealpost:8080" {
		t.Errorf("Caddy asks %s", upstream)
	}
	if !sealpost.ReadOnly || !slices.Equal(sealpost.CapDrop, []string{"ALL"}) || len(sealpost.Ports) > 0 {
		t.Errorf("read-only %t, without %v, open to the world at %v", sealpost.ReadOnly, sealpost.CapDrop, sealpost.Ports)
	}
	if _, ok := project.Services["database"].Networks["outside"]; ok || !project.Networks["inside"].Internal {
		t.Error("the database can be reached from outside")
	}
	in.serves(image, environ)
}

// serves runs what the container runs, with its environment, and what it asks
// about its health; only the ports are others.
func (in installation) serves(img image, environ []string) {
	in.t.Helper()
	run := func(args []string) *exec.Cmd {
		if args[0] != "/sealpost" {
			in.t.Fatalf("the image has no %s", args[0])
		}
		cmd := exec.Command(binary, args[1:]...)
		cmd.Dir = in.t.TempDir()
		for _, variable := range environ {
			cmd.Env = append(cmd.Env, in.here(variable))
		}
		cmd.Env = append(cmd.Env, "SEALPOST_LISTEN=127.0.0.1:"+in.port, "SEALPOST_ADMIN_LISTEN=127.0.0.1:"+in.adminPort)
		return cmd
	}
	health := img.health[1:]
	if out, err := run(health).CombinedOutput(); err == nil {
		in.t.Errorf("before there is a server: %s", out)
	}
	server := run(append(slices.Clone(img.entrypoint), img.cmd...))
	var log bytes.Buffer
	server.Stderr = &log
	if err := server.Start(); err != nil {
		in.t.Fatal(err)
	}
	var last []byte
	var err error
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); time.Sleep(50 * time.Millisecond) {
		if last, err = run(append(slices.Clone(health), "--ready")).CombinedOutput(); err == nil {
			break
		}
	}
	if err != nil {
		in.t.Errorf("it never is ready: %v, %s", err, last)
	}
	if out, err := run(health).CombinedOutput(); err != nil {
		in.t.Errorf("not healthy: %v, %s", err, out)
	}
	if err := errors.Join(server.Process.Signal(syscall.SIGTERM), server.Wait()); err != nil {
		in.t.Errorf("it does not end well: %v\n%s", err, log.String())
	}
}
