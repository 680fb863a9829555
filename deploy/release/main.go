// Command release builds what is published of a version:
//
//	go run ./deploy/release -version v0.1.0 -out dist
//
// For each platform there is one archive, sealpost-VERSION-OS-ARCH.tar.gz, with
// the binary, the licence, the changelog and the files of deploy/; beside them
// lie a list of what the binaries are made of (CycloneDX) and SHA256SUMS.
//
// The same commit, version and Go give the same bytes, wherever and whenever
// they are built: nothing of the machine, its time or its folders is in them.
package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"os/signal"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// platforms are those that a release is for.
var platforms = []string{"linux/amd64", "linux/arm64", "darwin/arm64", "darwin/amd64", "freebsd/amd64"}

// beside are what an archive has besides the binary.
var beside = []string{"LICENSE", "README.md", "CHANGELOG.md", "deploy", "docs"}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	err := run(ctx, os.Args[1:])
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "release:", err)
		os.Exit(1)
	}
}

// versionForm is that of the Go module's tags.
var versionForm = regexp.MustCompile(`^v\d+\.\d+\.\d+(-[0-9A-Za-z.-]+)?$`)

func run(ctx context.Context, args []string) error {
	flags := flag.NewFlagSet("release", flag.ContinueOnError)
	version := flags.String("version", "", "the version, such as v0.1.0")
	source := flags.String("source", ".", "the folder of the module")
	out := flags.String("out", "dist", "the folder to write to")
	only := flags.String("platforms", strings.Join(platforms, ","), "what to build for")
	at := flags.String("date", os.Getenv("SOURCE_DATE_EPOCH"), "time of the files in the archives, in seconds since 1970")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if !versionForm.MatchString(*version) {
		return fmt.Errorf("-version %q: write one such as v0.1.0", *version)
	}
	var date time.Time
	if *at != "" {
		seconds, err := strconv.ParseInt(*at, 10, 64)
		if err != nil {
			return fmt.Errorf("-date %q: write seconds since 1970", *at)
		}
		date = time.Unix(seconds, 0).UTC()
	}
	if err := os.MkdirAll(*out, 0o755); err != nil {
		return err
	}
	scratch, err := os.MkdirTemp("", "sealpost-release-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(scratch)

	sums := map[string]string{}
	publish := func(name string, content []byte) error {
		sum := sha256.Sum256(content)
		sums[name] = hex.EncodeToString(sum[:])
		return os.WriteFile(filepath.Join(*out, name), content, 0o644)
	}
	for platform := range strings.SplitSeq(*only, ",") {
		goos, goarch, _ := strings.Cut(platform, "/")
		binary := filepath.Join(scratch, goos+"-"+goarch)
		if err := build(ctx, *source, *version, goos, goarch, binary); err != nil {
			return err
		}
		name := fmt.Sprintf("sealpost-%s-%s-%s", *version, goos, goarch)
		archive, err := pack(*source, name, binary, date)
		if err != nil {
			return err
		}
		materials, err := bill(binary, *version)
		if err != nil {
			return err
		}
		if err := errors.Join(publish(name+".tar.gz", archive), publish(name+".cdx.json", materials)); err != nil {
			return err
		}
	}
	var list strings.Builder
	for _, name := range slices.Sorted(maps.Keys(sums)) {
		fmt.Fprintf(&list, "%s  %s\n", sums[name], name)
	}
	return os.WriteFile(filepath.Join(*out, "SHA256SUMS"), []byte(list.String()), 0o644)
}

// build makes the binary of a platform. The settings of whoever builds it that
// would change its bytes are not taken.
func build(ctx context.Context, source, version, goos, goarch, binary string) error {
	cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-buildvcs=false", "-mod=readonly",
		"-ldflags", "-s -w -buildid= -X main.release="+version, "-o", binary, "./cmd/sealpost")
	cmd.Dir = source
	cmd.Env = append(slices.DeleteFunc(os.Environ(), func(variable string) bool {
		name, _, _ := strings.Cut(variable, "=")
		return slices.Contains([]string{"GOFLAGS", "GOAMD64", "GOARM64", "GOEXPERIMENT", "GOWORK", "GOFIPS140"}, name)
	}), "CGO_ENABLED=0", "GOOS="+goos, "GOARCH="+goarch, "GOFLAGS=", "GOENV=off", "GOWORK=off", "GOTOOLCHAIN=local")
	if proxy := os.Getenv("GOPROXY"); proxy != "" {
		cmd.Env = append(cmd.Env, "GOPROXY="+proxy)
	}
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("build for %s/%s: %w\n%s", goos, goarch, err, out)
	}
	return nil
}

// pack makes the archive: files in the order of their names, of nobody, of one
// date, with one of two modes.
func pack(source, name, binary string, date time.Time) ([]byte, error) {
	files := map[string]string{"sealpost": binary}
	for _, root := range beside {
		err := filepath.WalkDir(filepath.Join(source, root), func(file string, entry fs.DirEntry, err error) error {
			if err != nil || !entry.Type().IsRegular() || strings.HasSuffix(file, ".go") {
				return err
			}
			relative, err := filepath.Rel(source, file)
			files[filepath.ToSlash(relative)] = file
			return err
		})
		if err != nil {
			return nil, err
		}
	}
	var archive bytes.Buffer
	compressed := gzip.NewWriter(&archive) // its header has no name and no time
	t := tar.NewWriter(compressed)
	for _, inside := range slices.Sorted(maps.Keys(files)) {
		content, err := os.ReadFile(files[inside])
		if err != nil {
			return nil, err
		}
		mode := int64(0o644)
		if inside == "sealpost" {
			mode = 0o755
		}
		header := &tar.Header{Name: path.Join(name, inside), Mode: mode, Size: int64(len(content)), ModTime: date, Format: tar.FormatUSTAR}
		if err := t.WriteHeader(header); err != nil {
			return nil, err
		}
		if _, err := t.Write(content); err != nil {
			return nil, err
		}
	}
	err := errors.Join(t.Close(), compressed.Close())
	return archive.Bytes(), err
}
