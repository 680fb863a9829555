package login

import (
	"net/http"
	"strings"
)

// agents and platforms in the order in which to look for them: most browsers
// name those they descend from, too.
var (
	agents = []struct{ mark, name string }{
		{"Edg/", "Edge"}, {"EdgA/", "Edge"}, {"EdgiOS/", "Edge"},
		{"OPR/", "Opera"}, {"SamsungBrowser/", "Samsung Internet"}, {"Vivaldi/", "Vivaldi"}, {"YaBrowser/", "Yandex Browser"},
		{"FxiOS/", "Firefox"}, {"Firefox/", "Firefox"},
		{"CriOS/", "Chrome"}, {"Chromium/", "Chromium"}, {"Chrome/", "Chrome"},
		{"Safari/", "Safari"}, {"AppleWebKit/", "A web view"}, {"curl/", "curl"},
	}
	platforms = []struct{ mark, name string }{
		{"iPhone", "iPhone"}, {"iPad", "iPad"}, {"Android", "Android"}, {"CrOS", "ChromeOS"},
		{"Windows", "Windows"}, {"Macintosh", "macOS"}, {"Linux", "Linux"}, {"FreeBSD", "FreeBSD"},
	}
)

// agent says which browser sent a request, in words such as "Firefox on
// Linux". Every word is ours: nothing of the header reaches a page or a mail.
func agent(r *http.Request) string {
	header := r.UserAgent()
	if len(header) > 1024 {
		header = header[:1024]
	}
	name, on := "A browser", ""
	for _, a := range agents {
		if strings.Contains(header, a.mark) {
			name = a.name
			break
		}
	}
	for _, p := range platforms {
		if strings.Contains(header, p.mark) {
			on = " on " + p.name
			break
		}
	}
	return name + on
}
