// Package browser starts a real Chromium for tests.
package browser

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
)

// Start starts a browser with a profile of its own for the length of a test.
// A test that has to wait for more than five minutes fails.
func Start(t testing.TB, options ...chromedp.ExecAllocatorOption) context.Context {
	t.Helper()
	all := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.ExecPath(find(t)),
		chromedp.NoSandbox, // tests run as root in containers, too
		chromedp.DisableGPU, chromedp.Flag("disable-component-update", true), chromedp.Flag("disable-background-networking", true))
	allocator, stop := chromedp.NewExecAllocator(context.Background(), append(all, options...)...)
	t.Cleanup(stop)
	browser, stop := chromedp.NewContext(allocator)
	t.Cleanup(stop)
	browser, stop = context.WithTimeout(browser, 5*time.Minute)
	t.Cleanup(stop)
	if err := chromedp.Do(browser); err != nil {
		t.Fatalf("start the browser: %v", err)
	}
	return browser
}

// find looks for Chromium: $SEALPOST_TEST_CHROMIUM, or the usual names.
func find(t testing.TB) string {
	t.Helper()
	for _, name := range []string{os.Getenv("SEALPOST_TEST_CHROMIUM"), "chromium", "chromium-browser", "google-chrome-stable", "google-chrome"} {
		if name == "" {
			continue
		}
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	t.Fatal("no Chromium: install it (Debian, Ubuntu: apt-get install chromium), or set SEALPOST_TEST_CHROMIUM to one")
	return ""
}

// Screenshots gives the folder that tests draw pages into: test/screenshots,
// which git ignores.
func Screenshots(t testing.TB) string {
	t.Helper()
	_, file, _, _ := runtime.Caller(0)
	directory := filepath.Join(filepath.Dir(file), "..", "screenshots")
	if err := os.MkdirAll(directory, 0o755); err != nil {
		t.Fatal(err)
	}
	return directory
}
