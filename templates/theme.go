package templates

import (
	"encoding/hex"
	"fmt"
	"math"
	"strings"
)

// defaultAccent colours an instance that chose none.
const defaultAccent = "#3355ff"

// The surfaces text stands on; style.css and the mail use the same.
var (
	lightSurface = rgb{0xff, 0xff, 0xff}
	darkSurface  = rgb{0x1c, 0x1e, 0x24}
	ink          = rgb{0x14, 0x16, 0x1a}
)

// theme is the accent colour and the colours that go with it, all of them
// legible whatever the operator chose (WCAG 2.2 §1.4.3).
type theme struct {
	Accent    string // fills buttons; shifted where no text would be legible on it
	OnAccent  string // text on Accent
	InkLight  string // the accent as text on the light surface
	InkDark   string // the accent as text on the dark surface
	EdgeLight string // outlines Accent where it is close to the light surface
	EdgeDark  string

	notes []string
}

func newTheme(accent string) (theme, error) {
	if accent == "" {
		accent = defaultAccent
	}
	c, err := parseColour(accent)
	if err != nil {
		return theme{}, err
	}
	black, white := rgb{}, rgb{255, 255, 255}
	on, away := white, black
	if contrast(c, white) < 4.5 && contrast(c, ink) > contrast(c, white) {
		on, away = ink, white
	}
	fill := c.until(away, on, 4.5)
	t := theme{
		Accent:    fill.String(),
		OnAccent:  on.String(),
		InkLight:  fill.until(black, lightSurface, 4.6).String(),
		InkDark:   fill.until(white, darkSurface, 5.5).String(),
		EdgeLight: fill.until(black, lightSurface, 3).String(),
		EdgeDark:  fill.until(white, darkSurface, 3).String(),
	}
	if accent != defaultAccent {
		t.notes = append(t.notes, note(c, on, t.Accent, "behind the text of buttons")...)
		t.notes = append(t.notes, note(c, lightSurface, t.InkLight, "for links on a light page")...)
		t.notes = append(t.notes, note(c, darkSurface, t.InkDark, "for links on a dark page")...)
	}
	return t, nil
}

// note tells that another shade stands in for a colour that is not legible
// beside another.
func note(c, beside rgb, used, where string) []string {
	if contrast(c, beside) >= 4.5 {
		return nil
	}
	return []string{fmt.Sprintf("accent %s: %s is used instead %s, where it has a contrast of %.1f, and WCAG 2.2 §1.4.3 (AA) asks for 4.5", c, used, where, contrast(c, beside))}
}

// Notes tell an operator where the accent is shown in another shade, the
// nearest that is legible there. There are none on the accent that comes with
// Sealpost.
func (t *Templates) Notes() []string { return t.theme.notes }

func (t theme) css() []byte {
	return fmt.Appendf(nil, `:root{--accent:%s;--on-accent:%s;--accent-ink:%s;--accent-edge:%s}
@media(prefers-color-scheme:dark){:root{--accent-ink:%s;--accent-edge:%s}}
`, t.Accent, t.OnAccent, t.InkLight, t.EdgeLight, t.InkDark, t.EdgeDark)
}

type rgb [3]uint8

func parseColour(s string) (rgb, error) {
	digits, ok := strings.CutPrefix(s, "#")
	if len(digits) == 3 {
		digits = string([]byte{digits[0], digits[0], digits[1], digits[1], digits[2], digits[2]})
	}
	c, err := hex.DecodeString(digits)
	if err != nil || !ok || len(c) != 3 {
		return rgb{}, fmt.Errorf("accent %q: want a colour like %q", s, defaultAccent)
	}
	return rgb(c), nil
}

func (c rgb) String() string { return fmt.Sprintf("#%02x%02x%02x", c[0], c[1], c[2]) }

// until mixes c with the colour toward, as little as gives the contrast wanted
// on a surface.
func (c rgb) until(toward, surface rgb, want float64) rgb {
	mixed := c
	for part := 0.0; contrast(mixed, surface) < want && part < 1; part += 0.02 {
		for i := range mixed {
			mixed[i] = uint8(math.Round(float64(c[i])*(1-part) + float64(toward[i])*part))
		}
	}
	return mixed
}

// contrast is the contrast ratio of WCAG 2.2.
func contrast(a, b rgb) float64 {
	x, y := luminance(a), luminance(b)
	return (max(x, y) + 0.05) / (min(x, y) + 0.05)
}

func luminance(c rgb) float64 {
	linear := func(v uint8) float64 {
		s := float64(v) / 255
		if s <= 0.04045 {
			return s / 12.92
		}
		return math.Pow((s+0.055)/1.055, 2.4)
	}
	return 0.2126*linear(c[0]) + 0.7152*linear(c[1]) + 0.0722*linear(c[2])
}
