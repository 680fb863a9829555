package templates

import (
	"fmt"
	"html/template"
	"slices"
	"strings"
	"time"
)

// NameOf is what an app is called: by its name, else by its id.
func (v view) NameOf(app AccountApp) string {
	if name := appName(app.Client); name != "" {
		return name
	}
	return SafeName(app.ID)
}

// Gives are the scopes an app has, once each. That it goes on when the person
// is signed out is said of it whatever it was allowed.
func (v view) Gives(app AccountApp) []string {
	all := slices.Clone(app.Scopes)
	if app.Offline && !slices.Contains(all, "offline_access") {
		all = append(all, "offline_access")
	}
	return all
}

// Device is a browser that is signed in; "A browser" when nothing is known of it.
func (v view) Device(agent string) (string, error) {
	if agent == "" {
		agent = "A browser"
	}
	return v.Agent(agent)
}

// latest is how many events are shown before somebody asks for the earlier ones.
const latest = 5

// Latest are the newest events.
func (v view) Latest() []AccountEvent {
	all := v.Page.(Account).Events
	return all[:min(len(all), latest)]
}

// Earlier are the events before [view.Latest].
func (v view) Earlier() []AccountEvent {
	all := v.Page.(Account).Events
	return all[min(len(all), latest):]
}

// eventView is what the part "event" sees.
type eventView struct {
	view
	Event AccountEvent
}

// About is the view of one event.
func (v view) About(e AccountEvent) eventView { return eventView{v, e} }

// activities are the events that have words of their own.
var activities = []string{
	"login", "login.not-me", "login.burned", "mail.muted", "session.ended",
	"app.signed-in", "app.removed", "consent.given", "device.allowed", "grant.revoked", "code.replayed", "refresh.replayed",
	"user.created", "user.profile", "user.address-changed",
}

// Activity says what happened. An event without words of its own, and one of
// an app whose name is not known any more, is told in general words: nobody
// reads the name of an event.
func (v view) Activity(e AccountEvent) (template.HTML, error) {
	app := SafeName(e.App)
	switch {
	case !slices.Contains(activities, e.Name):
		return v.H("activity.general")
	case slices.Contains(ofApps, e.Name) && app == "":
		return v.H("activity.app")
	}
	return v.H("activity."+strings.ReplaceAll(e.Name, ".", "-"), "App", app)
}

// ofApps are the activities whose words name the app.
var ofApps = []string{"app.signed-in", "app.removed", "consent.given", "device.allowed", "grant.revoked", "code.replayed", "refresh.replayed"}

// When says when something happened: how long ago, and of what is older than a
// day its date.
func (v view) When(then, now time.Time) (template.HTML, error) {
	if now.Sub(then) < 24*time.Hour {
		said, err := v.Ago(then, now)
		return stamped(then, said), err
	}
	said, err := v.On(then)
	return stamped(then, said), err
}

func stamped(at time.Time, said string) template.HTML {
	return template.HTML(fmt.Sprintf(`<time datetime="%s">%s</time>`, at.UTC().Format(time.RFC3339), template.HTMLEscapeString(said)))
}

// Speaks says whether a locale of a user, such as "de-AT", is the language lang.
func (v view) Speaks(locale, lang string) bool {
	match, ok := v.t.languages.match(locale)
	return ok && match == lang
}
