//go:build integration

package integration

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// machine is the bare Debian of a page, without root and without leaving a
// trace: the page's commands run as they are written, but for the table of
// newMachine. Programs that change a whole system, or ask the world, have a
// stand-in before them in PATH.
type machine struct {
	t        testing.TB
	root     string // stands for /
	differs  *strings.Replacer
	names    map[string]string // where host:port leads
	environ  []string          // of every program
	mail     *mailServer
	https    string
	services sync.Map // *process, by the name of the unit
}

// newMachine makes a machine on which PostgreSQL has a superuser.
func newMachine(t testing.TB, superuser *url.URL) *machine {
	t.Helper()
	m := &machine{t: t, root: t.TempDir()}
	for _, dir := range []string{"bin", "run", "repository", "etc/systemd/system", "etc/nginx/conf.d", "etc/cron.daily", "usr/local/bin", "var/www/html", "var/backups", "var/lib"} {
		m.must(os.MkdirAll(filepath.Join(m.root, dir), 0o755))
	}
	m.mail = startMailServer(t, "user", "password")
	_, mailPort, err := net.SplitHostPort(m.mail.address)
	m.must(err)
	web := "127.0.0.1:" + freePort(t)
	m.https = "127.0.0.1:" + freePort(t)

	// All that differs from the page, and from deploy/.
	m.differs = strings.NewReplacer(
		"/etc/", m.root+"/etc/", "/var/", m.root+"/var/", "/usr/local/", m.root+"/usr/local/",
		"127.0.0.1:808", "127.0.0.1:"+freeTen(t), // replicas 1 and 2
		"127.0.0.1:909", "127.0.0.1:"+freeTen(t),
		"127.0.0.1:4180", "127.0.0.1:"+freePort(t),
		"127.0.0.1:3000", application(t),
		"@localhost/sealpost", "@"+superuser.Host+"/sealpost",
		"listen 80;\n\tlisten [::]:80;", "listen "+web+";",
		"listen 443 ssl http2;\n\tlisten [::]:443 ssl http2;", "listen "+m.https+" ssl http2;",
		"smtp://user:password@smtp.example.com:587", "smtp://user:password@localhost:"+mailPort,
		"Example <login@example.com>", "Example <login@localhost>", // the DNS of example.com is not ours
	)
	m.names = map[string]string{
		"login.example.com:80": web, "login.example.com:443": m.https,
		"app.example.com:80": web, "app.example.com:443": m.https,
	}
	m.environ = []string{
		"PATH=" + m.root + "/bin:" + m.root + "/usr/local/bin:" + os.Getenv("PATH"),
		"https_proxy=" + m.proxy(), "no_proxy=",
		"SSL_CERT_FILE=" + authority(t).file("authority.pem"), "CURL_CA_BUNDLE=" + authority(t).file("authority.pem"),
	}

	// The repository: as it is, deploy/ apart.
	repository, err := filepath.Abs("../..")
	m.must(err)
	m.must(os.Symlink(filepath.Join(repository, "bin"), filepath.Join(m.root, "repository/bin")))
	m.must(os.CopyFS(filepath.Join(m.root, "repository/deploy"), os.DirFS(filepath.Join(repository, "deploy"))))
	m.must(filepath.WalkDir(filepath.Join(m.root, "repository/deploy"), func(path string, entry os.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		return os.WriteFile(path, []byte(m.differs.Replace(string(text))), 0o644)
	}))

	password, _ := superuser.User.Password()
	m.standIn("runuser", `[ "$1 $2 $3" = "-u postgres --" ] || exit 64; shift 3
PGHOST=`+superuser.Hostname()+` PGPORT=`+superuser.Port()+` PGUSER=postgres PGPASSWORD=`+password+` exec "$@"`)
	m.standIn("nginx", "exec "+nginx(t)+" -e stderr -c "+m.root+"/etc/nginx/nginx.conf \"$@\"")
	m.standIn("apt-get", "exit 0") // test/setup.sh has installed what is there
	m.ask(map[string]func(words []string) ([]byte, error){
		"make": func(words []string) ([]byte, error) {
			cmd := exec.Command("make", append([]string{"-C", repository}, words...)...)
			cmd.Env = slices.DeleteFunc(os.Environ(), func(v string) bool { return strings.HasPrefix(v, "MAKE") || strings.HasPrefix(v, "MFLAGS=") })
			return cmd.CombinedOutput()
		},
		"certbot": m.certbot, "systemctl": m.systemctl, "journalctl": m.journalctl,
	})

	config := nginxConfig(m.root+"/run", "include "+m.root+"/etc/nginx/conf.d/*.conf;\nserver {\n\tlisten "+web+" default_server;\n\troot "+m.root+"/var/www/html;\n}\n")
	if os.Geteuid() == 0 {
		config = "user root;\n" + config
	}
	m.must(os.WriteFile(m.root+"/etc/nginx/nginx.conf", []byte(config), 0o644))
	m.services.Store("nginx", startProcess(t, exec.Command(m.root+"/bin/nginx"), m.environ...))
	return m
}

func (m *machine) must(err error) {
	m.t.Helper()
	if err != nil {
		m.t.Fatal(err)
	}
}

// freeTen gives what is a free port with a 1 and with a 2 behind it.
func freeTen(t testing.TB) string {
	t.Helper()
	for ten := portsFrom / 10; ten < portsTo/10; ten++ {
		if takePort(ten*10+1) && takePort(ten*10+2) {
			return strconv.Itoa(ten)
		}
	}
	t.Fatal("no ports are free")
	return ""
}

// walk runs the blocks of a page in one shell, and gives what each said.
func (m *machine) walk(blocks []string) (said []string) {
	m.t.Helper()
	const mark = "\x1e"
	script := filepath.Join(m.root, "run/walk.sh")
	m.must(os.WriteFile(script, []byte(m.differs.Replace(strings.Join(blocks, "printf '"+mark+"'\n"))), 0o600))
	cmd := exec.Command("bash", "-eu", "-o", "pipefail", script)
	cmd.Dir = filepath.Join(m.root, "repository")
	p := startProcess(m.t, cmd, m.environ...)
	<-p.ended
	said = strings.Split(p.out.String(), mark)
	if !p.cmd.ProcessState.Success() || len(said) != len(blocks) {
		m.t.Fatalf("%s in this block:\n%s", p.cmd.ProcessState, blocks[len(said)-1])
	}
	return said
}

// documented gives the blocks of a kind on a page of docs/.
func documented(t testing.TB, page, kind string) (blocks []string) {
	t.Helper()
	for _, m := range regexp.MustCompile("(?ms)^```"+kind+"\n(.*?)^```$").FindAllStringSubmatch(pageText(t, page), -1) {
		blocks = append(blocks, m[1])
	}
	if len(blocks) == 0 {
		t.Fatalf("%s has no block of %s", page, kind)
	}
	return blocks
}

func pageText(t testing.TB, page string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("../../docs", page))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// dial is the network with the names of the page.
func (m *machine) dial(ctx context.Context, network, address string) (net.Conn, error) {
	to, ok := m.names[address]
	if !ok {
		return nil, fmt.Errorf("%s is not in the DNS of the machine", address)
	}
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(10 * time.Millisecond) { // nginx may be reading its settings again
		conn, err := (&net.Dialer{}).DialContext(ctx, network, to)
		if err == nil || ctx.Err() != nil || time.Now().After(deadline) {
			return conn, err
		}
	}
}

// proxy starts what leads programs to the names of the page, and gives its
// address.
func (m *machine) proxy() string {
	m.t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		to, err := m.dial(r.Context(), "tcp", r.Host)
		if r.Method != http.MethodConnect || err != nil {
			http.Error(rw, fmt.Sprint(err), http.StatusBadGateway)
			return
		}
		defer to.Close()
		from, _, err := http.NewResponseController(rw).Hijack()
		if err != nil {
			m.t.Error(err)
			return
		}
		defer from.Close()
		_, _ = io.WriteString(from, "HTTP/1.1 200 OK\r\n\r\n") // to who may be gone
		go func() { _, _ = io.Copy(to, from); _ = to.Close() }()
		_, _ = io.Copy(from, to)
	}))
	m.t.Cleanup(s.Close)
	return s.URL
}

func (m *machine) standIn(name, script string) {
	m.t.Helper()
	m.must(os.WriteFile(filepath.Join(m.root, "bin", name), []byte("#!/bin/sh\n"+script+"\n"), 0o755))
}

// ask makes programs of the machine that have the test do what they are for.
func (m *machine) ask(programs map[string]func(words []string) ([]byte, error)) {
	m.t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		if err := r.ParseForm(); err != nil {
			http.Error(rw, err.Error(), http.StatusBadRequest)
			return
		}
		said, err := programs[strings.TrimPrefix(r.URL.Path, "/")](r.Form["word"])
		if err != nil {
			rw.WriteHeader(http.StatusInternalServerError)
			said = fmt.Appendf(said, "%v\n", err)
		}
		_, _ = rw.Write(said) // to who may be gone
	}))
	m.t.Cleanup(s.Close)
	for name := range programs {
		m.standIn(name, `for word; do set -- "$@" --data-urlencode "word=$word"; shift; done
exec curl -sS --fail-with-body "$@" `+s.URL+"/"+name)
	}
}

// certbot proves a name by a file in the web root, as an authority wants (RFC
// 8555 §8.3), and puts a certificate where certbot does.
func (m *machine) certbot(words []string) ([]byte, error) {
	options := map[string]string{}
	for i := 0; i < len(words); i++ {
		switch words[i] {
		case "certonly", "--webroot", "--agree-tos", "--non-interactive":
			options[words[i]] = "given"
		case "-w", "-d", "-m", "--deploy-hook":
			if i++; i < len(words) {
				options[words[i-1]] = words[i]
			}
		default:
			return nil, fmt.Errorf("certbot does not know %q", words[i])
		}
	}
	if len(options) != 8 {
		return nil, fmt.Errorf("certbot would ask, or does not know what to do: %q", words)
	}
	name := options["-d"]
	challenge := filepath.Join(options["-w"], ".well-known/acme-challenge/token")
	if err := errors.Join(os.MkdirAll(filepath.Dir(challenge), 0o755), os.WriteFile(challenge, []byte(name), 0o644)); err != nil {
		return nil, err
	}
	authorityOf := http.Client{Transport: &http.Transport{DialContext: m.dial, DisableKeepAlives: true}}
	answer, err := authorityOf.Get("http://" + name + "/.well-known/acme-challenge/token")
	if err != nil {
		return nil, err
	}
	defer answer.Body.Close()
	if proof, err := io.ReadAll(answer.Body); err != nil || string(proof) != name {
		return nil, fmt.Errorf("the challenge of %s gives %s, %q, %v", name, answer.Status, proof, err)
	}
	certificate, key, err := authority(m.t).issue(name)
	dir := filepath.Join(m.root, "etc/letsencrypt/live", name)
	if err := errors.Join(err, os.MkdirAll(dir, 0o755), os.WriteFile(dir+"/fullchain.pem", certificate, 0o644), os.WriteFile(dir+"/privkey.pem", key, 0o600)); err != nil {
		return nil, err
	}
	hook := exec.Command("sh", "-c", options["--deploy-hook"])
	hook.Env = m.environ
	return hook.CombinedOutput()
}

// systemctl knows of units what those of the page say, their sandbox apart.
func (m *machine) systemctl(words []string) ([]byte, error) {
	switch {
	case slices.Equal(words, []string{"daemon-reload"}): // units are read when they start
		return nil, nil
	case slices.Equal(words, []string{"reload", "nginx"}):
		return exec.Command(m.root+"/bin/nginx", "-s", "reload").CombinedOutput()
	case len(words) > 2 && words[0] == "enable" && words[1] == "--now":
		for _, name := range words[2:] {
			if err := m.start(name); err != nil {
				return nil, fmt.Errorf("unit %s: %w", name, err)
			}
		}
		return nil, nil
	}
	return nil, fmt.Errorf("systemctl cannot do %q", words)
}

// start runs a unit (systemd.service(5), systemd.unit(5)).
func (m *machine) start(name string) error {
	template, instance, _ := strings.Cut(name, "@")
	file := filepath.Join(m.root, "etc/systemd/system", strings.TrimSuffix(name, instance)+".service")
	unit, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	drops, err := filepath.Glob(file + ".d/*.conf")
	if err != nil {
		return err
	}
	for _, drop := range drops {
		more, err := os.ReadFile(drop)
		if err != nil {
			return err
		}
		unit = append(append(unit, '\n'), more...)
	}
	credentials := filepath.Join(m.root, "run", name)
	if err := os.MkdirAll(credentials, 0o700); err != nil {
		return err
	}
	specifiers := strings.NewReplacer("%i", instance, "%d", credentials, "${CREDENTIALS_DIRECTORY}", credentials)
	cmd, environ := &exec.Cmd{}, slices.Clone(m.environ)
	for line := range strings.Lines(string(unit)) {
		key, value, _ := strings.Cut(specifiers.Replace(strings.TrimSpace(line)), "=")
		switch key {
		case "ExecStart":
			words := strings.Fields(value)
			cmd = exec.Command(words[0], words[1:]...)
		case "Environment":
			environ = append(environ, value)
		case "LoadCredential":
			id, from, _ := strings.Cut(value, ":")
			content, err := os.ReadFile(from)
			if err = errors.Join(err, os.WriteFile(filepath.Join(credentials, id), content, 0o600)); err != nil {
				return err
			}
		case "StateDirectory":
			if err := os.MkdirAll(filepath.Join(m.root, "var/lib", value), 0o700); err != nil {
				return err
			}
		}
	}
	if cmd.Path == "" {
		return fmt.Errorf("%s has no ExecStart", template)
	}
	m.services.Store(name, startProcess(m.t, cmd, environ...))
	return nil
}

// service is a unit that runs.
func (m *machine) service(name string) *process {
	m.t.Helper()
	p, ok := m.services.Load(name)
	if !ok {
		m.t.Fatalf("the unit %s was not started", name)
	}
	return p.(*process)
}

// journalctl gives what units wrote.
func (m *machine) journalctl(words []string) ([]byte, error) {
	if len(words) != 6 || words[0] != "-u" || !slices.Equal(words[2:5], []string{"-o", "cat", "--since"}) {
		return nil, fmt.Errorf("journalctl cannot do %q", words)
	}
	var all bytes.Buffer
	m.services.Range(func(name, p any) bool {
		if ok, _ := path.Match(words[1], name.(string)); ok {
			all.WriteString(p.(*process).out.String())
		}
		return true
	})
	if all.Len() == 0 {
		return nil, fmt.Errorf("no unit %s has written anything", words[1])
	}
	return all.Bytes(), nil
}
